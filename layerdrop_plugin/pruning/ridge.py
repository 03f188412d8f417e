"""Least squares with a penalty on the distance from the old weights, from normal equations summed batch by batch.

A projection with weights W (outputs, columns) maps rows x to x Wᵀ. Its residual r is what is missing of a target. The
changes Δ (columns, outputs) that are looked for minimise, over all rows,

    Σ |r - x Δ|² + λ |Δ|²                 columns: every weight is free
    Σ |r - x Δ|² + λ |s|², Δ = diag(s) Wᵀ  scale: one number s for each part, a head or an FFN unit; W becomes
                                          W diag(1 + s), as Kwon et al. 2022 tune masks ("A Fast Post-Training Pruning
                                          Framework for Transformers", section 4.3)

Both need only the sums of xᵀx, xᵀr and r². The same sums over held-out rows give the squared error of any Δ there, so
that λ is chosen without a further pass.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

# Sizes of λ to choose from, as shares of the mean square (summed over the rows) of a column.
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0)


class NormalEquations:
    """Sums over rows, in double precision.

    Args:
        columns, outputs: sizes of x and r.
        device: device of the sums.

    Attributes:
        rows: number of rows.
        gram: Σ xᵀx, (columns, columns).
        moment: Σ xᵀr, (columns, outputs).
        square: Σ r², (outputs,).
    """

    def __init__(self, columns: int, outputs: int, device: torch.device | str = "cpu"):
        self.rows = 0
        self.gram, self.moment, self.square = (
            torch.zeros(shape, dtype=torch.float64, device=device)
            for shape in ((columns, columns), (columns, outputs), (outputs,))
        )

    def add(self, x: Tensor, residual: Tensor) -> None:
        """Add the rows *x* (rows, columns) with the residuals *residual* (rows, outputs)."""
        x, residual = x.double(), residual.double()
        self.rows += len(x)
        self.gram.addmm_(x.T, x)
        self.moment.addmm_(x.T, residual)
        self.square += residual.square().sum(0)

    def error(self, change: Tensor | None = None) -> Tensor:
        """Sums of the squared residuals of each output (outputs,) after a *change* Δ (columns, outputs)."""
        if change is None:
            return self.square
        return (self.square + (change * (self.gram @ change - 2 * self.moment)).sum(0)).clamp_min(0)


def columns_change(equations: NormalEquations, penalty: float) -> Tensor:
    """The change Δ (columns, outputs) of all weights.

    Args:
        equations: the sums.
        penalty: λ as a share of the mean of the Gram matrix' diagonal; with 0 the shortest of all solutions is taken.
    """
    return _solve(equations.gram, equations.moment, penalty)


def scale_change(
    equations: NormalEquations, penalty: float, weight: Tensor, width: int, importance: Tensor | None = None
) -> Tensor:
    """The change Δ (columns, outputs) that multiplies the columns of each part by one number.

    Args:
        equations: the sums.
        penalty: as of :func:`columns_change`, a share of the mean square of what a part gives.
        weight: W, (outputs, columns).
        width: number of columns of a part; they are adjacent.
        importance: factors (outputs,) of the outputs' squared errors; None is 1 for each.
    """
    weight = weight.to(equations.moment)
    weighted = weight if importance is None else weight * importance.to(weight)[:, None]
    parts = weight.shape[1] // width
    products = (equations.gram * (weighted.T @ weight)).unflatten(1, (parts, width)).sum(2)
    gram = products.unflatten(0, (parts, width)).sum(1)
    moment = (equations.moment * weighted.T).sum(1).unflatten(0, (parts, width)).sum(1)
    factors = _solve(gram, moment[:, None], penalty)[:, 0]
    return factors.repeat_interleave(width)[:, None] * weight.T


def _solve(gram: Tensor, moment: Tensor, penalty: float) -> Tensor:
    """Solve (*gram* + λ) Δ = *moment*; where λ = 0, by the pseudo-inverse."""
    if not len(gram):
        return moment
    mean = gram.diagonal().mean()
    if penalty == 0 or mean <= 0:
        return torch.linalg.pinv(gram, hermitian=True, rtol=1e-13) @ moment
    loaded = gram.clone()
    loaded.diagonal().add_(penalty * mean)
    return torch.cholesky_solve(moment, torch.linalg.cholesky(loaded))


class Choice(NamedTuple):
    """The change of a projection and how it was chosen.

    Attributes:
        change: Δ (columns, outputs); None if no change has the lowest error.
        penalty: the one that was chosen; None if there is no change.
        before, after: squared errors on the held-out rows without and with the change.
    """

    change: Tensor | None
    penalty: float | None
    before: float
    after: float


def choose(
    solve: Callable[[float], Tensor],
    held_out: NormalEquations,
    penalties: Iterable[float] = PENALTIES,
    importance: Tensor | None = None,
) -> Choice:
    """Choose the penalty whose change has the lowest error on held-out rows; no change at all is one of the choices.

    Args:
        solve: computes the change for a penalty, from other rows.
        held_out: the sums of the held-out rows.
        penalties: the penalties to choose from.
        importance: factors (outputs,) of the outputs' squared errors; None is 1 for each.
    """

    def error(change: Tensor | None) -> float:
        errors = held_out.error(change)
        return float((errors if importance is None else errors * importance.to(errors)).sum())

    before = error(None)
    best = Choice(None, None, before, before)
    for penalty in penalties:
        change = solve(penalty)
        after = error(change)
        if after < best.after:
            best = Choice(change, penalty, before, after)
    return best
