"""Run a sub-network of a live model: the plan as gates, without touching a weight."""

import contextlib

from ..modules.layer_stack import LayerStack
from .plan import ModelShape, Plan, StackPlan, StackShape


def stacks_of(model) -> dict[str, LayerStack]:
    """The layer stacks of *model*, by name."""
    return {module.stack: module for module in model.modules() if isinstance(module, LayerStack)}


@contextlib.contextmanager
def gated(model, plan: Plan):
    """Within this block *model* computes what the child of *plan* would, in training and in evaluation mode.

    Raises:
        LayerdropError: the plan cannot be cut out of the model.
    """
    stacks = stacks_of(model)
    shapes = {name: StackShape(layers=len(stack), heads=0, ffn=0, embed_dim=0) for name, stack in stacks.items()}
    plan.validate(ModelShape(**shapes))
    before = {name: stack.gate for name, stack in stacks.items()}
    for name, stack in stacks.items():
        chosen: StackPlan | None = getattr(plan, name)
        stack.gate = None if chosen is None else chosen.layers
    try:
        yield model
    finally:
        for name, stack in stacks.items():
            stack.gate = before[name]
