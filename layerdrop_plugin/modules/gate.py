"""A gate over parts of a sublayer (its heads, its FFN units) or over a whole layer.

A gate multiplies what each part h contributes with a factor ξ_h: 1 as it is, 0 closes it. With a probe it also tells
the gradient of the loss with respect to ξ_h at the factor's value, in any backward pass that goes through it (Michel,
Levy, Neubig 2019, section 3.2), without a multiplication in the forward pass: with y_h = ξ_h x_h behind the gate,
∂L/∂ξ_h = Σ x_h · ∂L/∂y_h, which need not be zero at ξ_h = 0.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

# How a tensor holds parts -> the shape in which a vector over them is broadcast against it.
HEADS, UNITS, LAYER = "heads", "units", "layer"
FACTORS = {HEADS: (-1, 1, 1), UNITS: (-1,), LAYER: (1,)}


def by_part(x: Tensor, layout: str) -> Tensor:
    """*x* seen as (batch, parts, tokens, width)."""
    if layout == HEADS:
        return x  # (batch, heads, tokens, width)
    if layout == UNITS:
        return x.permute(1, 2, 0).unsqueeze(-1)  # of (tokens, batch, units)
    return x.transpose(0, 1).unsqueeze(1)  # of (tokens, batch, width)


class Probe(NamedTuple):
    """Who wants a gate's gradients.

    Attributes:
        take: called in the backward pass with ∂L/∂ξ in single precision or better, of shape (batch, parts), or
            (batch, parts, tokens) where ``per_token``; L is whatever was differentiated, its scaling included.
        per_token: ξ has a value for each token rather than for each example.
        root: a leaf that requires a gradient. It puts the gate on the graph where no weight in front of it does.
    """

    take: Callable[[Tensor], None]
    per_token: bool
    root: Tensor


class _Probed(torch.autograd.Function):
    """The identity on *x*, of which ξ · *part* is a summand; its backward pass tells a probe ∂L/∂ξ."""

    @staticmethod
    def forward(ctx, x: Tensor, part: Tensor, root: Tensor, layout: str, probe: Probe) -> Tensor:
        ctx.save_for_backward(part)
        ctx.layout, ctx.probe = layout, probe
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (part,) = ctx.saved_tensors
        exact = torch.promote_types(gradient.dtype, torch.float32)
        product = by_part(gradient.detach().to(exact) * part.detach(), ctx.layout)
        ctx.probe.take(product.sum(-1) if ctx.probe.per_token else product.sum((-2, -1)))
        return gradient, None, None, None, None


class Gate:
    """The gate over *parts* parts that lie in a tensor as *layout*, a key of FACTORS, says.

    No module: it has no weights to save. What a model is copied or pickled with is how far it is closed, not its probe.

    Attributes:
        value: ξ of the parts, of shape (parts,), or None for all 1; set by ``pruning.gates``.
        drop_mask: factors of this forward's structured dropout, or None; set by ``modules.structured_dropout``.
        probe: who wants the gradients, or None; set by ``importance.recorder``.
    """

    def __init__(self, parts: int, layout: str):
        self.parts, self.layout = parts, layout
        self.value: Tensor | None = None
        self.drop_mask: Tensor | None = None
        self.probe: Probe | None = None

    def __call__(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        """*x* through the gate; with *before*, the gate lets through what was added to *before*: b + ξ (x - b)."""
        if self.value is None and self.drop_mask is None and not self.probed:
            return x
        part = x if before is None else x - before
        if self.drop_mask is not None:
            part = part * self._factors(self.drop_mask, x)
        if self.value is not None or self.drop_mask is not None:
            x = part if self.value is None else part * self._factors(self.value, x)
            x = x if before is None else before + x
        if self.probed:
            x = _Probed.apply(x, part.detach(), self.probe.root, self.layout, self.probe)
        return x

    def __getstate__(self) -> dict:
        """Whoever wants the gradients of this model does not want those of its copies."""
        return self.__dict__ | {"probe": None}

    @property
    def probed(self) -> bool:
        """Whether somebody wants the gradients of this forward."""
        return self.probe is not None and torch.is_grad_enabled()

    def _factors(self, factors: Tensor, x: Tensor) -> Tensor:
        return factors.to(x).view(FACTORS[self.layout])

    def kept(self) -> tuple[int, ...] | None:
        """The parts that ``value`` does not close, or None for all."""
        return None if self.value is None else tuple(self.value.nonzero().flatten().tolist())
