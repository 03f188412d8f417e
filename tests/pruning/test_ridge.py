"""Least squares from sums over batches, against torch's own on all rows at once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layerdrop_plugin.pruning import ridge
from layerdrop_plugin.pruning.ridge import NormalEquations

PENALTY = st.sampled_from([1e-6, 1e-3, 0.1, 10.0])


@st.composite
def problems(draw):
    """x (rows, columns), r (rows, outputs), W (outputs, columns), the width of a part, factors of the outputs."""
    width, parts, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 5))
    rows, seed = draw(st.integers(1, 40)), draw(st.integers(0, 1000))
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    shapes = (rows, width * parts), (rows, outputs), (outputs, width * parts)
    return *(random(*shape) for shape in shapes), width, random(outputs).abs() + 0.1


def sums(x, r, sizes=()):
    """The equations of the rows, added in batches of *sizes* and one of what is left."""
    equations = NormalEquations(x.shape[1], r.shape[1])
    sizes = [*sizes, len(x) - sum(sizes)]
    for batch in zip(x.split(sizes), r.split(sizes), strict=True):
        equations.add(*batch)
    return equations


def squared(x, r, change, factors=None):
    error = (r - x @ change).square()
    return float((error if factors is None else error * factors).sum())


@given(problems(), st.data())
@settings(max_examples=40, deadline=None)
def test_sums_over_batches_give_the_errors_of_all_rows(problem, drawn):
    x, r, weight, *_ = problem
    size = drawn.draw(st.integers(0, len(x)))
    equations, change = sums(x, r, [size]), weight.T
    assert equations.rows == len(x)
    torch.testing.assert_close(equations.error(), r.square().sum(0))
    torch.testing.assert_close(equations.error(change), (r - x @ change).square().sum(0), atol=1e-9, rtol=1e-9)


@given(problems())
@settings(max_examples=40, deadline=None)
def test_without_penalty_the_columns_are_the_shortest_least_squares_solution(problem):
    x, r, *_ = problem
    expected = torch.linalg.pinv(x) @ r
    torch.testing.assert_close(ridge.columns_change(sums(x, r), 0), expected, atol=1e-5, rtol=1e-5)


@given(problems(), PENALTY)
@settings(max_examples=40, deadline=None)
def test_columns_minimise_the_error_and_the_penalty(problem, penalty):
    x, r, *_ = problem
    size = penalty * x.square().sum(0).mean().sqrt() ** 2
    rows = torch.cat([x, size.sqrt() * torch.eye(x.shape[1], dtype=torch.float64)])
    expected = torch.linalg.lstsq(rows, torch.cat([r, r.new_zeros(x.shape[1], r.shape[1])])).solution
    torch.testing.assert_close(ridge.columns_change(sums(x, r), penalty), expected, atol=1e-6, rtol=1e-6)


@given(problems(), PENALTY)
@settings(max_examples=40, deadline=None)
def test_scales_minimise_the_error_and_the_penalty(problem, penalty):
    """Against ridge regression on what each part gives, all outputs of all rows one below the other."""
    x, r, weight, width, factors = problem
    parts = x.shape[1] // width
    gives = torch.stack(
        [(x[:, at] @ weight[:, at].T * factors.sqrt()).flatten() for at in torch.arange(parts * width).split(width)], 1
    )
    size = penalty * gives.square().sum(0).mean()
    rows = torch.cat([gives, size.sqrt() * torch.eye(parts, dtype=torch.float64)])
    target = torch.cat([(r * factors.sqrt()).flatten(), r.new_zeros(parts)])
    scales = torch.linalg.lstsq(rows, target[:, None]).solution[:, 0]
    found = ridge.scale_change(sums(x, r), penalty, weight, width, factors)
    torch.testing.assert_close(found, scales.repeat_interleave(width)[:, None] * weight.T, atol=1e-6, rtol=1e-6)


@given(problems(), st.sampled_from([0.0, 1e-6, 1e-3, 0.1, 10.0]))
@settings(max_examples=60, deadline=None)
def test_no_fit_is_worse_than_none_on_its_own_rows(problem, penalty):
    x, r, weight, width, factors = problem
    equations, none = sums(x, r), torch.zeros_like(weight.T)
    scaled = ridge.scale_change(equations, penalty, weight, width, factors)
    assert squared(x, r, scaled, factors) <= squared(x, r, none, factors) * (1 + 1e-9)
    assert squared(x, r, ridge.columns_change(equations, penalty)) <= squared(x, r, none) * (1 + 1e-9)
    free = ridge.columns_change(equations, 0)
    assert squared(x, r, free) <= squared(x, r, ridge.scale_change(equations, 0, weight, width)) + 1e-6


@given(problems(), PENALTY)
@settings(max_examples=20, deadline=None)
def test_where_nothing_is_missing_nothing_changes(problem, penalty):
    x, r, weight, width, _ = problem
    equations = sums(x, torch.zeros_like(r))
    assert not ridge.columns_change(equations, penalty).any()
    assert not ridge.scale_change(equations, penalty, weight, width).any()


def test_the_penalty_is_chosen_on_held_out_rows():
    """Five rows tell nothing of twenty columns: of noise, no change or a strong penalty is the best."""
    torch.manual_seed(0)
    few, many, true = torch.randn(5, 20), torch.randn(500, 20), torch.randn(20, 3)
    equations = sums(few, few @ true + 3 * torch.randn(5, 3))
    held_out = sums(many, many @ true)
    errors = {
        penalty: squared(many, many @ true, ridge.columns_change(equations, penalty).float()) for penalty in (1e-6, 10)
    }
    chosen = ridge.choose(lambda penalty: ridge.columns_change(equations, penalty), held_out, errors)
    assert chosen.after == pytest.approx(min(errors.values()), rel=1e-3)
    assert chosen.before == pytest.approx(squared(many, many @ true, torch.zeros(20, 3)), rel=1e-3)
    noise = sums(many, torch.randn(500, 3))
    unchanged = ridge.choose(lambda penalty: ridge.columns_change(equations, penalty), noise)
    assert unchanged == (None, None, unchanged.before, unchanged.before)


def test_outputs_count_by_their_factors():
    """A change that helps the second output only is taken if that is the one that counts."""
    x, r = torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    held_out = sums(x, r)
    change = torch.tensor([[-1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    counts = {0: torch.tensor([1.0, 0.1]), 1: torch.tensor([0.1, 1.0])}
    chosen = [ridge.choose(lambda _: change, held_out, (1,), factors).penalty for factors in counts.values()]
    assert chosen == [None, 1]


def test_no_columns_are_no_change():
    equations = sums(torch.zeros(4, 0), torch.ones(4, 3))
    assert ridge.columns_change(equations, 0.1).shape == (0, 3)
    assert float(equations.error(torch.zeros(0, 3, dtype=torch.float64)).sum()) == 12
