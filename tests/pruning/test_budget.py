"""Plans for budgets: never over, nothing more fits, the best parts first, and what is refused."""

import itertools
import math
import random
import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_plans import importance_of, shapes

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.budget import Budget, candidates, fill, subsets_by_score
from layerdrop_plugin.pruning.costs import Costs, layers_of
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.shape import ModelShape, StackShape

SHAPE = ModelShape(encoder=StackShape(layers=3, heads=2, ffn=4, embed_dim=8))


def costs_of(rng: random.Random, shape: ModelShape) -> Costs:
    """Costs of a model of *shape*: proportional to parts, or with any rise from one part to the next."""
    proportional, sublayers = rng.random() < 0.5, {}
    for stack, of in shape.items():
        for kind, sizes in of.sizes.items():
            rows = []
            for size in sizes:
                rises = [rng.randint(1, 5)] * (size or 0) if proportional else rng.choices(range(1, 6), k=size or 0)
                row = tuple(itertools.accumulate(rises, initial=rng.randint(0, 3)))
                rows.append(None if size is None else row)
            sublayers[f"{stack}.{kind}"] = tuple(rows)
    layers = {stack: tuple(rng.choices(range(3), k=of.layers)) for stack, of in shape.items()}
    return Costs("units", rng.randint(1, 9), layers, sublayers)


@st.composite
def problems(draw):
    """(shape, costs, scores, layers to choose from, share, minimum of heads)."""
    shape, rng = draw(shapes()), random.Random(draw(st.integers(0, 2**32)))  # numbers drawn one by one take seconds
    scores = importance_of(shape, lambda: rng.choice([0.0, 0.5, 1.0, 3.0]))
    layers = {stack: subsets_by_score(scores, stack) for stack, _ in shape.items()}
    share = draw(st.fractions(Fraction(1, 20), 1, max_denominator=20))
    return shape, costs_of(rng, shape), scores, layers, share, draw(st.integers(0, 2))


def sublayers_of(plan: Plan, shape: ModelShape):
    """Yield (stack, kind, layer, parts in the parent, kept parts) of what *plan* keeps."""
    for stack, layers in layers_of(plan, shape).items():
        for kind, sizes in shape.get(stack).sizes.items():
            for layer in layers:
                if sizes[layer] is not None:
                    whole = tuple(range(sizes[layer]))
                    yield stack, kind, layer, whole, plan.get(stack).kept(kind).get(layer, whole)


@settings(max_examples=30, deadline=None)
@given(problems())
def test_plans_never_exceed_the_budget_and_nothing_more_fits(problem):
    shape, costs, scores, layers, share, min_heads = problem
    most = share * costs.whole(shape)
    try:
        found = candidates(Budget("params", share), shape, costs, scores, layers, min_heads)
    except LayerdropError as error:
        assert "cannot be met" in str(error)
        smallest = {stack: subsets[-1] for stack, subsets in layers.items()}
        for kept in map(dict, itertools.product(*([(s, one) for one in of] for s, of in layers.items()))):
            assert fill(kept, shape, costs, scores, math.floor(most), min_heads).plan is None
        assert share < 1 and smallest
        return
    for candidate in found:
        plan, cost = candidate.plan, costs.of(candidate.plan, shape)
        plan.validate(shape)
        assert cost <= most and candidate.share == cost / costs.whole(shape)
        missing = False
        for stack, kind, layer, whole, kept in sublayers_of(plan, shape):
            row = scores.scores[f"{stack}.{kind}"][layer]
            gone = set(whole) - set(kept)
            missing |= bool(gone)
            assert all((row[one], one) < (row[other], other) for one in gone for other in kept)
            if kind != "ffn":
                assert len(kept) >= min(min_heads, len(whole))
            if gone:
                of_layer = costs.sublayers[f"{stack}.{kind}"][layer]
                assert cost + of_layer[len(kept) + 1] - of_layer[len(kept)] > most
        assert candidate.full != missing


@settings(max_examples=30, deadline=None)
@given(problems())
def test_each_number_of_layers_has_a_plan_unless_a_larger_one_keeps_all(problem):
    shape, costs, scores, layers, share, min_heads = problem
    try:
        found = candidates(Budget("flops", share), shape, costs, scores, layers, min_heads)
    except LayerdropError:
        return
    most = math.floor(share * costs.whole(shape))
    chosen = [{stack: tuple(kept) for stack, kept in layers_of(one.plan, shape).items()} for one in found]
    full = [kept for kept, one in zip(chosen, found, strict=True) if one.full]
    for combination in itertools.product(*layers.values()):
        kept = dict(zip(layers, combination, strict=True))
        feasible = fill(kept, shape, costs, scores, most, min_heads).plan is not None
        inside = any(all(set(kept[s]) <= set(more[s]) for s in kept) and kept != more for more in full)
        assert (kept in chosen) == (feasible and not inside)


@settings(max_examples=30, deadline=None)
@given(problems())
def test_a_budget_of_everything_keeps_everything(problem):
    shape, costs, scores, layers, _, min_heads = problem
    (whole,) = candidates(Budget("params", Fraction(1)), shape, costs, scores, layers, min_heads)
    assert whole.full and whole.share == 1
    assert whole.plan.cut(shape) == shape


def test_the_score_per_cost_decides():
    heads, units = (0, 10, 20), (0, 1, 2, 3, 4)
    costs = Costs("units", 5, {"encoder": (0,) * 3}, {"encoder.self_attn": (heads,) * 3, "encoder.ffn": (units,) * 3})
    values = iter([4.0, 30.0, 1.0, 2.0, 0.5, 20.0, *[2.0, 3.5, 0.1, 0.2, *[0.0] * 4, 2.5, 0.0, 0.0, 5.0], *[1.0] * 3])
    scores = importance_of(SHAPE, lambda: next(values))
    assert costs.whole(SHAPE) == 77
    found = fill({"encoder": (0, 2)}, SHAPE, costs, scores, 5 + 10 + 2)
    # per cost: 3.0, 0.4 and 2.0, 0.05 of heads; 3.5, 2.0, 0.2, 0.1 and 5.0, 2.5, 0, 0 of units
    assert found == (found.plan, 17, False, 5)
    assert found.plan.encoder == StackPlan((0, 2), self_attn={0: (1,), 2: ()}, ffn={0: (1,), 2: (3,)})


def test_the_layers_of_each_number_are_those_with_the_highest_scores():
    scores = importance_of(SHAPE, iter([1.0] * 18 + [0.5, 2.0, 1.0]).__next__)
    assert subsets_by_score(scores, "encoder") == [(0, 1, 2), (1, 2), (1,)]
    with pytest.raises(LayerdropError, match=r"no scores of decoder\.layers"):
        subsets_by_score(scores, "decoder")


def test_a_budget_below_the_floor_names_the_floor():
    costs = Costs("FLOPs", 50, {"encoder": (0,) * 3}, {"encoder.self_attn": ((0, 5, 9),) * 3, "encoder.ffn": (
        (0, 1, 2, 3, 4),) * 3})  # fmt: skip
    scores = importance_of(SHAPE, lambda: 1.0)
    layers = {"encoder": subsets_by_score(scores, "encoder")}
    assert costs.whole(SHAPE) == 89
    with pytest.raises(
        LayerdropError, match=r"flops:0\.5 cannot be met: .* still has 0\.562 .* is flops:0\.562"
    ) as err:
        candidates(Budget.parse("flops:0.5"), SHAPE, costs, scores, layers)
    assert "\n" not in str(err.value)
    assert candidates(Budget.parse("flops:0.562"), SHAPE, costs, scores, layers)
    with pytest.raises(LayerdropError, match=r"1 heads in each attention .* is flops:0\.618"):
        candidates(Budget.parse("flops:0.57"), SHAPE, costs, scores, layers, min_heads=1)
    assert candidates(Budget.parse("flops:0.618"), SHAPE, costs, scores, layers, min_heads=1)


def test_parts_without_scores_are_refused():
    scores = importance_of(ModelShape(encoder=StackShape(3, 2, 4, 8, {"self_attn": (2, 2, 2)})), lambda: 1.0)
    costs = Costs(
        "units", 1, {"encoder": (0,) * 3}, {"encoder.self_attn": ((0, 1, 2),) * 3, "encoder.ffn": ((0,) * 5,) * 3}
    )
    with pytest.raises(LayerdropError, match=r"no scores of encoder\.ffn"):
        fill({"encoder": (0,)}, SHAPE, costs, scores, 10)


@pytest.mark.parametrize(
    "text", ["", "params", "params:", "params:0", "params:1.01", "params:-0.5", "flops:x", "latency:nan", "bytes:0.5"]
    + ["flops:1e-3", "flops:1/0", "flops:" + "1" * 50]
)  # fmt: skip
def test_bad_budgets_are_refused_in_one_line(text):
    with pytest.raises(LayerdropError, match=f"a budget of {re.escape(text)}: want ") as caught:
        Budget.parse(text)
    assert "\n" not in str(caught.value)


def test_budgets_are_read_as_they_are_written():
    assert Budget.parse("params-without-embeddings:1/3") == Budget("params-without-embeddings", Fraction(1, 3))
    assert str(Budget.parse("latency:.25")) == "latency:0.25"
    assert Budget.parse("flops:1").share == 1
