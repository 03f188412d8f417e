"""What single heads are for: the change of the metric when one is removed, or when an attention keeps only one.

Source: Michel, Levy, Neubig 2019, "Are Sixteen Heads Really Better than One?", sections 3.2 and 3.3.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
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
    """One head: the kind of attention (``encoder.self_attn``), the layer, and its number there."""

    kind: str
    layer: int
    number: int

    def __str__(self):
        return f"{self.kind} layer {self.layer} head {self.number}"


class Ablated(NamedTuple):
    """What was measured.

    Attributes:
        whole: of the model as it is, in the order of the examples.
        heads: likewise of the model without a head, or with an attention reduced to it.
        examples: their numbers.
    """

    whole: Measured
    heads: dict[Head, Measured]
    examples: np.ndarray


def heads_of(model, mode: str = EACH) -> list[Head]:
    """The heads of *model* that *mode* has something to say about: of the attentions with one head only ``each`` has.

    Raises:
        LayerdropError: there are none.
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
def ablated(model, head: Head, mode: str) -> Iterator[None]:
    """Within this block *model* runs without *head*, or by ``all-but-one`` without the others of its attention."""
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
    """Measure the model as it is and once for each of its heads, in one pass over *batches*.

    What an ablation does not touch is computed once in a batch: the encoder's output where the decoder is ablated, and
    the layers below the ablated one.

    Raises:
        LayerdropError: there is no head to ablate.
    """
    heads = heads_of(session.model, mode)
    numbers, whole = [], []
    found: dict[Head, list[Measured]] = {head: [] for head in heads}
    stacks = stacks_of(session.model)
    with tqdm(total=len(batches) * (len(heads) + 1), desc=f"ablate {mode}", unit="pass") as progress:
        for sample in batches:
            numbers.append(numbers_of(sample))
            with recorded(stacks) as inputs:
                encoder_out = encode(session, sample) if session.kind == "translation" else None
                whole.append(measure(session, sample, encoder_out))
            progress.update()
            for head in heads:
                stack = head.kind.split(".")[0]
                untouched = encoder_out if stack == "decoder" else None
                below = beginning_at(stacks[stack], head.layer, inputs[stack][head.layer])
                with ablated(session.model, head, mode), below:
                    found[head].append(measure(session, sample, untouched))
                progress.update()
    without = {head: in_order(numbers, parts) for head, parts in found.items()}
    return Ablated(in_order(numbers, whole), without, np.sort(np.concatenate(numbers)))


@contextlib.contextmanager
def recorded(stacks: dict[str, LayerStack]) -> Iterator[dict[str, dict[int, Tensor]]]:
    """Within this block the inputs of the layers of *stacks* are noted: by stack, by layer."""
    inputs = {name: {} for name in stacks}
    with contextlib.ExitStack() as hooks:
        for name, stack in stacks.items():
            for number, layer in enumerate(stack):
                note = functools.partial(_note, inputs[name], number)
                hooks.callback(layer.register_forward_pre_hook(note).remove)
        yield inputs


def _note(inputs: dict[int, Tensor], number: int, _layer, arguments: tuple) -> None:
    inputs[number] = arguments[0]


@contextlib.contextmanager
def beginning_at(stack: LayerStack, number: int, x: Tensor) -> Iterator[None]:
    """Within this block the forward of *stack* begins at layer *number*, whose input is *x*."""
    before = stack.active_layers
    hook = stack[number].register_forward_pre_hook(lambda _layer, arguments: (x, *arguments[1:]))
    stack.active_layers = tuple(range(number, len(stack)))
    try:
        yield
    finally:
        hook.remove()
        stack.active_layers = before
