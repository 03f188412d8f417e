"""`layerdrop report RUN…`: the pages of finished folders in one HTML file."""

import json
import shutil
from pathlib import Path

import pytest
from samples import accuracy_result, save

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.reports import report
from layerdrop_plugin.reports.gather import write

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def run(tmp_path):
    """A finished run: two evaluations, one of them in the report."""
    folder = tmp_path / "run"
    for name in ("parent", "child"):
        evaluation = {
            "type": "layerdrop.evaluation", "version": 1, "kind": "classification", "comparisons": [], "command": "c",
            "results": [accuracy_result(name, 1, 70.0, sample=None, skipped=0, fairseq={})],
        }  # fmt: skip
        (folder / name).mkdir(parents=True)
        (folder / name / "evaluate.json").write_text(json.dumps(evaluation))
    report.page_of(report.record_of([folder / "parent"], title="Own title")).write(folder)
    return folder


def test_every_kind_of_page_that_earlier_runs_left(tmp_path):
    files = write(
        [DOCS / "heads" / "classifier", DOCS / "compare", DOCS / "quickstart"], tmp_path / "all", "Everything"
    )
    names = [path.relative_to(DOCS).as_posix() for path in files]
    assert names[0] == "heads/classifier/all-but-one/ablation.json" and names[-1] == "quickstart/report.json"
    assert {Path(name).name for name in names} == {"ablation.json", "curve.json", "curves.json", "report.json"}
    text = (tmp_path / "all" / "report.html").read_text()
    assert "<h1>Everything</h1>" in text
    assert text.count("<article") == text.count("data:image/png;base64,") == len(files)
    for found in ("layerdrop ablate", "Where the time went", "75.8 <small>(3 seeds: 75.6 to 76.0)"):
        assert found in text


def test_what_a_report_shows_is_not_shown_again(run, tmp_path):
    assert [path.relative_to(run).as_posix() for path in write([run], tmp_path / "out")] == [
        "report.json",
        "child/evaluate.json",
    ]
    text = (tmp_path / "out" / "report.html").read_text()
    assert "<title>Results of run</title>" in text and "Own title" in text


def test_one_page_keeps_its_title_and_a_folder_that_is_named_twice_is_read_once(run, tmp_path):
    files = write([run / "report.json", run / "report.json"], tmp_path / "out")
    assert files == [run / "report.json"]
    assert "<title>Own title</title>" in (tmp_path / "out" / "report.html").read_text()
    assert write([run], run)[0] == run / "report.json"  # in place


def test_runs_that_are_refused(run, tmp_path):
    save(tmp_path / "empty", accuracy_result("parent", 1, 70.0))
    (run / "curve").mkdir()
    (run / "curve" / "curve.json").write_text('{"type": "layerdrop.curve", "settings": {}, "points": []}')
    shutil.copytree(run, tmp_path / "other")
    for runs, out, match in [
        ([tmp_path / "empty"], "out", "empty has none of report.json, .*: has its command finished"),
        ([tmp_path / "nowhere"], "out", "cannot read .*nowhere"),
        ([tmp_path / "empty" / "0.json"], "out", "0.json is no file of a page"),
        ([run], "out", r"curve.json lacks entries of a layerdrop.curve \(KeyError.*has its command finished"),
        ([run / "child"], "other", "report.html is the page of .*other/report.json: choose another --out"),
    ]:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(LayerdropError, match=match):
            write(runs, tmp_path / out)
        assert sorted(tmp_path.rglob("*")) == before
