"""Pages: their Markdown and text, and that what version 0.1.0 left makes the page that it made then."""

import json
from pathlib import Path

import pytest

from layerdrop_plugin.provenance import examples_of, provenance_lines
from layerdrop_plugin.reports import ablation, pruning_curve
from layerdrop_plugin.reports.page import Page, Table

DOCS = Path(__file__).parents[2] / "docs" / "heads"
TABLE = Table(["model", "note", "value"], [["a | b", "x", "1.5"]], ["note"])


def page(**changes):
    parts = {"name": "report", "title": "Title", "table": TABLE, "notes": ["First.", "Second."], "record": {}}
    return Page(**parts | {"figure": None, "caption": "picture", "provenance": ["data"]} | changes)


def test_a_page_in_markdown_and_as_text():
    assert page(figure=lambda: None).markdown() == (
        "# Title\n\n| model   | note   |   value |\n|:--------|:-------|--------:|\n| a \\| b  | x      |     1.5 |\n\n"
        "First.  \nSecond.  \n\n![picture](report.png)\n\n## How this was obtained\n\n- data\n"
    )
    assert "picture" not in page().markdown()  # which has none
    assert page().plain() == TABLE.plain()
    assert page(findings=["Found."]).plain() == f"Found.\n\n{TABLE.plain()}"
    assert "# Title\n\nFound.  \n\n| model" in page(findings=["Found."]).markdown()


@pytest.mark.parametrize(
    ("module", "place"),
    [
        (ablation, "classifier/each/ablation"),
        (ablation, "classifier/all-but-one/ablation"),
        (ablation, "translation/each/ablation"),
        (ablation, "translation/all-but-one/ablation"),
        (pruning_curve, "classifier/curve-heads/curve"),
    ],
)
def test_files_of_version_0_1_0_make_the_page_that_it_made(module, place):
    record = json.loads((DOCS / f"{place}.json").read_text())
    made, expected = (
        text.split("## How this")[0]
        for text in (module.page_of(record).markdown(), (DOCS / f"{place}.md").read_text(encoding="utf-8"))
    )
    assert made == expected
    lines = "\n".join(module.page_of(record).provenance)
    for fact in (record["checkpoint"]["sha256"][:16], record["data_sha256"], record["command"], "seed 1, device cpu"):
        assert fact in lines
    assert all(f"{name} {version}" in lines for name, version in record["versions"].items())


def test_provenance_names_a_test_once_and_the_command_of_each_record():
    made = {"split": "test", "examples": 7, "data_sha256": "d", "seed": 1, "versions": {"torch": "2"}}
    made |= {"checkpoint": {"path": "a.pt", "sha256": "a" * 64}, "metric": {"name": "accuracy", "value": 50.0}}
    results = [made | {"name": name, "command": f"evaluate {name}"} for name in ("x", "y")]
    times = {"split": "test", "data_sha256": "e", "seed": 2, "models": results, "versions": {"torch": "3"}}
    assert provenance_lines([*results, times], "report", ["BLEU"]) == [
        "data: split test, 7 examples, sha256 d",
        "x, seed 1: accuracy 50, checkpoint a.pt sha256 aaaaaaaaaaaaaaaa",
        "x, seed 1: `evaluate x`",
        "y, seed 1: accuracy 50, checkpoint a.pt sha256 aaaaaaaaaaaaaaaa",
        "y, seed 1: `evaluate y`",
        "latency: checkpoints sha256 x aaaaaaaaaaaaaaaa, y aaaaaaaaaaaaaaaa; sentences from split test of data"
        " sha256 e, seed 2",
        "BLEU",
        "versions: torch 2",
        "versions: torch 3",
        "`report`",
    ]


def test_examples_that_were_left_out_are_counted():
    assert examples_of({"examples": 7, "left_out": 0}) == "7 examples"
    for name in ("left_out", "skipped"):  # a command that ran a model says the one, a result of evaluate the other
        assert examples_of({"examples": 7, name: 2}) == "7 examples (2 too long and left out)"
