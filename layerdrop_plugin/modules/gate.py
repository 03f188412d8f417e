"""A gate over parts of a sublayer (its heads, its FFN units) or over a whole layer.

A gate multiplies the output x_h of each part h by a factor ξ_h: y_h = ξ_h x_h. ξ_h = 1 keeps the part, ξ_h = 0 removes
it. With a probe, every backward pass through the gate also reports ∂L/∂ξ_h = Σ x_h · ∂L/∂y_h at the current ξ_h, which
need not be zero at ξ_h = 0 (Michel, Levy, Neubig 2019, section 3.2); the forward pass does no multiplication for it.

A gate's ``value`` is ξ, as a plan sets it; its ``drop_mask`` is the 0/1 choice of parts of one training forward
(structured dropout).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

# Layout of the parts in a tensor -> shape in which a vector over the parts broadcasts against that tensor.
HEADS, UNITS, LAYER = "heads", "units", "layer"
FACTORS = {HEADS: (-1, 1, 1), UNITS: (-1,), LAYER: (1,)}


def by_part(x: Tensor, layout: str) -> Tensor:
    """A view of *x*, which has the given *layout*, as (batch, parts, tokens, width)."""
    if layout == HEADS:
        return x  # already (batch, heads, tokens, width)
    if layout == UNITS:
        return x.permute(1, 2, 0).unsqueeze(-1)  # from (tokens, batch, units)
    return x.transpose(0, 1).unsqueeze(1)  # from (tokens, batch, width)


class Probe(NamedTuple):
    """Receiver of a gate's gradients.

    Attributes:
        callback: called in the backward pass with ∂L/∂ξ in at least single precision, of shape (batch, parts), or
            (batch, parts, tokens) with ``per_token``; L is the tensor that was differentiated, loss scale included.
        per_token: report a gradient for each token rather than for each example.
        root: a leaf tensor that requires a gradient, so that the gate is in the autograd graph even if its input
            requires none.
    """

    callback: Callable[[Tensor], None]
    per_token: bool
    root: Tensor


class _Probed(torch.autograd.Function):
    """Identity on *x*, which has ξ · *part* as a summand; its backward pass reports ∂L/∂ξ to the probe."""

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
        ctx.probe.callback(product.sum(-1) if ctx.probe.per_token else product.sum((-2, -1)))
        return gradient, None, None, None, None


class Gate:
    """A gate over *parts* parts of a tensor with *layout*, a key of FACTORS.

    It is no ``nn.Module``, as it has no weights to save. Copies and pickles of a model keep ``value``, not ``probe``
    and ``observer``.

    Attributes:
        value: ξ of the parts, of shape (parts,), or None for all 1; set by ``pruning.gates``.
        drop_mask: 0/1 mask of this forward's structured dropout, of shape (parts,), or None; set by
            ``modules.structured_dropout``.
        probe: receiver of the gradients, or None; set by ``importance.recorder``.
        observer: called with the gate's output in every forward, or None; set by ``evaluation.observed``.
    """

    def __init__(self, parts: int, layout: str):
        self.parts, self.layout = parts, layout
        self.value: Tensor | None = None
        self.drop_mask: Tensor | None = None
        self.probe: Probe | None = None
        self.observer: Callable[[Tensor], None] | None = None

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Multiply the parts of *x* by ξ.

        Args:
            x: output of the parts, in the gate's layout.
            residual: input r of a layer whose output is *x*. Only the layer's contribution is gated: r + ξ (x - r).
        """
        if self.value is not None or self.drop_mask is not None or self.probed:
            x = self._multiplied(x, residual)
        if self.observer is not None:
            self.observer(x)
        return x

    def _multiplied(self, x: Tensor, residual: Tensor | None) -> Tensor:
        part = x if residual is None else x - residual
        if self.drop_mask is not None:
            part = part * self._factors(self.drop_mask, x)
        if self.value is not None or self.drop_mask is not None:
            x = part if self.value is None else part * self._factors(self.value, x)
            x = x if residual is None else residual + x
        if self.probed:
            x = _Probed.apply(x, part.detach(), self.probe.root, self.layout, self.probe)
        return x

    def __getstate__(self) -> dict:
        """State without the probe and the observer, which must not receive anything of copies of the model."""
        return self.__dict__ | {"probe": None, "observer": None}

    @property
    def probed(self) -> bool:
        """Whether this forward reports gradients to a probe."""
        return self.probe is not None and torch.is_grad_enabled()

    def _factors(self, factors: Tensor, x: Tensor) -> Tensor:
        return factors.to(x).view(FACTORS[self.layout])

    def kept(self) -> tuple[int, ...] | None:
        """Parts whose ``value`` is not 0, ascending, or None for all."""
        return None if self.value is None else tuple(self.value.nonzero().flatten().tolist())
