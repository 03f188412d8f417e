"""The column "against PARENT (p)" of reports, from results with answers."""

import json

import pytest
from samples import accuracy_result, bleu_result, save

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation import metrics
from layerdrop_plugin.evaluation.comparison import compare
from layerdrop_plugin.reports.report import page_of, record_of
from layerdrop_plugin.results.record import load


def answered(name, seed, wrong, **changes):
    """A result of 1,000 examples whose answers are wrong for the numbers in *wrong*."""
    label = ["1" if number % 3 else "0" for number in range(1000)]
    prediction = [told if number not in wrong else "10"[int(told)] for number, told in enumerate(label)]
    loss = [2.0 if number in wrong else 0.1 for number in range(1000)]
    answers = {"example": list(range(1000)), "label": label, "prediction": prediction, "loss": loss}
    accuracy = 100 - len(wrong) / 10
    return accuracy_result(name, seed, accuracy, answers=answers, examples_sha256="e" * 64, **changes)


def columns(result):
    return metrics.columns(result["answers"])


PARENT, CHILD = answered("parent", 1, range(200)), answered("child", 1, range(100, 340))


def made(tmp_path, *results):
    """The table of a report of *results*, its record and its page."""
    page = page_of(record_of([save(tmp_path / "results", *results)]))
    page.write(tmp_path / "out")
    table = page.plain()
    return (
        table,
        json.loads((tmp_path / "out" / "report.json").read_text()),
        (tmp_path / "out" / "report.md").read_text(),
    )


def test_answers_give_a_column(tmp_path):
    old = accuracy_result("old", 1, 70.0)  # of `layerdrop score`: no answers
    table, record, page = made(tmp_path, PARENT, CHILD, old)
    found = compare("accuracy", [(columns(PARENT), columns(CHILD))])
    assert "against parent (p)" in table
    parent, child, last = table.splitlines()[2:]
    assert child.endswith(f"-4.00 ({found.p:.3f})") and parent.endswith(" -") and last.endswith(" -")
    assert record["rows"][1]["against"] == {"name": "parent", "seeds": [1]} | found._asdict()
    assert record["rows"][0]["against"] is record["rows"][2]["against"] is None
    assert "McNemar" in page and not any("answers" in result for result in record["results"])


def test_no_answers_no_column(tmp_path):
    table, record, page = made(tmp_path, accuracy_result("parent", 1, 74.0), accuracy_result("child", 1, 70.0, 3))
    assert "against" not in table + page and record["rows"][1]["against"] is None


def test_seeds_are_compared_with_their_like(tmp_path):
    parents = [PARENT, answered("parent", 2, range(50, 260))]
    children = [CHILD, answered("child", 2, range(70, 300)), answered("child", 3, range(500))]
    _, record, page = made(tmp_path, *parents, *children)
    pairs = [(columns(parent), columns(child)) for parent, child in zip(parents, children, strict=False)]
    found = compare("accuracy", pairs)
    assert record["rows"][1]["against"] == {"name": "parent", "seeds": [1, 2]} | found._asdict()
    assert found.difference == pytest.approx(-3.0) and "Seeds are compared with their like" in page


def test_without_a_common_seed_there_is_nothing_to_compare(tmp_path):
    assert "against" not in made(tmp_path, PARENT, answered("child", 3, range(500)))[0]


def test_translations_are_compared_by_bleu(tmp_path):
    references = [f"the cat number {number} sat on the mat and slept well" for number in range(40)]
    worse = [line.replace("sat on", "was near") if number % 4 else line for number, line in enumerate(references)]
    texts = {"parent": references, "child": worse}
    results = [
        bleu_result(name, 1, bleu, answers={"hypothesis": texts[name], "reference": references}, examples=40)
        for name, bleu in (("parent", 100.0), ("child", 60.0))
    ]
    table, record, _ = made(tmp_path, *results)
    against = record["rows"][1]["against"]
    assert against["p"] < 0.01 and "bootstrap" in against["test"] and f"{against['difference']:+.2f} (" in table


def test_an_evaluation_is_a_file_of_results_and_other_examples_are_refused(tmp_path):
    both = {"type": "layerdrop.evaluation", "version": 1, "results": [PARENT, CHILD]}
    file = save(tmp_path / "results", both) / "0.json"
    for place in (file, file.parent):
        assert [found["name"] for found in load([place])] == ["parent", "child"]
    other = answered("other", 1, range(9)) | {"examples_sha256": "f" * 64}
    with pytest.raises(
        LayerdropError, match="other, seed 1 was tested on other examples of 'test' than parent, seed 1"
    ):
        record_of([file, save(tmp_path / "other", other)])
