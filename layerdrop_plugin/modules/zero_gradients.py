"""Give parameters that a forward pass does not use zero gradients instead of None (law 5, dropped layers)."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class _WithZeroGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.parameters = parameters
        return x.clone()  # a view would forbid in-place operations on the result

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return (gradient, *(torch.zeros_like(parameter) for parameter in ctx.parameters))


def with_zero_gradients(x: Tensor, parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return *x* (any shape), unchanged, connected in the autograd graph to *parameters* with zero gradients.

    With zero rather than None, DistributedDataParallel works without ``find_unused_parameters``, and an optimizer takes
    the same step (weight decay, momentum) in one process as in several.
    """
    idle = [parameter for parameter in parameters if parameter.requires_grad]
    if not idle or not torch.is_grad_enabled():
        return x
    return _WithZeroGradients.apply(x, *idle)
