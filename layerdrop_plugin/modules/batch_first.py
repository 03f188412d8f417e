"""fairseq's stacks pass tensors of shape (length, batch, width) that are contiguous as (batch, length, width)."""

from collections.abc import Callable

from torch import Tensor


def batch_first(module: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``module(x)`` without a copy, for a *module* that works on the last axis of *x* (length, batch, width) only.

    The result has the memory order of *x*, so that the layers of a stack copy nothing to change it.
    """
    if x.is_contiguous():
        return module(x)
    return module(x.transpose(0, 1)).transpose(0, 1)
