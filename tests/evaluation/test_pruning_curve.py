"""Curves: what goes at each step, nothing measured twice, how much can go."""

import json
from fractions import Fraction

import builders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation import losses, pruning_curve
from layerdrop_plugin.evaluation.points import Points
from layerdrop_plugin.evaluation.pruning_curve import Sweep
from layerdrop_plugin.importance.estimation import estimate
from layerdrop_plugin.pruning.gates import gated, model_shape
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.ranking import RANKINGS
from layerdrop_plugin.pruning.scores import Scores
from layerdrop_plugin.pruning.shape import ModelShape, StackShape


def scores_of(values):
    """Scores of the heads of an encoder of 3 layers of 4."""
    rows = [list(values[layer * 4 : layer * 4 + 4]) for layer in range(3)]
    zeros = [[0.0] * 4 for _ in range(3)]
    made = {"model": None, "data": None, "examples": 1, "loss": None, "per": None, "signature": {}}
    return Scores.of({"encoder.self_attn": rows}, {"encoder.self_attn": zeros}, method="taylor", **made)


@pytest.fixture(scope="module")
def shape():
    return model_shape(builders.build("layerdrop_roberta", encoder_layers=3, encoder_attention_heads=4))


@settings(max_examples=30)
@given(
    step=st.sampled_from(["1/10", "1/4", "3/10", "1/3", "1"]),
    ranking=st.sampled_from(RANKINGS),
    values=st.lists(st.lists(st.floats(-5, 5), min_size=12, max_size=12), min_size=10, max_size=10),
)
def test_steps_take_the_rounded_share_and_never_give_back(shape, step, ranking, values):
    sweep, plan, before = Sweep(step=Fraction(step), ranking=ranking), Plan(), set()
    assert sweep.rates()[-1] <= 1 < sweep.rates()[-1] + sweep.step
    for rate, fresh in zip(sweep.rates(), values, strict=False):  # other scores at each step
        plan = sweep.plan(shape, plan, scores_of(fresh), rate)
        kept = plan.encoder.self_attn if plan.encoder else {}
        removed = {(layer, head) for layer in range(3) for head in range(4) if head not in kept.get(layer, range(4))}
        assert before <= removed
        if ranking != "per-layer":
            assert len(removed) == int(rate * 12 + Fraction(1, 2))
        assert sweep.count(shape, plan) == 12 - len(removed)
        before = removed


def test_a_step_takes_time_in_proportion_to_the_units():
    """What went before is asked for every unit: in a list of as many that would take minutes."""
    units = 200_000
    shape = ModelShape(StackShape(1, heads=1, ffn=units, embed_dim=4))
    about = {"model": None, "data": None, "examples": 1, "loss": None, "per": None, "signature": {}}
    rows = {"encoder.ffn": [list(range(units))]}
    scores = Scores.of(rows, rows, method="taylor", **about)
    before = Plan(StackPlan((0,), ffn={0: tuple(range(0, units, 2))}))
    plan = Sweep("ffn").plan(shape, before, scores, Fraction(3, 5))
    assert plan.encoder.ffn[0] == tuple(range(units // 5, units, 2))


def test_a_step_must_remove_something(shape):
    with pytest.raises(LayerdropError, match="step of 0"):
        Sweep(step=Fraction(0)).rates()
    assert Sweep("ffn").count(shape, Plan()) == 3 * 24 and Sweep().count(shape, Plan()) == 12


def draw(loaded, points, sweep, lines):
    """Draw curves over seven examples; returns how often the model was measured and how it was scored."""
    batches, calls = loaded.batches("test", 7), {"measured": 0, "scored": []}
    measured = pruning_curve.measurer(loaded, batches)

    def counted():
        calls["measured"] += 1
        return measured()

    def scorer(method, seed):
        calls["scored"].append(method)
        return estimate(loaded, "test", method=method, max_examples=7)

    pruning_curve.draw_curves(loaded, counted, sweep, lines, scorer, points)
    return calls


LINES = [("importance", None), ("magnitude", None), ("random", 1)]


@pytest.mark.parametrize("what", ["heads", "ffn"])
@pytest.mark.parametrize("kind", ["classification", "translation"])
def test_points_are_what_the_gated_model_loses(kind, what, sessions, tmp_path):
    loaded = sessions[kind]
    points = Points(tmp_path / "curve.json", {})
    draw(loaded, points, Sweep(what, Fraction(1, 4)), LINES)
    found = points.record["points"]
    assert len(found) == 1 + 3 * 4 == len(json.loads((tmp_path / "curve.json").read_text())["points"])
    batches = loaded.batches("test", 7)
    for point in found[::3]:
        with gated(loaded.model, Plan.from_dict(json.loads(point["plan"]))):
            expected = losses.measure_all(loaded, batches)
        assert point["loss"] == (expected.loss_per_token if kind == "translation" else expected.loss)
        assert point["accuracy"] == expected.accuracy
    assert [point["removed"] / point["parts"] for point in found[1:5]] == [0.25, 0.5, 0.75, 1.0]
    ends = {point["loss"] for point in found if point["rate"] == 1.0}
    assert max(ends) - min(ends) < 1e-6 and found[0]["loss"] not in ends


def test_finished_points_are_not_measured_again(sessions, tmp_path):
    loaded, sweep = sessions["classification"], Sweep(step=Fraction(1, 4))
    whole = Points(tmp_path / "whole.json", {"a": 1})
    calls = draw(loaded, whole, sweep, LINES)
    assert calls["measured"] == 13

    half = tmp_path / "half.json"
    half.write_text(json.dumps(whole.record | {"points": whole.record["points"][:7]}))
    resumed = Points(half, {"a": 1})
    calls = draw(loaded, resumed, sweep, LINES)
    assert calls["measured"] == 6 and "importance" not in calls["scored"]
    assert resumed.record == whole.record
    assert draw(loaded, Points(half, {"a": 1}), sweep, LINES) == {"measured": 0, "scored": []}


def test_re_estimation_scores_the_model_that_is_left(sessions, tmp_path):
    loaded = sessions["classification"]
    sweep = Sweep(step=Fraction(1, 2), re_estimate=True)
    again = Points(tmp_path / "again.json", {})
    assert draw(loaded, again, sweep, LINES[:1])["scored"] == ["importance"] * 2
    first, second = (Plan.from_dict(json.loads(point["plan"])) for point in again.record["points"][1:])
    with gated(loaded.model, first):
        scores = estimate(loaded, "test", max_examples=7)
    kept = first.encoder.self_attn
    for layer, row in enumerate(scores.scores["encoder.self_attn"]):
        assert all((score > 0) == (head in kept.get(layer, (0, 1))) for head, score in enumerate(row))
    assert sweep.count(model_shape(loaded.model), second) == 0


def test_files_of_other_settings_are_refused(tmp_path):
    path = tmp_path / "curve.json"
    point = dict.fromkeys(("method", "seed", "removed", "parts", "loss", "accuracy", "bleu", "plan"))
    Points(path, {"step": 1, "what": "ffn"}).add(point | {"rate": 0.0})
    assert Points(path, {"step": 1, "what": "ffn"}).find(None, None, 0.0)
    with pytest.raises(LayerdropError, match=r"other settings \(step\): choose another --out"):
        Points(path, {"step": 2, "what": "ffn"})
    for text, match in (
        ("{", "curve .* is not JSON"),
        ("[]", "no curve of ours"),
        ('{"type": "other"}', "no curve of ours"),
    ):
        path.write_text(text)
        with pytest.raises(LayerdropError, match=match):
            Points(path, {})
    path.write_text(json.dumps({"type": "layerdrop.curve", "settings": {}, "points": [{"rate": 1}]}))
    with pytest.raises(LayerdropError, match="a point without"):
        Points(path, {})


def made(*values, method="importance", seed=None):
    """Points of a curve whose accuracies are *values*."""
    return [
        {"method": method, "seed": seed, "rate": n / 4, "removed": n, "parts": 4, "loss": 1 - value / 100, "bleu": None,
         "accuracy": value} for n, value in enumerate(values, 1)
    ]  # fmt: skip


def test_how_much_can_go():
    points = made(80.0)[:1]
    points[0] |= {"method": None, "removed": 0}
    points += made(80.5, 79.0, 70.0, 80.0) + made(70.0, 80.0, 60.0, 50.0, method="magnitude")
    points += made(79.0, 78.0, 60.0, 50.0, method="random", seed=1)
    points += made(80.0, 79.9, 60.0, 50.0, method="random", seed=2)
    found = pruning_curve.conclusions(points)
    assert list(found["within"]) == ["accuracy", "loss"]
    shares = {m: {n: tuple(of.values()) for n, of in found["within"][m].items()} for m in ("accuracy", "loss")}
    assert shares["accuracy"] == {"importance": (0.5, 1.0), "magnitude": (0.0, 0.5), "random": (0.25, 0.25)}
    assert shares["loss"] == {"importance": (1.0, 1.0), "magnitude": (0.5, 0.5), "random": (0.5, 0.5)}
    assert found["means"]["accuracy"]["random"][1] == (0.5, pytest.approx(78.95), 78.0, 79.9)
    assert np.allclose(found["means"]["loss"]["importance"][0][1:], 0.195)
