"""A model's weights by layer: what a checkpoint has, and what a plan keeps of it. Names are fairseq's."""

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from ..anatomy import STACKS, SUBLAYERS
from .plan import Plan, StackPlan
from .shape import ModelShape, StackShape

LAYER = re.compile(
    rf"^(?P<stack>{'|'.join(STACKS)})(?P<inner>\.sentence_encoder)?\.layers\.(?P<number>[0-9]{{1,5}})\.(?P<rest>.*)$"
)


def layers_of(names: Iterable[str], stack: str) -> set[int]:
    """Numbers of the layers of *stack* that the weights *names* belong to."""
    matches = map(LAYER.match, names)
    return {int(match["number"]) for match in matches if match and match["stack"] == stack}


def prune_weights(weights: dict[str, Tensor], plan: Plan, shape: ModelShape | None = None) -> dict[str, Tensor]:
    """The *weights* that *plan* keeps, layers renumbered from 0; what stays whole is shared, not copied.

    Args:
        shape: of the parent; only a plan that drops nothing but layers can do without.
    """
    child = {}
    for key, value in weights.items():
        match = LAYER.match(key)
        stack_plan = plan.get(match["stack"]) if match else None
        if stack_plan is None:
            child[key] = value
        elif int(match["number"]) in stack_plan.layers:
            of = shape and shape.get(match["stack"])
            left = _prune_weight(match["rest"], value, stack_plan, int(match["number"]), of)
            if left is not None:
                number = stack_plan.layers.index(int(match["number"]))
                child[f"{match['stack']}{match['inner'] or ''}.layers.{number}.{match['rest']}"] = left
    return child


def _prune_weight(name: str, value: Tensor, plan: StackPlan, layer: int, shape: StackShape | None) -> Tensor | None:
    """What *plan* keeps of a layer's weight; None where nothing stays of it."""
    kind = next((kind for kind in SUBLAYERS.values() if kind.begins(name)), None)
    if kind is None or layer not in plan.kept(kind.name):
        return value
    kept, dimension = plan.kept(kind.name)[layer], kind.dimension(name)
    if kept is None or (not kept and dimension is not None):
        return None
    if dimension is None:
        return value
    width = shape.width(kind.name)
    if len(kept) * width == value.shape[dimension]:
        return value
    index = (torch.tensor(kept)[:, None] * width + torch.arange(width)).flatten()
    return value.index_select(dimension, index.to(value.device))
