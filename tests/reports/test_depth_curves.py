"""Results with points -> curves: what `layerdrop depth-curve` promises."""

import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import accuracy_result, bleu_result, result, save

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.reports.depth_curves import depths_of, page_of, panels_of, record_of
from layerdrop_plugin.results.record import parse_point

POINT = {"task": "translation", "train": "p = 0.2", "seed": 1, "kept": 3, "side": "decoder"}


def curves(paths, out, title="Curves", command=None):
    """Write the page; returns its table."""
    page = page_of(record_of(paths, title, command))
    page.write(out)
    return page.plain()


def pruned(kept, of=6):
    plan = {"version": 1, "decoder": {"layers": list(range(kept))}}
    ancestors = [{"sha256": "a" * 64, "decoder_layers": of}]
    return {"plan": plan, "provenance": {"ancestors": ancestors, "plan": plan, "plan_sha256": "b" * 64}}


def translated(train, seed, kept, bleu, loss=2.5):
    origin = pruned(kept) if kept < 6 else {}
    point = POINT | {"train": train, "seed": seed, "kept": kept}
    return bleu_result(f"translation {train}", seed, bleu, kept, loss, point=point, **origin)


def masked(train, seed, kept, loss):
    point = POINT | {"task": "masked-lm", "side": "encoder", "train": train, "seed": seed, "kept": kept}
    measured = {"examples": 7, "metric": {"name": "nll_loss", "value": loss}, "metrics": {"nll_loss_nats": loss}}
    return result("lm", seed, {}, measured | {"point": point, "data_sha256": "e" * 64})


RESULTS = [
    translated("p = 0.2", 2, 6, 22.0),
    translated("p = 0.2", 1, 6, 20.0),
    translated("p = 0.2", 1, 3, 18.0, 2.75),
    masked("p = 0", 1, 2, 3.5),
    translated("p = 0", 1, 3, 7.0, 4.0),
]


def test_depths_are_means_over_seeds_in_order():
    depths = depths_of(RESULTS)
    places = [(depth["task"], depth["train"], depth["kept"], depth["seeds"], depth["whole"]) for depth in depths]
    assert places == [
        ("translation", "p = 0.2", 3, [1], False),
        ("translation", "p = 0.2", 6, [1, 2], True),
        ("translation", "p = 0", 3, [1], False),
        ("masked-lm", "p = 0", 2, [1], True),
    ]
    assert depths[1]["bleu"] == {"mean": 21, "low": 20, "high": 22, "deviation": pytest.approx(2**0.5)}
    assert depths[0]["bleu"]["deviation"] is None and depths[0]["loss"]["mean"] == 2.75
    assert depths[3]["bleu"] is None and depths[3]["loss"]["mean"] == 3.5
    assert panels_of(depths) == [
        ("translation", "decoder", "loss"), ("translation", "decoder", "bleu"), ("masked-lm", "encoder", "loss"),
    ]  # fmt: skip


@given(st.lists(st.floats(0, 100), min_size=2, max_size=6), st.randoms())
def test_the_order_of_seeds_does_not_matter(values, random):
    results = [translated("p", seed, 2, value) for seed, value in enumerate(values)]
    random.shuffle(results)
    (depth,) = depths_of(results)
    assert depth["seeds"] == list(range(len(values)))
    assert (depth["bleu"]["low"], depth["bleu"]["high"]) == (min(values), max(values))
    assert depth["bleu"]["deviation"] == pytest.approx(statistics.stdev(values))


def test_a_plan_that_keeps_all_layers_leaves_the_model_whole():
    for kept, whole in ((6, True), (5, False)):
        (depth,) = depths_of([translated("p", 1, 6, 1.0) | pruned(kept)])
        assert depth["whole"] is whole


def test_curves_write_their_files_and_return_the_table(tmp_path):
    folder = save(tmp_path / "results", *RESULTS, accuracy_result("no point", 1, 70.0))
    table = curves([folder], tmp_path / "out", "A title", "layerdrop curves …").splitlines()
    assert table[0].split() == ["task", "side", "training", "layers", "kept", "seeds", "loss", "(nats/token)", "BLEU"]
    assert table[3].split("  ")[-1].strip() == "21.0 (20.0 to 22.0)" and "6 (whole)" in table[3]
    assert table[-1].endswith("-")

    page = (tmp_path / "out" / "curves.md").read_text()
    facts = ["1 to 2 seeds; bars: standard deviation", "`layerdrop curves …`", "d" * 64, "e" * 64, "sha256 bbbbbbbb"]
    assert page.startswith("# A title\n") and all(fact in page for fact in facts) and "too low" not in page
    record = json.loads((tmp_path / "out" / "curves.json").read_text())
    assert (record["type"], len(record["results"])) == ("layerdrop.curves", len(RESULTS))
    assert record["depths"] == depths_of(RESULTS)
    assert (tmp_path / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")
    curves([save(tmp_path / "low", translated("p", 1, 6, 1.0))], tmp_path / "out")
    assert "Every BLEU is below 3" in (tmp_path / "out" / "curves.md").read_text()


@pytest.mark.parametrize(
    ("results", "match"),
    [
        ([accuracy_result("child", 1, 70.0)], "has a point: use --point of `layerdrop evaluate`"),
        ([*RESULTS, RESULTS[1]], "translation p = 0.2, seed 1 and .* are the same point"),
        ([*RESULTS, translated("x", 1, 6, 1.0) | {"data_sha256": "0"}], "tested on other data .*data_sha256 differs"),
    ],
)
def test_results_that_make_no_curve(tmp_path, results, match):
    with pytest.raises(LayerdropError, match=match) as caught:
        curves([save(tmp_path / "results", *results)], tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_points():
    assert parse_point(json.dumps(POINT)) == POINT
    wrong = ["{", "[]", "3", "{}"]
    wrong += [json.dumps(POINT | change) for change in ({"task": "x"}, {"kept": "3"}, {"side": "top"}, {"more": 1})]
    for text in wrong:
        with pytest.raises(LayerdropError, match="is not like"):
            parse_point(text)
