"""Dropout of whole heads, groups of FFN units and sublayers (Fan, Grave, Joulin 2019, section 3.2).

As in LayerDrop, the output of a dropped structure is 0 and that of a kept one is not scaled up.
"""

from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from ..anatomy import HEADS, KINDS, kinds_of_part
from ..errors import LayerdropError
from .drop_rates import RATES, drop_rate
from .drop_seed import DropSeed
from .sublayers import Sublayers

CHUNKS = 8  # default number of groups of FFN units


@dataclass(frozen=True)
class StructuredDropout:
    """Structured dropout within the layers of one stack.

    Attributes:
        headdrop: rate in [0, 1) at which each head is dropped.
        ffndrop: rate at which each group of FFN units is dropped.
        sublayerdrop: rate at which each sublayer is dropped.
        chunks: number of groups that the units of each FFN are divided into.
    """

    headdrop: float = 0.0
    ffndrop: float = 0.0
    sublayerdrop: float = 0.0
    chunks: int = CHUNKS

    @classmethod
    def from_args(cls, args: Namespace | DictConfig, stack: str) -> "StructuredDropout | None":
        """Read the options of *stack* from *args*; None if all rates are 0.

        Raises:
            LayerdropError: a rate outside [0, 1).
        """
        rates = {n: drop_rate(getattr(args, f"{stack}_{n}", None) or 0.0, f"--{stack}-{n}") for n in RATES}
        if not any(rates.values()):
            return None
        return cls(**rates, chunks=int(getattr(args, f"{stack}_ffndrop_chunks", None) or CHUNKS))

    def check(self, layers: Iterable[nn.Module], stack: str) -> None:
        """Raise LayerdropError for a rate that has nothing to drop in *layers*, or cannot be applied to all of them."""
        layers = list(layers)
        others = [type(layer).__name__ for layer in layers if not isinstance(layer, Sublayers)]
        for name in RATES:
            if not getattr(self, name):
                continue
            structures, conflicting_options, count_in = _DROPPED[name]
            option = f"--{stack}-{name} {getattr(self, name):g}"
            if others:
                raise LayerdropError(
                    f"{option}: nothing can be dropped within layers of class {others[0]}: leave it out"
                )
            parts = [number for layer in layers for number in count_in(layer)]
            if None in parts:
                raise LayerdropError(
                    f"{option}: {structures} cannot be dropped one by one with {conflicting_options}: leave it out"
                )
            if not any(parts):
                raise LayerdropError(f"{option} finds no {structures} to drop in the {stack}: leave it out")

    def set_masks(self, layers: Iterable[nn.Module], drop_seed: DropSeed | None, factor: float = 1.0) -> None:
        """Draw this forward's dropout and set it in *layers*: ``drop_mask`` of gates, ``dropped`` of layers.

        The masks stay set until the next forward, so that activation checkpointing recomputes the same.

        Args:
            layers: the layers of the stack.
            drop_seed: seed of this forward; None drops nothing.
            factor: factor in [0, 1] that the rates are multiplied by.
        """
        layers = [layer for layer in layers if isinstance(layer, Sublayers)]
        for kind in kinds_of_part(HEADS):
            gates = [layer.head_gate(kind) for layer in layers]
            most = max((gate.parts for gate in gates if gate), default=0)
            kept = _kept(drop_seed, kind, self.headdrop * factor, len(layers), most)
            for depth, gate in enumerate(gates):
                if gate is not None:
                    gate.drop_mask = None if kept is None else _mask(kept[depth, : gate.parts])
        kept = _kept(drop_seed, "ffn", self.ffndrop * factor, len(layers), self.chunks)
        for depth, gate in enumerate(layer.ffn_gate for layer in layers):
            if gate is not None:
                chunks = np.arange(gate.parts) * self.chunks // gate.parts
                gate.drop_mask = None if kept is None else _mask(kept[depth, chunks])
        kept = _kept(drop_seed, "sublayers", self.sublayerdrop * factor, len(layers), len(KINDS))
        for depth, layer in enumerate(layers):
            dropped = [] if kept is None else [kind for kind, keep in zip(KINDS, kept[depth], strict=True) if not keep]
            layer.dropped = frozenset(dropped)


def _heads(layer: Sublayers) -> list[int | None]:
    """Number of heads in each attention of *layer*; None for attention whose heads cannot be dropped separately."""
    gates = [layer.head_gate(kind) for kind in kinds_of_part(HEADS) if layer.sublayer(kind) is not None]
    return [gate and gate.parts for gate in gates]


def _units(layer: Sublayers) -> list[int | None]:
    """Number of units in the FFN of *layer*, if it has one; None if they cannot be dropped separately."""
    return [] if layer.sublayer("ffn") is None else [layer.ffn_gate and layer.ffn_gate.parts]


def _sublayers(layer: Sublayers) -> list[int]:
    return [1 for kind in KINDS if layer.sublayer(kind) is not None]


# Rate -> name of the structures, options under which they cannot be dropped separately, function that counts them.
_DROPPED = {
    "headdrop": ("heads", "--quant-noise-pq, --scale-heads or xformers", _heads),
    "ffndrop": ("FFN units", "--quant-noise-pq or --scale-fc", _units),
    "sublayerdrop": ("sublayers", "", _sublayers),
}


def _kept(drop_seed: DropSeed | None, structure: str, rate: float, *shape: int) -> np.ndarray | None:
    """Which structures are kept, as booleans of *shape* (layers, structures); None if nothing is dropped."""
    if drop_seed is None or rate == 0.0 or 0 in shape:
        return None
    return drop_seed.uniform(structure, *shape) >= rate


def _mask(kept: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(kept)).float()
