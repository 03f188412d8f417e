"""Change of the metric when one head is removed, or when an attention keeps only one head.

Source: Michel, Levy, Neubig 2019, "Are Sixteen Heads Really Better than One?", sections 3.2 and 3.3.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..errors import LayerdropError
from ..modules.layer_stack import LayerStack
from ..pruning.gates import gates_of, stacks_of
from .batches import Batches
from .losses import Measured, encode, in_order, measure, numbers_of
from .session import Session

EACH, ALL_BUT_ONE = "each", "all-but-one"
MODES = (EACH, ALL_BUT_ONE)


class Head(NamedTuple):
    """A head of a model.

    Attributes:
        kind: stack and kind of its attention, such as ``encoder.self_attn``.
        layer: index of its layer in the stack.
        number: its index in the attention.
    """

    kind: str
    layer: int
    number: int

    def __str__(self):
        return f"{self.kind} layer {self.layer} head {self.number}"


class Ablated(NamedTuple):
    """Measurements of an ablation.

    Attributes:
        whole: measurements of the whole model.
        heads: head -> measurements of the model without this head, or with only this head in its attention.
        examples: indices (examples,) of the measured examples, ascending; all measurements are in this order.
    """

    whole: Measured
    heads: dict[Head, Measured]
    examples: np.ndarray


def heads_of(model: nn.Module, mode: str = EACH) -> list[Head]:
    """The heads of *model* that can be ablated; with *mode* ``all-but-one``, those of attentions with several heads.

    Raises:
        LayerdropError: there are no such heads.
    """
    least = 1 if mode == EACH else 2
    heads = [
        Head(kind, layer, number)
        for kind, gates in gates_of(model).items()
        if kind.endswith("_attn")
        for layer, gate in enumerate(gates)
        if gate is not None and gate.parts >= least
        for number in range(gate.parts)
    ]
    if not heads:
        raise LayerdropError(f"the model has no attention with {least} or more heads: there is nothing to ablate")
    return heads


@contextlib.contextmanager
def ablated(model: nn.Module, head: Head, mode: str) -> Iterator[None]:
    """Run *model* without *head*; with *mode* ``all-but-one``, without all other heads of the same attention.

    The attention's gate is restored when the block is left.
    """
    gate = gates_of(model)[head.kind][head.layer]
    before = gate.value
    removed = torch.arange(gate.parts) == head.number
    if mode == ALL_BUT_ONE:
        removed = ~removed
    gate.value = (torch.ones(gate.parts) if before is None else before).masked_fill(removed, 0.0)
    try:
        yield
    finally:
        gate.value = before


def ablate(session: Session, batches: Batches, mode: str) -> Ablated:
    """Measure the whole model, and the model with each of its heads ablated, in one pass over *batches*.

    For each batch, the layers below the ablated one are computed only once, as an ablation does not change them; so is
    the encoder if a head of the decoder is ablated.

    Raises:
        LayerdropError: there is no head to ablate.
    """
    heads = heads_of(session.model, mode)
    numbers, whole = [], []
    ablations: dict[Head, list[Measured]] = {head: [] for head in heads}
    stacks = stacks_of(session.model)
    with tqdm(total=len(batches) * (len(heads) + 1), desc=f"ablate {mode}", unit="pass") as progress:
        for sample in batches:
            numbers.append(numbers_of(sample))
            with layer_inputs(stacks) as inputs:
                encoder_out = encode(session, sample) if session.kind == "translation" else None
                whole.append(measure(session, sample, encoder_out))
            progress.update()
            for head in heads:
                stack = head.kind.split(".")[0]
                known_output = encoder_out if stack == "decoder" else None
                skip_below = starting_at(
                    stacks[stack], range(head.layer, len(stacks[stack])), inputs[stack][head.layer]
                )
                with ablated(session.model, head, mode), skip_below:
                    ablations[head].append(measure(session, sample, known_output))
                progress.update()
    without = {head: in_order(numbers, parts) for head, parts in ablations.items()}
    return Ablated(in_order(numbers, whole), without, np.sort(np.concatenate(numbers)))


@contextlib.contextmanager
def layer_inputs(stacks: dict[str, LayerStack]) -> Iterator[dict[str, dict[int, Tensor]]]:
    """Record the inputs of all layers of *stacks* while the block runs.

    Yields:
        stack's name -> layer's index -> input (time, batch, channels) of the layer in the latest forward pass.
    """
    inputs = {name: {} for name in stacks}
    with contextlib.ExitStack() as hooks:
        for name, stack in stacks.items():
            for number, layer in enumerate(stack):
                hook = functools.partial(_record_input, inputs[name], number)
                hooks.callback(layer.register_forward_pre_hook(hook).remove)
        yield inputs


def _record_input(inputs: dict[int, Tensor], number: int, _layer, arguments: tuple) -> None:
    inputs[number] = arguments[0]


@contextlib.contextmanager
def starting_at(stack: LayerStack, layers: Sequence[int], x: Tensor) -> Iterator[None]:
    """Run only *layers* (ascending) of *stack*, the first with the input *x* (time, batch, channels), in this block."""
    before = stack.active_layers
    hook = stack[layers[0]].register_forward_pre_hook(lambda _layer, arguments: (x, *arguments[1:]))
    stack.active_layers = tuple(layers)
    try:
        yield
    finally:
        hook.remove()
        stack.active_layers = before
