"""Logs of fairseq-validate -> results -> tables: what `layerdrop score` and `layerdrop report` promise."""

import copy
import json
import re

import pytest

from layerdrop_plugin import picture, score
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.report import load_results, report, table_rows

EXAMPLES = 40
PLAN = {"version": 1, "encoder": {"layers": [1, 3, 5]}}
ORIGIN = {"ancestors": [{"file": "parent.pt", "sha256": "abc" * 20}], "plan": PLAN, "plan_sha256": "def" * 20}


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
