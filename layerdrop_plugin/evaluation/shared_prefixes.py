"""Measure many subsets of a stack's layers on a batch, computing the layers that subsets begin with only once.

The subsets are walked as a tree, depth first, so that at most k + 1 activations of the batch are in memory for subsets
of k layers. For all subsets of k of L layers, C(L + 1, k) - 1 layers run instead of k C(L, k).
"""

import functools
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ..modules.layer_stack import LayerStack
from ..pruning.gates import gated, stacks_of
from ..pruning.layer_search import Subset
from ..pruning.plan import Plan, StackPlan
from .ablation import starting_at
from .losses import Measured, encode, measure
from .session import Session

Tree = dict[int, "Tree"]  # layer -> the layers that follow it; empty after the last layer of a subset


def plan_of(stack: str, subset: Subset) -> Plan:
    """The plan that keeps the layers *subset* of *stack*, and everything else."""
    return Plan(**{stack: StackPlan(subset)})


def measure_alone(session: Session, sample: dict, stack: str, subset: Subset) -> Measured:
    """Measure the examples of *sample* with the layers *subset* of *stack* only, as :func:`losses.measure`."""
    with gated(session.model, plan_of(stack, subset)):
        return measure(session, sample)


@torch.no_grad()
def measure_subsets(session: Session, sample: dict, stack: str, subsets: Iterable[Subset]) -> dict[Subset, Measured]:
    """Measure the examples of *sample* with each of *subsets*, the only layers of *stack* that run.

    What comes before and after the stack is the model's own forward. An encoder-decoder's encoder runs once for all
    subsets of the decoder; for each subset of the encoder the decoder runs anew.

    Args:
        session: the model, without gates that remove layers.
        sample: a fairseq batch.
        stack: ``encoder`` or ``decoder``.
        subsets: distinct subsets of one size, at least 1.

    Returns:
        subset -> what :func:`measure_alone` gives for it.
    """
    session.optimize()
    layers = stacks_of(session.model)[stack]
    shared = encode(session, sample) if session.kind == "translation" and stack == "decoder" else None
    run = functools.partial(measure, session, sample, shared)
    (first_input, *others), options = first_call(layers, run)
    found: dict[Subset, Measured] = {}

    def descend(tree: Tree, x: Tensor, prefix: Subset) -> None:
        for layer, below in tree.items():
            if below:
                descend(below, output_of(layers[layer](x, *others, **options)), (*prefix, layer))
            else:
                with starting_at(layers, [layer], x):
                    found[*prefix, layer] = run()

    descend(_tree(subsets), first_input, ())
    return found


def _tree(subsets: Iterable[Subset]) -> Tree:
    """The tree of *subsets*; layers ascend in every node."""
    tree: Tree = {}
    for subset in sorted(subsets):
        node = tree
        for layer in subset:
            node = node.setdefault(layer, {})
    return tree


class _FirstCallError(Exception):
    """Ends a forward pass at the first layer; its arguments are those of the layer, positional and by name."""


def first_call(layers: LayerStack, run: Callable[[], object]) -> tuple[tuple, dict]:
    """The arguments of the first of *layers* in *run*, a forward pass of the model that ends there."""

    def stop(_layer, arguments: tuple, options: dict) -> None:
        raise _FirstCallError(arguments, options)

    hook = layers[0].register_forward_pre_hook(stop, with_kwargs=True)
    try:
        run()
    except _FirstCallError as call:
        return call.args
    finally:
        hook.remove()
    raise AssertionError("the stack's first layer did not run")


def output_of(result: Tensor | tuple) -> Tensor:
    """The activations in what a layer returns; decoder layers also return attention weights."""
    return result[0] if isinstance(result, tuple) else result
