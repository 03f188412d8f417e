"""Tie parameters that a forward pass leaves idle into the autograd graph, with zero gradients."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class _WithZeroGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.parameters = parameters
        return x.clone()  # a view would forbid in-place operations behind us

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return (gradient, *(torch.zeros_like(parameter) for parameter in ctx.parameters))


def with_zero_gradients(x: Tensor, parameters: Iterable[nn.Parameter]) -> Tensor:
    """*x* (any shape), unchanged, in a graph in which every one of *parameters* has the gradient zero.

    Zero rather than None: DistributedDataParallel then finds every parameter without ``find_unused_parameters``,
    and an optimizer takes the same step (weight decay, momentum) in one process as in several.
    """
    idle = [parameter for parameter in parameters if parameter.requires_grad]
    if not idle or not torch.is_grad_enabled():
        return x
    return _WithZeroGradients.apply(x, *idle)
