"""Shapes of models: what a plan is cut out of."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..anatomy import STACKS, SUBLAYERS, Part

T = TypeVar("T")


@dataclass(frozen=True)
class PerStack(Generic[T]):
    """Something of each of a model's stacks, None of one that it does not have."""

    encoder: T | None = None
    decoder: T | None = None

    def get(self, stack: str) -> T | None:
        """What there is of *stack*, or None."""
        return getattr(self, stack)

    def items(self) -> Iterator[tuple[str, T]]:
        """(stack, what there is of it), without those of which there is nothing."""
        return ((stack, self.get(stack)) for stack in STACKS if self.get(stack) is not None)


@dataclass(frozen=True)
class StackShape:
    """Shape of one stack.

    Attributes:
        layers: number of layers.
        heads: attention heads of a whole layer; ``embed_dim / heads`` is the width of a head.
        ffn: FFN units of a whole layer.
        embed_dim: width of the model.
        sizes: per kind of sublayer that the stack has, the heads or units of each layer, None where it is absent; by
            default self-attention and FFN, whole.
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
        """Heads or units of a whole sublayer of *kind*."""
        return self.ffn if kind == "ffn" else self.heads

    def width(self, kind: str) -> int:
        """Rows or columns of a weight that belong to one head or unit."""
        return SUBLAYERS[kind].width(self.embed_dim, self.heads)


@dataclass(frozen=True)
class ModelShape(PerStack[StackShape]):
    """Shape of a model."""

    @property
    def uniform(self) -> bool:
        """Whether all layers of a stack are alike: none has lost heads, FFN units or a sublayer."""
        return all(size == of.whole(kind) for _, of in self.items() for kind, row in of.sizes.items() for size in row)

    def sizes(self, part: Part) -> dict[str, tuple[int | None, ...]]:
        """Heads or units of each layer, None for an absent sublayer, of the sublayers that consist of such parts.

        Keys are such as ``encoder.self_attn``.
        """
        return {
            f"{stack}.{kind}": sizes
            for stack, of in self.items()
            for kind, sizes in of.sizes.items()
            if SUBLAYERS[kind].part is part
        }

    def count(self, part: Part) -> int:
        """Heads, or FFN units, of all layers together."""
        return sum(size or 0 for sizes in self.sizes(part).values() for size in sizes)
