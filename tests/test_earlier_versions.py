"""Files that version 0.1.0 wrote, in tests/version_0_1_0, are read and used as they were then."""

import json
import shutil
from pathlib import Path

import builders
import pytest

FILES = Path(__file__).parent / "version_0_1_0"
PARAMETERS = 1261  # of child.pt, as version 0.1.0 printed them


@pytest.fixture
def files(tmp_path):
    """A copy, as commands may write beside what they read."""
    return Path(shutil.copytree(FILES, tmp_path / "files"))


def inspected(path) -> dict:
    """What ``layerdrop inspect`` says, without the log that importing fairseq writes."""
    printed = builders.run("layerdrop", "inspect", "--json", path).stdout
    return json.loads(printed[printed.index("{\n") :])


def test_a_child_is_inspected(files):
    found = inspected(files / "child.pt")
    assert found["parameters"] == PARAMETERS
    assert found["encoder"]["sizes"] == {"self_attn": [1], "ffn": [6]}
    assert len(found["provenance"]["ancestors"]) == 1


def test_a_child_answers(files, data):
    validate = (*builders.VALIDATE, "--user-dir", builders.USER_DIR, "--path", files / "child.pt")
    log = builders.run("fairseq-validate", data / "nlu", *validate).stdout
    assert "accuracy" in log


def test_a_plan_and_scores_prune(files):
    builders.run("layerdrop", "prune", files / "parent.pt", files / "by_plan.pt", "--plan", files / "plan.json")
    rules = ("--encoder-layers", "keep:1", "--heads", f"{files}/importance.json:0.5")
    printed = builders.run(
        "layerdrop",
        "prune",
        files / "parent.pt",
        files / "by_scores.pt",
        *rules,
        "--ffn",
        f"{files}/importance.json:0.5",
    ).stdout
    assert f"parameters: {PARAMETERS:,} of" in printed


def test_a_child_is_pruned_again(files):
    builders.run("layerdrop", "prune", files / "child.pt", files / "again.pt", "--plan", _plan(files, [1, 3]))
    found = inspected(files / "again.pt")
    first, second = found["provenance"]["ancestors"]
    assert found["encoder"]["sizes"]["ffn"] == [2] and first["file"] == "parent.pt"


def _plan(files, units) -> Path:
    path = files / "second.json"
    path.write_text(json.dumps({"version": 1, "encoder": {"layers": [0], "ffn": {"0": units}}}))
    return path


def test_results_and_a_latency_make_a_report(files):
    builders.run(
        *("layerdrop", "report", "--results", *sorted(files.glob("result-*.json"))),
        *("--latency", files / "latency.json", "--out", files / "report"),
    )
    page = (files / "report" / "report.md").read_text()
    assert "child" in page and "75.9" in page and "0.50" in page
