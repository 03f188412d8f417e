"""Find the layers that weights belong to by their names in fairseq, and select the weights that a plan keeps."""

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from .. import checkpoint
from ..anatomy import STACKS, SUBLAYERS
from .plan import Plan, StackPlan
from .shape import ModelShape, StackShape
from .vocabulary import VocabularyPlan

LAYER = re.compile(
    rf"^(?P<stack>{'|'.join(STACKS)})(?P<inner>\.sentence_encoder)?\.layers\.(?P<number>[0-9]{{1,5}})\.(?P<rest>.*)$"
)

# Weights with a row for each symbol of a dictionary.
SYMBOLS = re.compile(
    r"^(?P<stack>encoder|decoder)\.(sentence_encoder\.)?"
    r"(embed_tokens\.weight|lm_head\.(weight|bias)|output_projection\.(weight|bias)|embed_out)$"
)


def layers_of(names: Iterable[str], stack: str) -> set[int]:
    """Numbers of the layers of *stack* that the weights called *names* belong to."""
    matches = map(LAYER.match, names)
    return {int(match["number"]) for match in matches if match and match["stack"] == stack}


def prune_weights(weights: dict[str, Tensor], plan: Plan, shape: ModelShape | None = None) -> dict[str, Tensor]:
    """Select the weights that *plan* keeps.

    Args:
        weights: name -> weight of the parent.
        plan: the plan.
        shape: shape of the parent; may be None if the plan drops only layers.

    Returns:
        name -> weight, with layers renumbered from 0. Weights that are kept whole are shared, not copied.
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
    """The part of the weight *name* of a *layer* that *plan* keeps; None if it keeps nothing."""
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


def tables_of(weights: Iterable[str], one_vocabulary: bool) -> dict[str, list[str]]:
    """Side -> names of the *weights* that have a row for each of its symbols.

    Args:
        one_vocabulary: whether the model has one only, the source.
    """
    tables: dict[str, list[str]] = {}
    for match in filter(None, map(SYMBOLS.match, weights)):
        side = "source" if one_vocabulary or match["stack"] == "encoder" else "target"
        tables.setdefault(side, []).append(match.string)
    return tables


def prune_rows(weights: dict[str, Tensor], plan: VocabularyPlan, one_vocabulary: bool) -> dict[str, Tensor]:
    """The *weights* with the rows of embeddings and output layers that *plan* keeps; what was tied stays tied."""
    child, cut = dict(weights), {}
    tables = tables_of(weights, one_vocabulary)
    for side, rows in plan.items():
        for name in tables.get(side, []):
            place = checkpoint.place_in_memory(weights[name])
            if place not in cut:
                cut[place] = weights[name].index_select(0, torch.tensor(rows, device=weights[name].device))
            child[name] = cut[place]
    return child
