"""Exchanging parts that are kept and removed: the objective never rises, their number stays."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.rearrange import exchange, rearrange, sublayers
from layerdrop_plugin.pruning.shape import ModelShape, StackShape

SHAPE = ModelShape(encoder=StackShape(3, 4, 6, 16))


def damage(gradients, kept):
    """Σ |Σ g|² over the parts that are not kept; *gradients* are (examples, parts)."""
    removed = [part for part in range(gradients.shape[1]) if part not in kept]
    return float(gradients[:, removed].double().sum(1).square().sum())


@st.composite
def cases(draw):
    """Gradients (examples, parts) and the parts that are kept, some but not all."""
    parts, examples = draw(st.integers(2, 9)), draw(st.integers(1, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    gradients = torch.randn(examples, parts, generator=generator)
    if draw(st.booleans()):  # parts that do the same, which single scores cannot tell
        gradients[:, 1] = gradients[:, 0] * draw(st.sampled_from([1.0, -1.0]))
    size = draw(st.integers(1, parts - 1))
    return gradients, tuple(sorted(torch.randperm(parts, generator=generator)[:size].tolist()))


@given(cases())
@settings(max_examples=150, deadline=None)
def test_the_objective_never_rises_and_the_number_stays(case):
    gradients, kept = case
    found = exchange(gradients.double().T @ gradients.double(), kept)
    assert len(found.kept) == len(kept)
    assert found.kept == tuple(sorted(set(found.kept)))
    assert found.before == pytest.approx(damage(gradients, kept), rel=1e-6, abs=1e-9)
    assert found.after == pytest.approx(damage(gradients, found.kept), rel=1e-6, abs=1e-9)
    assert found.after <= found.before * (1 + 1e-9) + 1e-12
    if found.parts == 0:
        assert found.kept == kept
    else:
        assert found.after < found.before


@given(cases())
@settings(max_examples=100, deadline=None)
def test_of_one_removed_part_the_best_is_found(case):
    gradients, _ = case
    kept = tuple(range(1, gradients.shape[1]))
    best = min(damage(gradients, others) for others in itertools.combinations(range(gradients.shape[1]), len(kept)))
    found = exchange(gradients.double().T @ gradients.double(), kept)
    assert found.after == pytest.approx(best, rel=1e-6, abs=1e-9)


def test_parts_whose_gradients_cancel_go_together():
    """By scores of single parts, 0 and 1 are the most important ones: together they do nothing."""
    gradients = torch.tensor([[5.0, -5.0, 1.0], [-3.0, 3.0, 1.0]])
    found = exchange(gradients.T @ gradients, (1,))
    assert (found.before, found.after, found.kept) == (40.0, 0.0, (2,))


def test_a_plan_is_rearranged_within_each_sublayer():
    plan = Plan(encoder=StackPlan((0, 2), self_attn={0: (0, 1), 2: ()}, ffn={2: (0, 1, 2), 0: tuple(range(6))}))
    places = sublayers(plan, SHAPE)
    assert places == {("encoder.self_attn", 0): (0, 1), ("encoder.ffn", 2): (0, 1, 2)}
    grams = {place: torch.diag(torch.arange(1.0, (4 if "attn" in place[0] else 6) + 1)) for place in places}
    after, found = rearrange(plan, SHAPE, grams)
    assert after.encoder.self_attn == {0: (2, 3), 2: ()}
    assert after.encoder.ffn == {0: tuple(range(6)), 2: (3, 4, 5)}
    assert [exchanged.parts for exchanged in found.values()] == [2, 3]
    assert after.cut(SHAPE) == plan.cut(SHAPE)


@pytest.mark.parametrize("plan", [Plan(), Plan(encoder=StackPlan((0, 1))), Plan(encoder=StackPlan((0,), ffn={0: ()}))])
def test_a_plan_without_choice_is_refused(plan):
    with pytest.raises(LayerdropError, match="nothing to rearrange"):
        rearrange(plan, SHAPE, {})
