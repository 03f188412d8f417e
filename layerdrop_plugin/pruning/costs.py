"""What a child costs, as a sum over what it keeps: see parameters.py, flops.py, and evaluation/ for seconds."""

from collections.abc import Sequence
from dataclasses import dataclass

from .plan import Plan
from .shape import ModelShape

Number = int | float
PerSize = tuple[Number, ...]  # costs of a sublayer with 0, 1, 2, ... heads or units


@dataclass(frozen=True)
class Costs:
    """Costs of the parts of a parent, in one unit; they add up.

    Attributes:
        unit: name of the unit in messages, such as ``parameters``.
        outside: cost of all that every child has: embeddings, output layers.
        layers: stack -> cost of each layer without its sublayers.
        sublayers: stack and kind, such as ``encoder.ffn`` -> for each layer the costs of the sublayer with 0, 1, ...
            up to all of its heads or units; None for an absent sublayer.
    """

    unit: str
    outside: Number
    layers: dict[str, tuple[Number, ...]]
    sublayers: dict[str, tuple[PerSize | None, ...]]

    def of(self, plan: Plan, shape: ModelShape) -> Number:
        """The cost of the child that *plan* cuts out of the parent, which has *shape*."""
        child, total = plan.cut(shape), self.outside
        for stack, of in child.items():
            kept = layers_of(plan, shape)[stack]
            total += sum(self.layers[stack][layer] for layer in kept)
            for kind, sizes in of.sizes.items():
                costs = self.sublayers[f"{stack}.{kind}"]
                total += sum(costs[layer][size] for layer, size in zip(kept, sizes, strict=True) if size is not None)
        return total

    def whole(self, shape: ModelShape) -> Number:
        """The cost of the parent, which has *shape*."""
        return self.of(Plan(), shape)


def layers_of(plan: Plan, shape: ModelShape) -> dict[str, Sequence[int]]:
    """Stack -> the layers that *plan* keeps of a parent of *shape*."""
    plans = {stack: plan.get(stack) for stack, _ in shape.items()}
    return {stack: of.layers if of else range(shape.get(stack).layers) for stack, of in plans.items()}


def linear(
    shape: ModelShape, fixed: dict[str, Sequence[Number]], part: dict[str, Sequence[Number]]
) -> dict[str, tuple[PerSize | None, ...]]:
    """The ``sublayers`` of :class:`Costs` whose cost is proportional to their parts, and a *fixed* one.

    Args:
        shape: shape of the parent.
        fixed, part: stack and kind -> for each layer the cost of the sublayer without parts, and of each part.
    """
    return {
        f"{stack}.{kind}": tuple(
            None if size is None else tuple(start + count * each for count in range(size + 1))
            for size, start, each in zip(sizes, fixed[f"{stack}.{kind}"], part[f"{stack}.{kind}"], strict=True)
        )
        for stack, of in shape.items()
        for kind, sizes in of.sizes.items()
    }
