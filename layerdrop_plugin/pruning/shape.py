"""Shapes of models: numbers of layers, heads and FFN units, and widths."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..anatomy import STACKS, SUBLAYERS, Part

T = TypeVar("T")


@dataclass(frozen=True)
class PerStack(Generic[T]):
    """A value for each stack of a model; None for a stack that it does not have."""

    encoder: T | None = None
    decoder: T | None = None

    def get(self, stack: str) -> T | None:
        """The value of *stack*, or None."""
        return getattr(self, stack)

    def items(self) -> Iterator[tuple[str, T]]:
        """Iterate over (stack, value), without stacks whose value is None."""
        return ((stack, self.get(stack)) for stack in STACKS if self.get(stack) is not None)


@dataclass(frozen=True)
class StackShape:
    """Shape of one stack.

    Attributes:
        layers: number of layers.
        heads: number of attention heads of a whole layer; ``embed_dim / heads`` is the width of a head.
        ffn: number of FFN units of a whole layer.
        embed_dim: width of the model.
        sizes: kind of sublayer -> number of heads or units of each layer, None if the sublayer is absent; by default
            whole self-attentions and FFNs.
    """

    layers: int
    heads: int
    ffn: int
    embed_dim: int
    sizes: dict[str, tuple[int | None, ...]] | None = None

    def __post_init__(self):
        whole = {"self_attn": (self.heads,) * self.layers, "ffn": (self.ffn,) * self.layers}
        object.__setattr__(self, "sizes", self.sizes or whole)

    def whole(self, kind: str) -> int:
        """Number of heads or units of a whole sublayer of *kind*."""
        return self.ffn if kind == "ffn" else self.heads

    def width(self, kind: str) -> int:
        """Number of rows or columns of a weight that belong to one head or unit of a sublayer of *kind*."""
        return SUBLAYERS[kind].width(self.embed_dim, self.heads)


@dataclass(frozen=True)
class ModelShape(PerStack[StackShape]):
    """Shape of a model."""

    @property
    def uniform(self) -> bool:
        """Whether no layer has lost heads, FFN units or a sublayer, so that all layers of a stack have equal sizes."""
        return all(size == of.whole(kind) for _, of in self.items() for kind, row in of.sizes.items() for size in row)

    def sizes(self, part: Part) -> dict[str, tuple[int | None, ...]]:
        """Sizes of the sublayers that consist of *part*, heads or FFN units.

        Returns:
            stack and kind, such as ``encoder.self_attn`` -> number of heads or units of each layer, None for an absent
            sublayer.
        """
        return {
            f"{stack}.{kind}": sizes
            for stack, of in self.items()
            for kind, sizes in of.sizes.items()
            if SUBLAYERS[kind].part is part
        }

    def count(self, part: Part) -> int:
        """Number of heads, or of FFN units, in all layers together."""
        return sum(size or 0 for sizes in self.sizes(part).values() for size in sizes)
