"""The learned parameters of a model, counted in its weights."""

import re

from ..anatomy import SUBLAYERS
from .costs import Costs, linear
from .parent import Parent
from .weights import LAYER, SYMBOLS

# Weights with a row for each symbol, position or segment, beside SYMBOLS.
_TABLES = re.compile(r"\.(embed_tokens|embed_positions|adaptive_softmax)\.")


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


def is_table(name: str) -> bool:
    """Whether the weight called *name* has a row for each symbol, position or segment."""
    return bool(SYMBOLS.match(name) or _TABLES.search(name))
