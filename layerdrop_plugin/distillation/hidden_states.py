"""What a criterion's model was called with, what it returned, and its hidden states, without changing either."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from fairseq.models.transformer import TransformerDecoderBase, TransformerEncoderBase
from torch import Tensor, nn

from ..errors import LayerdropError
from ..pruning.plan import Plan


@dataclass
class Call:
    """One forward of a model.

    Attributes:
        inputs: its arguments, by name.
        output: what it returned.
        hidden: stack -> hidden states (length, batch, width) by number: 0 is what the first layer reads, the
            embeddings, and i + 1 what layer i returned. Those of layers that LayerDrop left out are missing.
    """

    inputs: dict = field(default_factory=dict)
    output: tuple | None = None
    hidden: dict[str, dict[int, Tensor]] = field(default_factory=dict)


def layers_by_stack(model: nn.Module) -> dict[str, list[nn.Module]]:
    """The layers of *model*, ours or fairseq's own, by stack."""
    found = {}
    for module in model.modules():
        for stack, kind in (("encoder", TransformerEncoderBase), ("decoder", TransformerDecoderBase)):
            if isinstance(module, kind):
                found[stack] = list(nn.ModuleList.__iter__(module.layers))  # fairseq's own would drop layers
    return found


@contextlib.contextmanager
def recorded(model: nn.Module, with_hidden: bool) -> Iterator[list[Call]]:
    """Within this block the calls of *model* (no wrapper of it) are recorded, *with_hidden* states or without."""
    calls: list[Call] = []
    hooks = [
        model.register_forward_pre_hook(lambda _, args, kwargs: calls.append(_begin(args, kwargs)), with_kwargs=True),
        model.register_forward_hook(lambda _, args, output: setattr(calls[-1], "output", output)),
    ]
    for stack, layers in layers_by_stack(model).items() if with_hidden else ():
        for number, layer in enumerate(layers):
            hooks.append(layer.register_forward_hook(_keeper(calls, stack, number), with_kwargs=True))
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _begin(args, kwargs) -> Call:
    if args:
        raise LayerdropError("the base criterion calls the model with arguments without names: distil with another one")
    return Call(dict(kwargs))


def _keeper(calls: list[Call], stack: str, number: int):
    def keep(layer, args, kwargs, output):
        states = calls[-1].hidden.setdefault(stack, {})
        states.setdefault(0, args[0] if args else kwargs["x"])  # the first layer that runs reads the embeddings
        states[number + 1] = output[0] if isinstance(output, tuple) else output

    return keep


def counterparts(plan: Plan, layers: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """For each hidden state of a child the number of the parent's that it is held against.

    What the child's layer i reads is held against what that layer read in the parent, embeddings against embeddings
    and the last state against the last.

    Args:
        plan: what the child keeps of the parent.
        layers: stack -> number of the parent's layers.
    """
    found = {}
    for stack, number in layers.items():
        of_stack = plan.get(stack)
        kept = tuple(range(number)) if of_stack is None else of_stack.layers
        found[stack] = (0, *kept[1:], number)
    return found
