"""Logs of fairseq-validate -> results -> tables: what `layerdrop score` and `layerdrop report` promise."""

import argparse
import copy
import json
import math
import re

import pytest
import torch
from scipy.stats import norm

from layerdrop_plugin import picture, score, signature
from layerdrop_plugin.checkpoint import read
from layerdrop_plugin.cli import report as report_command
from layerdrop_plugin.cli import score as score_command
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.shapes import count_parameters
from layerdrop_plugin.report import load_results, report, table_rows

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


def result(name, seed, accuracy, layers=6, **changes):
    examples = 1000
    correct = round(accuracy * examples / 100)
    made = {"encoder_layers": layers, "parameters": 1000 * layers, "weight_bytes": 4000 * layers, "bytes": 99000}
    return {
        "type": "layerdrop.result",
        "version": 1,
        "name": name,
        "seed": seed,
        "split": "test",
        "examples": examples,
        "metric": {"name": "accuracy", "value": accuracy},
        "metrics": {"accuracy": accuracy},
        "correct": correct,
        "interval": score.interval("accuracy", accuracy, examples, correct),
        "loss": 0.5,
        "checkpoint": {"path": f"{name}{seed}.pt", "sha256": f"{name}{seed}".ljust(64, "0"), **made},
        "data_sha256": "d" * 64,
        "plan": PLAN if layers == 3 else None,
        "provenance": ORIGIN if layers == 3 else None,
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "command": f"fairseq-validate data --path {name}{seed}.pt",
        **changes,
    }


def latency(*models):
    def one(name, layers, small, large):
        made = result(name, 1, 50.0, layers)["checkpoint"]
        times = {"1": small, "32": large}
        ratio = {"1": small / models[0][2], "32": large / models[0][3]}
        return {"name": name, "checkpoint": made, "ms_per_sentence": times, "ratio": ratio, "all_ms_per_sentence": {}}

    return {
        "type": "layerdrop.latency",
        "version": 1,
        "device": "cpu",
        "cpu": "Test CPU",
        "threads": 2,
        "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "command": "layerdrop latency …",
        "data_sha256": "d" * 64,
        "split": "test",
        "seed": 1,
        "sentences": 256,
        "mean_tokens": 24.25,
        "repeats": 7,
        "batch_sizes": [1, 32],
        "models": [one(*model) for model in models],
    }


def save(folder, *contents):
    folder.mkdir(exist_ok=True)
    for index, content in enumerate(contents):
        (folder / f"{index}.json").write_text(json.dumps(content))
    return folder


THREE_SEEDS = [result("child", seed, value, 3) for seed, value in ((2, 73.0), (1, 71.5), (3, 72.1))]


def test_rows_over_seeds_in_the_latencys_order():
    results = [*THREE_SEEDS, result("parent", 1, 74.0), result("extra", 1, 60.0)]
    parent, child, extra = table_rows(results, latency(("parent", 6, 3.0, 1.0), ("child", 3, 1.6, 0.55)))
    assert [row["name"] for row in (parent, child, extra)] == ["parent", "child", "extra"]
    assert (child["layers"], child["parameters"], child["weight_bytes"]) == (3, 3000, 12000)
    assert child["seeds"] == [1, 2, 3]
    assert (child["metric"], child["low"], child["high"]) == (pytest.approx(72.2), 71.5, 73.0)
    assert child["interval"] == score.interval("accuracy", 72.2, 1000, 722)
    assert child["relative_time"] == pytest.approx(0.55) and child["ms_per_sentence"] == {"1": 1.6, "32": 0.55}
    assert extra["relative_time"] is None


def test_report_writes_three_files_and_returns_the_table(tmp_path):
    results = save(tmp_path / "results", result("parent", 1, 74.0), *THREE_SEEDS, {"type": "something else"}, [1])
    times = tmp_path / "latency.json"
    times.write_text(json.dumps(latency(("parent", 6, 3.0, 1.0), ("child", 3, 1.6, 0.55))))
    out = tmp_path / "made" / "report"
    table = report([results, results / "0.json"], times, out, "A | title", "layerdrop report …")

    head, _, parent, child = [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()]
    assert len(head) == 9 and head[6] == "time vs parent, batch 32"
    assert parent == ["parent", "6", "6,000", "0.02", "3.00", "1.00", "1.00", "74.0 (1 seed)", "71.2 to 76.6"]
    assert child[4:8] == ["1.60", "0.55", "0.55", "72.2 (3 seeds: 71.5 to 73.0)"]

    page = (out / "report.md").read_text()
    assert page.startswith("# A | title\n") and "72.2 (3 seeds: 71.5 to 73.0)" in page
    facts = ["d" * 64, "Wilson", "seed 2", "Test CPU", "torch 2.13.0", "10^6 bytes"]
    commands = ["`fairseq-validate data --path child3.pt`", "`layerdrop latency …`", "`layerdrop report …`"]
    for part in [*facts, *commands, '"layers": [1, 3, 5]}} sha256 defdef', "parent sha256 abcabc"]:
        assert part in page
    record = json.loads((out / "report.json").read_text())
    assert [row["name"] for row in record["rows"]] == ["parent", "child"] and len(record["results"]) == 4
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in out.iterdir()) == ["report.json", "report.md", "report.png"]


def test_a_report_that_fails_changes_nothing(tmp_path, monkeypatch):
    results = save(tmp_path / "results", result("parent", 1, 74.0))
    report([results], None, tmp_path / "old", "first")
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}

    def no_picture(*_):
        raise LayerdropError("no picture")

    monkeypatch.setattr(picture, "draw", no_picture)
    for folder in ("old", "new"):
        with pytest.raises(LayerdropError, match="no picture"):
            report([results], None, tmp_path / folder, "second")
    assert {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_report_of_correlations_without_latency(tmp_path):
    metric = {"name": "pearson", "value": 80.0}
    results = save(tmp_path / "results", result("parent", 1, 74.0, metric=metric, correct=None, interval=None))
    table = report([results], None, tmp_path / "out", "Similarity")
    assert "pearson x 100" in table and "80.0 (1 seed)" in table and "ms/sentence" not in table
    low, high = score.interval("pearson", 80.0, 1000)
    assert f"{low:.1f} to {high:.1f}" in table
    assert "Fisher" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    "second, match",
    [
        (result("child", 1, 70.0, data_sha256="e" * 64), "child, seed 1 was tested on other data.*data_sha256"),
        (result("child", 1, 70.0, split="valid"), "other data.*split"),
        (result("parent", 1, 70.0), "two results are called parent, seed 1"),
        (result("child", 1, 70.0, metric={"name": "pearson", "value": 1.0}), "reports pearson, others accuracy"),
        (result("parent", 2, 70.0, layers=3), "'parent' is more than one model.*6 encoder_layers.*has 3"),
    ],
)
def test_results_that_do_not_belong_together(tmp_path, second, match):
    results = save(tmp_path / "results", result("parent", 1, 74.0), second)
    with pytest.raises(LayerdropError, match=match):
        report([results], None, tmp_path / "out", "title")
    assert not (tmp_path / "out").exists()


def test_files_that_are_refused(tmp_path):
    folder = save(tmp_path / "results", result("parent", 1, 74.0), latency(("child", 3, 1.0, 1.0)))
    assert [found["name"] for found in load_results([folder])] == ["parent"]
    for paths, match in [
        ([folder / "1.json"], "is no result"),
        ([tmp_path / "none.json"], "cannot read"),
        ([save(tmp_path / "empty")], "no results of"),
    ]:
        with pytest.raises(LayerdropError, match=match):
            load_results(paths)
    (folder / "2.json").write_text('{"type": "layerdrop.re')  # a run that was cut short must not pass for absent
    with pytest.raises(LayerdropError, match="cannot read .*2.json"):
        load_results([folder])
    with pytest.raises(LayerdropError, match="no results for 'child', only for parent"):
        report([folder / "0.json"], folder / "1.json", tmp_path / "out", "title")
    with pytest.raises(LayerdropError, match="is no measurement"):
        report([folder / "0.json"], folder / "0.json", tmp_path / "out", "title")


def test_a_latency_of_another_model_is_refused():
    with pytest.raises(LayerdropError, match="'parent' is more than one model"):
        table_rows([result("parent", 1, 74.0)], latency(("parent", 3, 1.0, 1.0)))


def test_the_inputs_are_not_changed():
    results = copy.deepcopy(THREE_SEEDS)
    table_rows(results)
    assert results == THREE_SEEDS


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
