"""Results named PARENT | GROUP | STRATEGY | TREATMENT -> the page of compare_strategies.sh."""

import json

import pytest
from samples import accuracy_result, save

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.reports import gather
from layerdrop_plugin.reports.strategies import findings, page_of, record_of

EXAMPLES = 40
HALF, LAYERS = "half of the FLOPs", "3 of 6 layers"


def answered(name, seed, right, **changes):
    """A result with *right* correct answers, the first ones."""
    answers = {
        "example": list(range(EXAMPLES)),
        "label": ["1"] * EXAMPLES,
        "prediction": ["1"] * right + ["0"] * (EXAMPLES - right),
    }
    value, entries = 100 * right / EXAMPLES, {"examples": EXAMPLES, "correct": right, "answers": answers}
    return accuracy_result(name, seed, value, 3, **entries | changes)


def results(seed=1):
    """Results of one parent and its children; with *seed* 2 all of them are one answer better."""
    right = {
        "p": 36,
        f"p | {LAYERS} | even, every-other | as cut": 10,
        f"p | {LAYERS} | even, every-other | reconstructed": 30,
        f"p | {LAYERS} | first | as cut": 30,
        f"p | {HALF} | layers, heads and FFN units by --budget | reconstructed": 32,
        f"p | {HALF} | heads and FFN units by importance | as cut": 20,
        f"p | {HALF} | heads and FFN units by random | as cut": 4,
    }
    return [answered(name, seed, count + seed - 1) for name, count in right.items()]


def test_rows_join_treatments_and_seeds(tmp_path):
    record = record_of(save(tmp_path, *results(), *results(2)))
    even, first, *halves = record["rows"]
    assert (even["parent"], even["group"], even["strategy"]) == ("p", LAYERS, "even, every-other")
    assert even["kept"] == [1, 3, 5] and even["parameters"] == 3000
    cut = {"seeds": [1, 2], "mean": 26.25, "low": 25.0, "high": 27.5, "interval": None}
    assert even["treatments"]["as cut"] == cut and set(even["treatments"]) == {"as cut", "reconstructed"}
    assert first["strategy"] == "first" and len(halves) == 3
    page = page_of(record).markdown()
    assert "26.2 (25.0 to 27.5)" in page and "mean over 2 seeds" in page and "from the least to the greatest" in page


def test_planned_comparisons_are_paired_and_corrected(tmp_path):
    tests = record_of(save(tmp_path, *results()))["tests"]
    found = {(*test["first"], *test["second"]): test for test in tests}
    assert [round(test["difference"], 6) for test in found.values()] == [50.0, 50.0, 40.0, 5.0]
    across = found[(LAYERS, "even, every-other", "reconstructed")
                   + (HALF, "layers, heads and FFN units by --budget", "reconstructed")]  # fmt: skip
    assert across["difference"] == pytest.approx(5) and across["p"] == 0.5  # two answers differ, both for the better
    assert all(test["p"] <= test["p_holm"] <= 1 for test in tests) and across["p_holm"] == 0.5
    assert "+50.00*" in page_of(record_of(tmp_path)).markdown()


def test_a_sentence_for_each_group(tmp_path):
    assert findings(record_of(save(tmp_path, *results()))) == [
        f"**p, {LAYERS}**: mean accuracy (%) over strategies (least to greatest) as cut 50.0 (25.0 to 75.0),"
        " reconstructed 75.0; whole 90.0",
        f"**p, {HALF}**: mean accuracy (%) over strategies (least to greatest) as cut 30.0 (10.0 to 50.0),"
        " reconstructed 80.0; whole 90.0",
    ]


def test_one_seed_has_intervals_of_the_examples_and_the_page_is_gathered(tmp_path):
    page_of(record_of(save(tmp_path / "results", *results()))).write(tmp_path / "out")
    assert "bars are 95 % intervals" in (tmp_path / "out" / "strategies.md").read_text()
    record = json.loads((tmp_path / "out" / "strategies.json").read_text())
    assert record["parents"]["p"]["interval"] and "answers" not in record["results"][0]
    assert gather.write([tmp_path / "out"], tmp_path / "all") == [tmp_path / "out" / "strategies.json"]


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("p | 3 layers | as cut", "'p . 3 layers . as cut' is no name of the form PARENT"),
        ("p | 3 layers | first | burnt", "is no name of the form"),
        ("q | 3 of 6 layers | first | as cut", "there are results of children of 'q', and none of itself"),
    ],
)
def test_names_that_are_refused(tmp_path, name, match):
    with pytest.raises(LayerdropError, match=match):
        record_of(save(tmp_path, *results(), answered(name, 1, 3)))
