"""A model's weights by layer: which layers a checkpoint has, and those that a plan keeps. Names are fairseq's."""

import re
from collections.abc import Iterable

from .plan import Plan

LAYER = re.compile(r"^(?P<stack>encoder|decoder)(?P<inner>\.sentence_encoder)?\.layers\.(?P<number>\d+)\.(?P<rest>.*)$")


def layers_of(names: Iterable[str], stack: str) -> set[int]:
    """Numbers of the layers of *stack* that the weights *names* belong to."""
    matches = map(LAYER.match, names)
    return {int(match["number"]) for match in matches if match and match["stack"] == stack}


def prune_weights(weights: dict, plan: Plan) -> dict:
    """The *weights* (name -> tensor) that *plan* keeps, layers renumbered from 0; tensors are shared, not copied."""
    child = {}
    for key, value in weights.items():
        match = LAYER.match(key)
        stack_plan = getattr(plan, match["stack"]) if match else None
        if stack_plan is None:
            child[key] = value
        elif int(match["number"]) in stack_plan.layers:
            number = stack_plan.layers.index(int(match["number"]))
            child[f"{match['stack']}{match['inner'] or ''}.layers.{number}.{match['rest']}"] = value
    return child
