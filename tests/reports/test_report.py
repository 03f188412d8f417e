"""Results -> tables: what `layerdrop report` promises."""

import copy
import json
import re
from pathlib import Path

import pytest
from samples import accuracy_latency, accuracy_result, bleu_latency, bleu_result, result, save, with_rounds

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation.metrics import interval
from layerdrop_plugin.reports import accuracy_table, translation_table
from layerdrop_plugin.reports import report as report_page
from layerdrop_plugin.reports.rows import table_rows
from layerdrop_plugin.results.record import load

DOCS = Path(__file__).parents[2] / "docs"
THREE_SEEDS = [accuracy_result("child", seed, value, 3) for seed, value in ((2, 73.0), (1, 71.5), (3, 72.1))]
TIMES = accuracy_latency(("parent", 6, 3.0, 1.0), ("child", 3, 1.6, 0.55))


def report(paths, latency, out, title=None, command=None):
    """Write the page; returns its table."""
    page = report_page.page_of(report_page.record_of(paths, latency, title, command))
    page.write(out)
    return page.plain()


def test_rows_over_seeds_in_the_latencys_order():
    results = [*THREE_SEEDS, accuracy_result("parent", 1, 74.0), accuracy_result("extra", 1, 60.0)]
    parent, child, extra = table_rows(accuracy_table, results, TIMES)
    assert [row["name"] for row in (parent, child, extra)] == ["parent", "child", "extra"]
    assert (child["layers"], child["parameters"], child["weight_bytes"]) == (3, 3000, 12000)
    assert child["seeds"] == [1, 2, 3]
    assert (child["metric"], child["low"], child["high"]) == (pytest.approx(72.2), 71.5, 73.0)
    assert child["interval"] == interval("accuracy", 72.2, 1000, 722)
    assert child["relative_time"] == pytest.approx(0.55) and child["ms_per_sentence"] == {"1": 1.6, "32": 0.55}
    assert extra["relative_time"] is None


def test_report_writes_its_files_and_returns_the_table(tmp_path):
    results = save(
        tmp_path / "results", accuracy_result("parent", 1, 74.0), *THREE_SEEDS, {"type": "something else"}, [1]
    )
    times = tmp_path / "latency.json"
    times.write_text(json.dumps(TIMES))
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
    assert sorted(path.name for path in out.iterdir()) == [
        f"report.{suffix}" for suffix in ("html", "json", "md", "png")
    ]


def test_a_report_that_fails_changes_nothing(tmp_path, monkeypatch):
    results = save(tmp_path / "results", accuracy_result("parent", 1, 74.0))
    report([results], None, tmp_path / "old", "first")
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}

    def no_picture(*_):
        raise LayerdropError("no picture")

    monkeypatch.setattr(report_page, "points_and_bars", no_picture)
    for folder in ("old", "new"):
        with pytest.raises(LayerdropError, match="no picture"):
            report([results], None, tmp_path / folder, "second")
    assert {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before
    assert not (tmp_path / "new").exists()


def test_report_of_correlations_without_latency(tmp_path):
    metric = {"name": "pearson", "value": 80.0}
    results = save(tmp_path / "results", accuracy_result("parent", 1, 74.0, metric=metric, correct=None, interval=None))
    table = report([results], None, tmp_path / "out", "Similarity")
    assert "pearson x 100" in table and "80.0 (1 seed)" in table and "ms/sentence" not in table
    low, high = interval("pearson", 80.0, 1000)
    assert f"{low:.1f} to {high:.1f}" in table
    assert "Fisher" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    "second, match",
    [
        (
            accuracy_result("child", 1, 70.0, data_sha256="e" * 64),
            "child, seed 1 was tested on other.*data_sha256",
        ),
        (accuracy_result("child", 1, 70.0, split="valid"), "other data.*split"),
        (accuracy_result("parent", 1, 70.0), "two results are called parent, seed 1"),
        (
            accuracy_result("child", 1, 70.0, metric={"name": "pearson", "value": 1.0}),
            "reports pearson, others acc",
        ),
        (accuracy_result("parent", 2, 70.0, layers=3), "'parent' is more than one model.*6 encoder_layers.*has 3"),
    ],
)
def test_results_that_do_not_belong_together(tmp_path, second, match):
    results = save(tmp_path / "results", accuracy_result("parent", 1, 74.0), second)
    with pytest.raises(LayerdropError, match=match):
        report([results], None, tmp_path / "out", "title")
    assert not (tmp_path / "out").exists()


def test_files_that_are_refused(tmp_path):
    folder = save(tmp_path / "results", accuracy_result("parent", 1, 74.0), accuracy_latency(("child", 3, 1.0, 1.0)))
    assert [found["name"] for found in load([folder])] == ["parent"]
    for paths, match in [
        ([folder / "1.json"], "is no result"),
        ([tmp_path / "none.json"], "cannot read"),
        ([save(tmp_path / "empty")], "no results of"),
    ]:
        with pytest.raises(LayerdropError, match=match):
            load(paths)
    (folder / "2.json").write_text('{"type": "layerdrop.re')  # a run that was cut short must not pass for absent
    with pytest.raises(LayerdropError, match="2.json is not JSON"):
        load([folder])
    with pytest.raises(LayerdropError, match="no results for 'child', only for parent"):
        report([folder / "0.json"], folder / "1.json", tmp_path / "out", "title")
    with pytest.raises(LayerdropError, match="is no measurement"):
        report([folder / "0.json"], folder / "0.json", tmp_path / "out", "title")


def test_a_latency_of_another_model_is_refused():
    with pytest.raises(LayerdropError, match="'parent' is more than one model"):
        table_rows(accuracy_table, [accuracy_result("parent", 1, 74.0)], accuracy_latency(("parent", 3, 1.0, 1.0)))


def test_the_inputs_are_not_changed():
    results = copy.deepcopy(THREE_SEEDS)
    table_rows(accuracy_table, results)
    assert results == THREE_SEEDS


TRANSLATIONS = [
    bleu_result("deep", 1, 20.0, 6, 2.5),
    bleu_result("deep", 2, 22.0, 6, 2.4),
    bleu_result("flat", 1, 18.0, 2, 2.75),
    bleu_result("copy of the source", None, 1.5, None, None),
]
SPEEDS = bleu_latency(("deep", 6, 1000.0), ("flat", 2, 2500.0))


def translations(tmp_path, results, times=SPEEDS):
    (tmp_path / "latency.json").write_text(json.dumps(times))
    folder = save(tmp_path / "results", *results)
    return report([folder], tmp_path / "latency.json", tmp_path / "out", command="layerdrop report …")


def test_a_report_of_translations(tmp_path):
    table = translations(tmp_path, TRANSLATIONS)
    head, _, deep, flat, baseline = [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()]
    assert head == [
        "model", "encoder layers", "decoder layers", "parameters", "weights (MB)", "tokens/s, batch 32",
        "speed vs deep, batch 32", "BLEU", "95 % interval", "chrF", "loss (nats/token)",
    ]  # fmt: skip
    assert deep[:7] == ["deep", "6", "6", "12,000", "0.02", "1,000", "1.00"]
    assert deep[7:] == ["21.0 (2 seeds: 20.0 to 22.0)", "20.0 to 23.0", "41.0", "2.450"]
    assert flat[2:] == ["2", "8,000", "0.02", "2,500", "2.50", "18.0 (1 seed)", "17.0 to 20.0", "38.0", "2.750"]
    assert baseline == ["copy of the source", *("-" * 6), "1.5", "0.5 to 3.5", "21.5", "-"]

    page = (tmp_path / "out" / "report.md").read_text()
    facts = [
        "BLEU|nrefs:1|tok:13a",
        "chrF|nrefs:1|nc:6",
        "beam 4",
        "d" * 64,
        "raw text",
        "copy of the source: bleu 1.5",
    ]
    for part in [*facts, "`layerdrop report …`", "`layerdrop latency …`", "deep, seed 2", "without end marks"]:
        assert part in page
    assert "too low" not in page
    assert (tmp_path / "out" / "report.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("ratios", "cell", "marked"),
    [
        ([2.4, 2.5, 2.6], "2.50 (2.40 to 2.60)", False),
        ([1.2, 2.5, 10.14], "2.50 (1.20 to 10.14, unreliable)", True),
        ([2.5], "2.50 (1 round, unreliable)", True),
    ],
)
def test_a_speed_says_how_far_its_rounds_agree(tmp_path, ratios, cell, marked):
    times = with_rounds(SPEEDS, flat=ratios) | {"repeats": len(ratios)}
    table = translations(tmp_path, TRANSLATIONS, times)
    deep, flat, _ = [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()][2:]
    assert (deep[6], flat[6]) == ("1.00", cell)
    page = (tmp_path / "out" / "report.md").read_text()
    assert "speed vs deep: the median of the ratios in single rounds (least to greatest)." in page
    assert ("not reliable" in page) is marked
    record = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["spread"] and row["spread"]["unreliable"] for row in record["rows"]] == [None, marked, None]
    points, _ = translation_table.pictured(record["rows"], "bleu", times)
    assert ("\nnot reliable: flat" in points.xlabel) is marked


def test_a_time_says_how_far_its_rounds_agree(tmp_path):
    results = save(tmp_path / "results", accuracy_result("parent", 1, 74.0), *THREE_SEEDS)
    for ratios, cell in (
        ([0.5, 0.55, 0.6], "0.55 (0.50 to 0.60)"),
        ([0.5, 0.55, 5.0], "0.55 (0.50 to 5.00, unreliable)"),
    ):
        times = with_rounds(TIMES, child=ratios)
        (tmp_path / "latency.json").write_text(json.dumps(times))
        table = report([results], tmp_path / "latency.json", tmp_path / "out")
        parent, child = [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()][2:]
        assert (parent[6], child[6]) == ("1.00", cell)
        page = (tmp_path / "out" / "report.md").read_text()
        assert "time vs parent: the median of the ratios in single rounds" in page
        assert ("**The ratio of 'child' to 'parent' at batch 32 is not reliable" in page) is ("unreliable" in cell)
        points, _ = accuracy_table.pictured(table_rows(accuracy_table, load([results]), times), "accuracy", times)
        assert points.xlabel.endswith("\nnot reliable: child") is ("unreliable" in cell)


def test_a_latency_written_before_there_was_a_spread_is_shown_as_before():
    for name in ("quickstart", "translate"):
        record = json.loads((DOCS / name / "report.json").read_text())
        times = json.loads((DOCS / name / "latency.json").read_text())
        for model in times["models"]:
            model.pop("spread", None)
        layout = translation_table if name == "translate" else accuracy_table
        rows = table_rows(layout, record["results"], times)
        head, cells, _ = layout.table(rows, record["results"][0]["metric"]["name"], times)
        column = next(index for index, title in enumerate(head) if f" vs {times['models'][0]['name']}" in title)
        timed = [cell[column] for cell in cells if cell[column] != "-"]
        assert timed[0] == "1.00" and all(re.fullmatch(r"\d+\.\d\d", cell) for cell in timed)
        assert not any("single rounds" in line for line in layout.notes(record["results"], times, rows))


def test_losses_are_compared_where_every_bleu_is_too_low(tmp_path):
    results = [bleu_result("deep", 1, 1.0), bleu_result("flat", 1, 2.9, 2, 2.75), TRANSLATIONS[-1]]
    translations(tmp_path, results)
    assert "Every BLEU is below 3: too low to compare" in (tmp_path / "out" / "report.md").read_text()
    rows = table_rows(translation_table, results, SPEEDS)
    points, bars = translation_table.pictured(rows, "bleu", SPEEDS)
    assert (points.x, points.y) == ({"deep": 1000.0, "flat": 2500.0}, {"deep": 2.5, "flat": 2.75})
    assert (
        "nats" in points.ylabel and points.across == () and [set(bar.values) for bar in bars] == [{"deep", "flat"}] * 2
    )

    rows = table_rows(translation_table, TRANSLATIONS, SPEEDS)
    points, _ = translation_table.pictured(rows, "bleu", SPEEDS)
    assert (points.ylabel, points.y, points.across) == ("BLEU", None, ("copy of the source",))


def test_a_baseline_alone_has_a_report(tmp_path):
    table = report([save(tmp_path / "results", TRANSLATIONS[-1])], None, tmp_path / "out")
    assert "copy of the source" in table and "too low" not in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    ("results", "times", "match"),
    [
        ([*TRANSLATIONS, accuracy_result("child", 1, 70.0)], SPEEDS, "child, seed 1 reports accuracy, others bleu"),
        (TRANSLATIONS, accuracy_latency(("deep", 6, 3.0, 1.0)), "measures classification, the results are of trans"),
        ([accuracy_result("deep", 1, 70.0)], SPEEDS, "measures translation, the results are of classification"),
        ([*TRANSLATIONS, bleu_result("flat", 2, 18.0, 3)], SPEEDS, "'flat' is more than one.* 2 decoder_layers.*has 3"),
        ([*TRANSLATIONS, bleu_result("x", 2, 1.0, signatures={})], SPEEDS, "x, seed 2 was tested.*signatures differs"),
        ([*TRANSLATIONS, bleu_result("x", 2, 1.0, references="given file")], SPEEDS, "references differs"),
        ([*TRANSLATIONS, TRANSLATIONS[-1]], SPEEDS, "two results are called copy of the source"),
        (
            [result("lm", 1, None, {"metric": {"name": "nll_loss", "value": 1.0}})],
            SPEEDS,
            "use `layerdrop depth-curve`",
        ),
    ],
)
def test_translations_that_do_not_belong_together(tmp_path, results, times, match):
    with pytest.raises(LayerdropError, match=match) as caught:
        translations(tmp_path, results, times)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
