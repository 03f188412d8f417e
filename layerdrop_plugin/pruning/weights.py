"""A model's weights by layer: what a checkpoint has, and what a plan keeps of it. Names are fairseq's."""

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from ..anatomy import SUBLAYERS
from .plan import ModelShape, Plan, StackPlan, StackShape

LAYER = re.compile(r"^(?P<stack>encoder|decoder)(?P<inner>\.sentence_encoder)?\.layers\.(?P<number>\d+)\.(?P<rest>.*)$")
# Beginning of a weight's name within its layer -> the kind of sublayer that it goes away with.
_KIND = {f"{name}.": kind.name for kind in SUBLAYERS.values() for name in (*kind.weights, kind.norm)}
# The weights that have a row, or a column, for each part (head's width or FFN unit); out of all others nothing is cut.
_ROWS = re.compile(r"(?P<attention>self_attn|encoder_attn)\.[qkv]_proj\.(weight|bias)|fc1\.(weight|bias)")
_COLUMNS = re.compile(r"(?P<attention>self_attn|encoder_attn)\.out_proj\.weight|fc2\.weight")


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
        stack_plan = getattr(plan, match["stack"]) if match else None
        if stack_plan is None:
            child[key] = value
        elif int(match["number"]) in stack_plan.layers:
            of = getattr(shape, match["stack"]) if shape is not None else None
            left = _prune_weight(match["rest"], value, stack_plan, int(match["number"]), of)
            if left is not None:
                number = stack_plan.layers.index(int(match["number"]))
                child[f"{match['stack']}{match['inner'] or ''}.layers.{number}.{match['rest']}"] = left
    return child


def _prune_weight(name: str, value: Tensor, plan: StackPlan, layer: int, shape: StackShape | None) -> Tensor | None:
    """What *plan* keeps of a layer's weight; None where nothing stays of it."""
    kind = next((kind for begin, kind in _KIND.items() if f"{name}.".startswith(begin)), None)
    if kind is None or layer not in plan.kept(kind):
        return value
    kept = plan.kept(kind)[layer]
    rows, columns = _ROWS.fullmatch(name), _COLUMNS.fullmatch(name)
    if kept is None or (not kept and (rows or columns)):
        return None
    if not (rows or columns):
        return value
    width = 1 if kind == "ffn" else shape.embed_dim // shape.heads
    if len(kept) * width == value.shape[0 if rows else 1]:
        return value
    index = (torch.tensor(kept)[:, None] * width + torch.arange(width)).flatten()
    return value.index_select(0 if rows else 1, index.to(value.device))
