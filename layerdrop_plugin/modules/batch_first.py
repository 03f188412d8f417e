"""fairseq's stacks pass tensors of shape (length, batch, width) that are contiguous as (batch, length, width)."""

from collections.abc import Callable

from torch import Tensor


def batch_first(module: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Compute ``module(x)`` without a copy, for a *module* that works on the last axis only.

    Args:
        x: tensor (length, batch, width).

    Returns:
        Tensor (length, batch, output width) with the memory order of *x*, so that no layer of a stack has to copy it.
    """
    if x.is_contiguous():
        return module(x)
    return module(x.transpose(0, 1)).transpose(0, 1)
