"""What a child costs, as a sum over what it keeps: parameters here, FLOPs in flops.py, seconds in evaluation/."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..anatomy import SUBLAYERS
from .parent import Parent
from .plan import Plan
from .shape import ModelShape
from .weights import LAYER, SYMBOLS

Number = int | float
PerSize = tuple[Number, ...]  # costs of a sublayer with 0, 1, 2, ... heads or units

# Weights with a row for each symbol, position or segment, beside SYMBOLS.
_TABLES = re.compile(r"\.(embed_tokens|embed_positions|adaptive_softmax)\.")


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


def parameter_costs(parent: Parent, embeddings: bool = True) -> Costs:
    """The learned parameters of *parent*, shared ones counted once, from its weights.

    Args:
        embeddings: count weights with a row for each symbol, position or segment, the output layer's included.
    """
    shape = parent.shape
    outside = 0
    layers = {stack: [0] * of.layers for stack, of in shape.items()}
    fixed = {f"{stack}.{kind}": [0] * of.layers for stack, of in shape.items() for kind in of.sizes}
    part = {key: [0] * len(row) for key, row in fixed.items()}
    for name, weight in parent.learned_weights.items():
        match = LAYER.match(name)
        if match is None:
            outside += weight.numel() * (embeddings or not is_table(name))
            continue
        stack, number = match["stack"], int(match["number"])
        kind = next((kind for kind in SUBLAYERS.values() if kind.begins(match["rest"])), None)
        if kind is None:
            layers[stack][number] += weight.numel()
        elif (dimension := kind.dimension(match["rest"])) is None:
            fixed[f"{stack}.{kind.name}"][number] += weight.numel()
        else:
            width = shape.get(stack).width(kind.name)
            part[f"{stack}.{kind.name}"][number] += weight.numel() // weight.shape[dimension] * width
    return Costs(
        unit="parameters" if embeddings else "parameters without embeddings",
        outside=outside,
        layers={stack: tuple(row) for stack, row in layers.items()},
        sublayers=linear(shape, fixed, part),
    )


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


def is_table(name: str) -> bool:
    """Whether the weight called *name* has a row for each symbol, position or segment."""
    return bool(SYMBOLS.match(name) or _TABLES.search(name))
