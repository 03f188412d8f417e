"""What goes through a sublayer of a live model: the outputs of its parts, and the sum of its output and residual."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..anatomy import SUBLAYERS
from ..errors import LayerdropError
from ..modules.attention import OnlyBias
from ..modules.gate import HEADS
from ..modules.sublayers import Sublayers

LEAST_GAIN = 0.1  # a LayerNorm's |γ| counts as at least this share of their mean: the target would be too large


class Observed:
    """What one forward of a sublayer computes, made by :func:`observed`.

    Attributes:
        parts: input of the output projection, (length, batch, columns); None if the sublayer has no parts.
        total: sum of the sublayer's output and its residual, before a post-norm LayerNorm: (length, batch, width).
    """

    parts: Tensor | None = None
    total: Tensor


@contextlib.contextmanager
def observed(layer: nn.Module, kind: str) -> Iterator[Observed]:
    """Observe the sublayer *kind* of *layer* while the block runs; each forward overwrites what is there.

    Raises:
        LayerdropError: it cannot be observed, as its parts cannot be gated.
    """
    gate = None
    if isinstance(layer, Sublayers):
        gate = layer.ffn_gate if kind == "ffn" else layer.head_gate(kind)
    if gate is None:
        raise LayerdropError(
            f"the model's {kind} cannot be observed, so that nothing can be fitted to it: it was trained with"
            " --quant-noise-pq, --scale-fc or another option that makes its parts inseparable"
        )
    found = Observed()

    def of_parts(x: Tensor) -> None:
        found.parts = x.permute(2, 0, 1, 3).flatten(2) if gate.layout == HEADS else x

    def of_sublayer(sublayer: str, total: Tensor) -> None:
        if sublayer == kind:
            found.total = total

    gate.observer, layer.observer = of_parts, of_sublayer
    try:
        yield found
    finally:
        gate.observer, layer.observer = None, None


def projection_of(layer: Sublayers, kind: str) -> nn.Linear | OnlyBias:
    """The output projection of the sublayer *kind*; one without parts has only a bias."""
    sublayer = layer.sublayer(kind)
    return sublayer if kind == "ffn" else sublayer.out_proj


def projected(projection: nn.Linear | OnlyBias, parts: Tensor | None, like: Tensor) -> Tensor:
    """What a *projection* gives for *parts*, in the shape of *like* (length, batch, width)."""
    if isinstance(projection, OnlyBias):
        return projection.bias.expand_as(like)
    return projection(parts)


def columns_of(parts: Tensor | None, like: Tensor, with_ones: bool) -> Tensor:
    """The inputs of a projection, (length, batch, columns), *with_ones* as the last column for its bias."""
    if parts is None:
        parts = like.new_zeros(*like.shape[:2], 0)
    return torch.cat([parts, parts.new_ones(*parts.shape[:2], 1)], dim=2) if with_ones else parts


def norm_gain(layer: Sublayers, kind: str) -> Tensor:
    """γ (width,) of a sublayer's LayerNorm, its absolute values at least LEAST_GAIN of their mean."""
    gain = getattr(layer, SUBLAYERS[kind].norm).weight
    least = LEAST_GAIN * gain.abs().mean()
    return torch.where(gain < 0, gain.clamp(max=-least), gain.clamp(min=least))


def norm_slope(layer: Sublayers, kind: str, total: Tensor) -> Tensor:
    """σ / γ of each token and channel, where *total* (length, batch, width) is the input of a sublayer's LayerNorm."""
    norm = getattr(layer, SUBLAYERS[kind].norm)
    return (total.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt() / norm_gain(layer, kind)
