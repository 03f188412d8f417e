"""Dropout of whole heads, groups of FFN units and sublayers (Fan, Grave, Joulin 2019, section 3.2).

As with layers, what is dropped contributes nothing and what is kept is not scaled up.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..anatomy import HEADS, KINDS, kinds_of_part
from ..errors import LayerdropError
from .drop_rates import RATES, drop_rate
from .drop_seed import Draw
from .sublayers import Sublayers

CHUNKS = 8  # groups of FFN units, unless an option says otherwise


@dataclass(frozen=True)
class StructuredDropout:
    """Rates in [0, 1) at which each head, each of ``chunks`` groups of FFN units and each sublayer is dropped."""

    headdrop: float = 0.0
    ffndrop: float = 0.0
    sublayerdrop: float = 0.0
    chunks: int = CHUNKS

    @classmethod
    def of(cls, args, stack: str) -> "StructuredDropout | None":
        """What the options in *args* say about *stack*, or None where nothing is dropped.

        Raises:
            LayerdropError: a rate outside [0, 1).
        """
        rates = {n: drop_rate(getattr(args, f"{stack}_{n}", None) or 0.0, f"--{stack}-{n}") for n in RATES}
        if not any(rates.values()):
            return None
        return cls(**rates, chunks=int(getattr(args, f"{stack}_ffndrop_chunks", None) or CHUNKS))

    def check(self, layers: Iterable[nn.Module], stack: str) -> None:
        """Raise LayerdropError for a rate that finds nothing to drop in *layers* of *stack*, or not in all of them."""
        layers = list(layers)
        others = [type(layer).__name__ for layer in layers if not isinstance(layer, Sublayers)]
        for name in RATES:
            if not getattr(self, name):
                continue
            what, together_with, parts_of = _DROPPED[name]
            option = f"--{stack}-{name} {getattr(self, name):g}"
            if others:
                raise LayerdropError(
                    f"{option}: nothing can be dropped within layers of class {others[0]}: leave it out"
                )
            parts = [number for layer in layers for number in parts_of(layer)]
            if None in parts:
                raise LayerdropError(
                    f"{option}: {what} cannot be dropped one by one with {together_with}: leave it out"
                )
            if not any(parts):
                raise LayerdropError(f"{option} finds no {what} to drop in the {stack}: leave it out")

    def drop(self, layers: Iterable[nn.Module], draw: Draw | None, factor: float = 1.0) -> None:
        """Tell all *layers* what this forward drops, the rates multiplied with *factor*; nothing without a *draw*.

        It stays told until the next forward, so that activation checkpointing recomputes the same.
        """
        layers = [layer for layer in layers if isinstance(layer, Sublayers)]
        for kind in kinds_of_part(HEADS):
            gates = [layer.head_gate(kind) for layer in layers]
            most = max((gate.parts for gate in gates if gate), default=0)
            kept = _kept(draw, kind, self.headdrop * factor, len(layers), most)
            for depth, gate in enumerate(gates):
                if gate is not None:
                    gate.drop_mask = None if kept is None else _mask(kept[depth, : gate.parts])
        kept = _kept(draw, "ffn", self.ffndrop * factor, len(layers), self.chunks)
        for depth, gate in enumerate(layer.ffn_gate for layer in layers):
            if gate is not None:
                chunks = np.arange(gate.parts) * self.chunks // gate.parts
                gate.drop_mask = None if kept is None else _mask(kept[depth, chunks])
        kept = _kept(draw, "sublayers", self.sublayerdrop * factor, len(layers), len(KINDS))
        for depth, layer in enumerate(layers):
            dropped = [] if kept is None else [kind for kind, keep in zip(KINDS, kept[depth], strict=True) if not keep]
            layer.dropped = frozenset(dropped)


def _heads(layer: Sublayers) -> list[int | None]:
    """How many there are in each attention of *layer*; None where they cannot be told apart."""
    gates = [layer.head_gate(kind) for kind in kinds_of_part(HEADS) if layer.sublayer(kind) is not None]
    return [gate and gate.parts for gate in gates]


def _units(layer: Sublayers) -> list[int | None]:
    """Likewise of its FFN, if there is one."""
    return [] if layer.sublayer("ffn") is None else [layer.ffn_gate and layer.ffn_gate.parts]


def _sublayers(layer: Sublayers) -> list[int]:
    return [1 for kind in KINDS if layer.sublayer(kind) is not None]


# The rate -> what it drops, the options with which they act together, and how many of them a layer has.
_DROPPED = {
    "headdrop": ("heads", "--quant-noise-pq, --scale-heads or xformers", _heads),
    "ffndrop": ("FFN units", "--quant-noise-pq or --scale-fc", _units),
    "sublayerdrop": ("sublayers", "", _sublayers),
}


def _kept(draw: Draw | None, structure: str, rate: float, *shape: int) -> np.ndarray | None:
    """What stays of each layer's structures, as booleans of *shape*; None where there is nothing to drop."""
    if draw is None or rate == 0.0 or 0 in shape:
        return None
    return draw.uniform(structure, *shape) >= rate


def _mask(kept: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(kept)).float()
