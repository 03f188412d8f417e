"""Dropout of whole heads, groups of FFN units and sublayers (Fan, Grave, Joulin 2019, section 3.2).

As with layers, what is dropped contributes nothing and what is kept is not scaled up.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .draws import Draw
from .drop_rates import drop_rate
from .sublayers import KINDS, Sublayers

CHUNKS = 8  # groups of FFN units, unless an option says otherwise
RATES = ("headdrop", "ffndrop", "sublayerdrop")  # the options, behind the stack's name


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

    def drop(self, layers: Iterable[nn.Module], draw: Draw | None, factor: float = 1.0) -> None:
        """Tell all *layers* what this forward drops, the rates multiplied with *factor*; nothing without a *draw*.

        It stays told until the next forward, so that activation checkpointing recomputes the same.
        """
        layers = [layer for layer in layers if isinstance(layer, Sublayers)]
        for kind in ("self_attn", "encoder_attn"):
            gates = [layer.head_gate(kind) for layer in layers]
            most = max((gate.parts for gate in gates if gate), default=0)
            kept = _kept(draw, kind, self.headdrop * factor, len(layers), most)
            for depth, gate in enumerate(gates):
                if gate is not None:
                    gate.drawn = None if kept is None else _mask(kept[depth, : gate.parts])
        kept = _kept(draw, "ffn", self.ffndrop * factor, len(layers), self.chunks)
        for depth, layer in enumerate(layers):
            units = layer.ffn_gate.parts
            layer.ffn_gate.drawn = None if kept is None else _mask(kept[depth, np.arange(units) * self.chunks // units])
        kept = _kept(draw, "sublayers", self.sublayerdrop * factor, len(layers), len(KINDS))
        for depth, layer in enumerate(layers):
            dropped = [] if kept is None else [kind for kind, keep in zip(KINDS, kept[depth], strict=True) if not keep]
            layer.dropped = frozenset(dropped)


def _kept(draw: Draw | None, structure: str, rate: float, *shape: int) -> np.ndarray | None:
    """What stays of each layer's structures, as booleans of *shape*; None where there is nothing to drop."""
    if draw is None or rate == 0.0 or 0 in shape:
        return None
    return draw.uniform(structure, *shape) >= rate


def _mask(kept: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(kept)).float()
