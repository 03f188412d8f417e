"""Scores: from the log of fairseq-validate to a result, its signature included, and on to the report's table."""

import argparse
import json
import math

import pytest
import torch
from scipy.stats import norm

from layerdrop_plugin import score, signature
from layerdrop_plugin.checkpoint import read
from layerdrop_plugin.cli import report as report_command
from layerdrop_plugin.cli import score as score_command
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.shapes import count_parameters

EXAMPLES = 40
PLAN = {"version": 1, "encoder": {"layers": [1, 3, 5]}}
ORIGIN = {"ancestors": [{"file": "parent.pt", "sha256": "abc" * 20}], "plan": PLAN, "plan_sha256": "def" * 20}


@pytest.fixture
def data(tmp_path):
    """A binarised data folder of EXAMPLES sentences, as fairseq-preprocess writes it."""
    from fairseq.data import Dictionary, indexed_dataset

    folder = tmp_path / "data"
    for part in ("input0", "label"):
        (folder / part).mkdir(parents=True)
        dictionary = Dictionary()
        dictionary.add_symbol("word")
        dictionary.save(str(folder / part / "dict.txt"))
        for split in ("valid", "test"):
            builder = indexed_dataset.make_builder(str(folder / part / f"{split}.bin"), "mmap", vocab_size=5)
            for _ in range(EXAMPLES):
                builder.add_item(torch.tensor([4, 2]))
            builder.finalize(str(folder / part / f"{split}.idx"))
    return folder


@pytest.fixture
def checkpoint(tmp_path):
    """A file with the state-dict keys of a two-layer RoBERTa, and an optimizer state that must not be counted."""
    embedding = torch.randn(5, 4)
    model = {
        "encoder.sentence_encoder.embed_tokens.weight": embedding,
        "encoder.sentence_encoder.layers.0.fc1.weight": torch.zeros(6, 4),
        "encoder.sentence_encoder.layers.1.fc1.weight": torch.zeros(6, 4),
        "encoder.sentence_encoder.version": torch.tensor([3.0]),
        "encoder.lm_head.weight": embedding.clone(),
        "encoder.lm_head.bias": torch.zeros(5, dtype=torch.float16),
    }
    cfg = {"model": {"_name": "roberta"}, "task": {"_name": "sentence_prediction"}, "layerdrop": ORIGIN}
    history = {"num_updates": 0, "criterion_name": "x", "lr_scheduler_state": {}, "optimizer_name": "x"}
    state = {
        "cfg": cfg,
        "args": None,
        "model": model,
        "last_optimizer_state": torch.zeros(1000),
        "optimizer_history": [history],
        "extra_state": {"train_iterator": {"epoch": 1}},
    }
    path = tmp_path / "checkpoint_best.pt"
    torch.save(state, path)
    return path


def log_file(tmp_path, values, split="test", samples=EXAMPLES):
    """What fairseq-validate prints with --log-format json: chatter, a Python dictionary, interim lines, results."""
    results = json.dumps({f"{split}_{key}": value for key, value in {"bsz": str(EXAMPLES), **values}.items()})
    path = tmp_path / "validate.log"
    path.write_text(
        "2026-01-01 00:00:00 | INFO | fairseq_cli.validate | {'_name': None, 'common': {'test_loss': 1}}\n"
        f"2026-01-01 00:00:00 | INFO | fairseq.tasks.sentence_prediction | Loaded {split} with #samples: {samples}\n"
        '2026-01-01 00:00:00 | INFO | fairseq.logging.progress_bar | {"loss": 7.0, "ncorrect": 1}\n'
        f"2026-01-01 00:00:00 | INFO | {split} | {results}\n",
        encoding="utf-8",
    )
    return path


CLASSIFICATION = {"loss": "0.612", "nll_loss": "0.03", "accuracy": "72.5", "wps": "100", "f1": "71.2"}


def test_score_of_a_classification_run(tmp_path, data, checkpoint):
    log = log_file(tmp_path, CLASSIFICATION)
    found = score.score(log, checkpoint, "child", 3, "test", data, command="fairseq-validate …")
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
    described = signature.describe_checkpoint(checkpoint)
    assert described["encoder_layers"] == 2
    assert described["parameters"] == 5 * 4 + 2 * 6 * 4 + 5 == count_parameters(read(checkpoint))
    assert described["weight_bytes"] == 4 * (5 * 4 + 2 * 6 * 4) + 2 * 5
    assert described["bytes"] == checkpoint.stat().st_size > described["weight_bytes"] + 4000

    state = torch.load(checkpoint)
    state["model"]["encoder.lm_head.weight"] += 1  # untied
    torch.save(state, checkpoint)
    assert signature.describe_checkpoint(checkpoint)["parameters"] == described["parameters"] + 5 * 4


def test_score_of_a_regression_run(tmp_path, data, checkpoint):
    log = log_file(tmp_path, {"loss": "0.5", "pearson": "80.0", "spearman": "78.1", "pearson_and_spearman": "79.0"})
    found = score.score(log, checkpoint, "child", 1, "test", data)
    assert found["metric"] == {"name": "pearson", "value": 80.0}
    assert found["correct"] is None
    low, high = found["interval"]
    assert low < 80 < high
    assert math.atanh(high / 100) - math.atanh(low / 100) == pytest.approx(2 * norm.ppf(0.975) / math.sqrt(37))

    log = log_file(tmp_path, {"loss": "0.5"})
    found = score.score(log, checkpoint, "child", 1, "test", data)
    assert found["metric"]["name"] == "mse" and found["interval"] is None
    assert found["metric"]["value"] == pytest.approx(0.5 * math.log(2))


def test_another_headline(tmp_path, data, checkpoint):
    log = log_file(tmp_path, CLASSIFICATION)
    found = score.score(log, checkpoint, "child", 1, "test", data, metric="f1")
    assert found["metric"] == {"name": "f1", "value": 71.2} and found["interval"] is None
    with pytest.raises(LayerdropError, match="reports no mcc, only accuracy, f1"):
        score.score(log, checkpoint, "child", 1, "test", data, metric="mcc")


@pytest.mark.parametrize("correct, examples", [(0, 40), (40, 40), (1, 3), (500, 1000), (333, 999)])
def test_the_number_of_right_answers_survives_fairseqs_rounding(correct, examples):
    assert score.correct_answers(round(100 * correct / examples, 1), examples) == correct


def test_only_the_last_results_count_and_only_of_this_split():
    first = 'x | {"test_loss": "1", "test_bsz": "5", "test_f1": "1"}'
    last = 'x | {"test_loss": "3", "test_bsz": "4", "test_mcc": "9"}'
    other = 'x | {"test1_loss": "2", "test1_bsz": "6", "test1_f1": "2"}'
    found = score.parse_log([first, last, other], "log", "test")
    assert found == (4.0, 3.0, {"mcc": 9.0, "mse": pytest.approx(3 * math.log(2))})


def test_logs_that_are_refused(tmp_path, data, checkpoint):
    def refused(match, values=CLASSIFICATION, split="test", **changes):
        log = log_file(tmp_path, values, **changes)
        with pytest.raises(LayerdropError, match=match) as caught:
            score.score(log, checkpoint, "child", 1, split, data)
        assert "\n" not in str(caught.value)

    refused("no results for the split 'valid'", split="valid")
    refused("no split 'other'", split="other")
    refused("evaluated 39 examples of 'test', but the data folder has 40", samples=39)
    short = {**CLASSIFICATION, "bsz": "32"}
    refused("results for 32 of the 40 examples of 'test'.*--required-batch-size-multiple 1", short)
    refused("cannot come from 40 examples", {"loss": "1", "accuracy": "71.8"})
    refused("pearson = nan", {"loss": "1", "pearson": "nan"})
    with pytest.raises(LayerdropError, match="cannot read .*missing.log"):
        score.score(tmp_path / "missing.log", checkpoint, "child", 1, "test", data)
    (data / "input0" / "test.idx").write_bytes(b"")
    refused("cannot read .*test.idx")


def test_a_log_of_another_checkpoint_is_refused(tmp_path, data, checkpoint):
    other = tmp_path / "other.pt"
    other.write_bytes(b"x")
    log = log_file(tmp_path, CLASSIFICATION)
    log.write_text(f"… | INFO | fairseq_cli.validate | loading model(s) from {other}\n" + log.read_text())
    with pytest.raises(LayerdropError, match="evaluated .*other.pt, not .*checkpoint_best.pt"):
        score.score(log, checkpoint, "child", 1, "test", data)


def test_an_empty_split_is_refused(data):
    from fairseq.data import indexed_dataset

    prefix = data / "input0" / "test"
    indexed_dataset.make_builder(f"{prefix}.bin", "mmap", vocab_size=5).finalize(f"{prefix}.idx")
    with pytest.raises(LayerdropError, match="has no examples"):
        signature.count_examples(data, "test")


def test_data_hash_is_of_contents_not_of_places(tmp_path, data):
    before = signature.data_sha256(data, "test")
    moved = data.rename(tmp_path / "elsewhere")
    assert signature.data_sha256(moved, "test") == before
    (moved / "input0" / "valid.bin").write_bytes(b"another split")
    assert signature.data_sha256(moved, "test") == before
    label = moved / "label" / "test.bin"
    label.write_bytes(label.read_bytes()[::-1] + b"\0")
    changed = signature.data_sha256(moved, "test")
    (moved / "input0" / "dict.txt").write_text("other 1\n")
    assert len({before, changed, signature.data_sha256(moved, "test")}) == 3


def test_both_commands_from_log_to_table(tmp_path, data, checkpoint, capsys):
    def run(command, *words):
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        command.run(parser.parse_args(list(map(str, words))))
        return capsys.readouterr().out

    log = log_file(tmp_path, CLASSIFICATION)
    out = tmp_path / "parent-1.json"
    printed = run(score_command, "--log", log, "--checkpoint", checkpoint, "--name", "parent", "--seed", 1,
                  "--data", data, "--out", out, "--command", "fairseq-validate")  # fmt: skip
    assert printed == "parent, seed 1: accuracy 72.5 (95 % interval 57.2 to 83.9) on 40 examples\n"
    printed = run(report_command, "--results", out, "--out", tmp_path / "report")
    assert "72.5 (1 seed)" in printed
