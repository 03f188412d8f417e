"""Scores of classifiers: from the log of fairseq-validate to a result, its signature included."""

import json
import math

import pytest
import torch
from samples import HISTORY, ORIGIN, PLAN, log_file, save_nlu_data
from scipy.stats import norm

from layerdrop_plugin import provenance
from layerdrop_plugin.data_folder import find_split
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.results import classification
from layerdrop_plugin.results.fairseq_log import FairseqLog
from layerdrop_plugin.results.record import Subject

EXAMPLES = 40


@pytest.fixture
def data(tmp_path):
    """A binarised data folder of EXAMPLES sentences, as fairseq-preprocess writes it."""
    return save_nlu_data(tmp_path / "data", {"valid": [2] * EXAMPLES, "test": [2] * EXAMPLES})


@pytest.fixture
def checkpoint(tmp_path):
    """A file with the state-dict keys of a two-layer RoBERTa, and an optimizer state that must not be counted."""
    embedding = torch.randn(5, 4)
    model = {
        "encoder.sentence_encoder.embed_tokens.weight": embedding,
        "encoder.sentence_encoder.layers.0.fc2.weight": torch.zeros(4, 6),
        "encoder.sentence_encoder.layers.0.fc2.bias": torch.zeros(4),
        "encoder.sentence_encoder.layers.1.fc2.weight": torch.zeros(4, 6),
        "encoder.sentence_encoder.layers.1.fc2.bias": torch.zeros(4),
        "encoder.sentence_encoder.version": torch.tensor([3.0]),
        "encoder.lm_head.weight": embedding.clone(),
        "encoder.lm_head.bias": torch.zeros(5, dtype=torch.float16),
    }
    state = {
        "cfg": {"model": {"_name": "roberta"}, "task": {"_name": "sentence_prediction"}, "layerdrop": ORIGIN},
        "args": None,
        "model": model,
        "last_optimizer_state": torch.zeros(1000),
        "optimizer_history": HISTORY,
        "extra_state": {"train_iterator": {"epoch": 1}},
    }
    path = tmp_path / "checkpoint_best.pt"
    torch.save(state, path)
    return path


def score(log, checkpoint, data, split="test", metric=None, **changes):
    values = {"name": "child", "seed": 3, "command": "fairseq-validate …"}
    subject = Subject(find_split(data, split), checkpoint=checkpoint, **(values | changes))
    return classification.score(log, subject, metric)


def logged(tmp_path, values, samples=EXAMPLES, split="test"):
    said = f"Loaded {split} with #samples: {samples}"
    return log_file(tmp_path, {"bsz": str(EXAMPLES), **values}, split, said)


CLASSIFICATION = {"loss": "0.612", "nll_loss": "0.03", "accuracy": "72.5", "wps": "100", "f1": "71.2"}


def test_score_of_a_classification_run(tmp_path, data, checkpoint):
    log = logged(tmp_path, CLASSIFICATION)
    found = score(log, checkpoint, data)
    assert (found["name"], found["seed"], found["split"], found["examples"]) == ("child", 3, "test", EXAMPLES)
    assert found["metric"] == {"name": "accuracy", "value": 72.5}
    assert found["metrics"] == {"accuracy": 72.5, "f1": 71.2}
    assert (found["correct"], found["loss"], found["command"]) == (29, 0.612, "fairseq-validate …")
    assert (found["plan"], found["provenance"]) == (PLAN, ORIGIN)
    # Wilson's interval by its textbook formula
    p, z, n = 29 / 40, norm.ppf(0.975), 40
    middle, reach = (p + z * z / 2 / n), z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    expected = [100 * (middle - reach) / (1 + z * z / n), 100 * (middle + reach) / (1 + z * z / n)]
    assert found["interval"] == pytest.approx(expected)
    json.dumps(found)


def test_tied_weight_counts_once_and_buffers_do_not(tmp_path, data, checkpoint):
    described, _ = provenance.describe_checkpoint(checkpoint)
    assert described["encoder_layers"] == 2
    assert described["decoder_layers"] is None
    assert (described["heads"], described["ffn_units"]) == (0, 12)
    assert described["parameters"] == 5 * 4 + 2 * (6 * 4 + 4) + 5 == Parent.load(checkpoint, build=False).parameters
    assert described["weight_bytes"] == 4 * (5 * 4 + 2 * (6 * 4 + 4)) + 2 * 5
    assert described["bytes"] == checkpoint.stat().st_size > described["weight_bytes"] + 4000

    state = torch.load(checkpoint)
    state["model"]["encoder.lm_head.weight"] += 1  # untied
    torch.save(state, checkpoint)
    assert provenance.describe_checkpoint(checkpoint)[0]["parameters"] == described["parameters"] + 5 * 4


def test_score_of_a_regression_run(tmp_path, data, checkpoint):
    log = logged(tmp_path, {"loss": "0.5", "pearson": "80.0", "spearman": "78.1", "pearson_and_spearman": "79.0"})
    found = score(log, checkpoint, data)
    assert found["metric"] == {"name": "pearson", "value": 80.0}
    assert found["correct"] is None
    low, high = found["interval"]
    assert low < 80 < high
    assert math.atanh(high / 100) - math.atanh(low / 100) == pytest.approx(2 * norm.ppf(0.975) / math.sqrt(37))

    log = logged(tmp_path, {"loss": "0.5"})
    found = score(log, checkpoint, data)
    assert found["metric"]["name"] == "mse" and found["interval"] is None
    assert found["metric"]["value"] == pytest.approx(0.5 * math.log(2))


def test_another_headline(tmp_path, data, checkpoint):
    log = logged(tmp_path, CLASSIFICATION)
    found = score(log, checkpoint, data, metric="f1")
    assert found["metric"] == {"name": "f1", "value": 71.2} and found["interval"] is None
    with pytest.raises(LayerdropError, match="reports no mcc, only accuracy, f1"):
        score(log, checkpoint, data, metric="mcc")


@pytest.mark.parametrize("correct, examples", [(0, 40), (40, 40), (1, 3), (500, 1000), (333, 999)])
def test_the_number_of_right_answers_survives_fairseqs_rounding(correct, examples):
    assert classification.correct_answers(round(100 * correct / examples, 1), examples) == correct


def test_only_the_last_results_count_and_only_of_this_split(tmp_path):
    first = 'x | {"test_loss": "1", "test_bsz": "5", "test_f1": "1"}'
    last = 'x | {"test_loss": "3", "test_bsz": "4", "test_mcc": "9"}'
    other = 'x | {"test1_loss": "2", "test1_bsz": "6", "test1_f1": "2"}'
    (tmp_path / "log").write_text("\n".join([first, last, other]))
    log = FairseqLog(tmp_path / "log")
    assert log.results("test") == {"loss": "3", "bsz": "4", "mcc": "9"}
    loss, metrics = classification.read_metrics(log, log.results("test"))
    assert (loss, metrics) == (3.0, {"mcc": 9.0, "mse": pytest.approx(3 * math.log(2))})


def test_logs_that_are_refused(tmp_path, data, checkpoint):
    def refused(match, values=CLASSIFICATION, split="test", **changes):
        log = logged(tmp_path, values, **changes)
        with pytest.raises(LayerdropError, match=match) as caught:
            score(log, checkpoint, data, split)
        assert "\n" not in str(caught.value)

    refused("no results for the split 'valid'", split="valid")
    refused("no split 'other'", split="other")
    refused("evaluated 39 examples of 'test', but the data folder has 40", samples=39)
    short = {**CLASSIFICATION, "bsz": "32"}
    refused("results for 32 of the 40 examples of 'test'.*--required-batch-size-multiple 1", short)
    refused("cannot come from 40 examples", {"loss": "1", "accuracy": "71.8"})
    refused("pearson = nan", {"loss": "1", "pearson": "nan"})
    with pytest.raises(LayerdropError, match="cannot read .*missing.log"):
        score(tmp_path / "missing.log", checkpoint, data)
    (data / "input0" / "test.idx").write_bytes(b"")
    refused("cannot read .*test.idx")


def test_a_log_of_another_checkpoint_is_refused(tmp_path, data, checkpoint):
    other = tmp_path / "other.pt"
    other.write_bytes(b"x")
    log = logged(tmp_path, CLASSIFICATION)
    log.write_text(f"… | INFO | fairseq_cli.validate | loading model(s) from {other}\n" + log.read_text())
    with pytest.raises(LayerdropError, match="evaluated .*other.pt, not .*checkpoint_best.pt"):
        score(log, checkpoint, data)
