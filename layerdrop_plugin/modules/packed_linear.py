"""Linear layers of one input as a single product, which is faster than one for each.

Their weights lie one behind the other in memory, as ``nn.RNN.flatten_parameters`` lays out a recurrent network's. They
stay parameters of their own under their own names, and there is no second copy that could grow old.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def pack(*layers: nn.Linear) -> None:
    """Move the weights of *layers* of one input width one behind the other, if they are not, and their biases too."""
    if any(type(layer) is not nn.Linear for layer in layers):
        return
    for name in ("weight", "bias"):
        parts = [getattr(layer, name) for layer in layers]
        if any(part is None or part.is_meta for part in parts) or _as_one(parts) is not None:
            continue
        whole = torch.cat([part.detach() for part in parts])
        for part, place in zip(parts, whole.split([len(part) for part in parts]), strict=True):
            part.data = place


def packed_linear(*layers: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """What gives the outputs of *layers*, one behind the other on the last axis.

    None where they have to be run one by one: their weights do not lie together or want gradients of their own, or a
    hook or another kind of layer (a quantised one) looks at what goes through; or the graph is being recorded.
    """
    if is_recorded() or any(type(layer) is not nn.Linear or _hooked(layer) for layer in layers):
        return None
    weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
    if torch.is_grad_enabled() and any(part.requires_grad for part in weights + biases):
        return None
    weight, bias = _as_one(weights), _as_one(biases)
    return None if weight is None or bias is None else partial(F.linear, weight=weight, bias=bias)


def is_recorded() -> bool:
    """Whether this forward is run to record its graph, which must not depend on whether gradients are wanted."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def _hooked(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def _as_one(parts: Sequence[Tensor]) -> Tensor | None:
    """The tensor that *parts* are the rows of, or None if they do not lie one behind the other."""
    first, place = parts[0], parts[0].data_ptr()
    for part in parts:
        if part.data_ptr() != place or part.dtype != first.dtype or part.shape[1:] != first.shape[1:]:
            return None
        place += part.numel() * part.element_size()
    # Memory of different allocations may be adjacent, too; this looks at the first one's only.
    if place > first.untyped_storage().data_ptr() + first.untyped_storage().nbytes():
        return None
    return first.as_strided((sum(map(len, parts)), *first.shape[1:]), first.stride())
