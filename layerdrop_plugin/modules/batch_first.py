"""fairseq's layers speak (length, batch, width); its stacks pass them views of memory in (batch, length, width)."""

from collections.abc import Callable

from torch import Tensor


def batch_first(module: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``module(x)`` for a *module* that works on the last axis alone, of *x* (length, batch, width), without a copy.

    The result lies in memory as *x* does, so that no layer of a stack has to transpose anything.
    """
    if x.is_contiguous():
        return module(x)
    return module(x.transpose(0, 1)).transpose(0, 1)
