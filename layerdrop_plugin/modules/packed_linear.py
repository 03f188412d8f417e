"""Compute several linear layers of the same input as one matrix product, which is faster than one product for each.

Their weights are views of one contiguous tensor, as ``nn.RNN.flatten_parameters`` makes those of a recurrent network.
Each stays a parameter of its own with its own name; there is no copy that could become outdated.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .onednn_linear import PackedWeight, gradients_wanted, is_recorded, packed_product


def pack(*layers: nn.Linear) -> None:
    """Make the weights of *layers* of the same input width contiguous, in this order; likewise their biases."""
    if any(type(layer) is not nn.Linear for layer in layers):
        return
    for name in ("weight", "bias"):
        parts = [getattr(layer, name) for layer in layers]
        if any(part is None or part.is_meta or type(part) is PackedWeight for part in parts):
            continue
        if _as_one(parts) is not None:
            continue
        packed = torch.cat([part.detach() for part in parts])
        for part, view in zip(parts, packed.split([len(part) for part in parts]), strict=True):
            part.data = view


def packed_linear(x: Tensor, *layers: nn.Module, activation: str = "none") -> Callable[[Tensor], Tensor] | None:
    """A function that computes the outputs of *layers*, concatenated on the last axis, in one matrix product.

    Args:
        x: what it will be called with, in any order of the axes but the last.
        activation: applied to the outputs; one of ``onednn_linear.ALGORITHMS``.

    Returns:
        None if they have to be computed separately: their weights are not contiguous or require gradients, a layer has
        hooks or another class than ``nn.Linear`` (a quantised one), the model is being traced or compiled, or an
        activation is asked for and the weights are not packed by oneDNN.
    """
    if is_recorded() or any(type(layer) is not nn.Linear or _hooked(layer) for layer in layers):
        return None
    weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
    bias = biases[0] if len(layers) == 1 else _as_one(biases)
    if (bias is None and len(layers) > 1) or gradients_wanted(*weights, *biases):
        return None
    packed = packed_product(x, weights)
    if packed is not None:
        return partial(packed.product, bias=bias, activation=activation)
    weight = _as_one(weights) if activation == "none" else None
    return None if weight is None else partial(F.linear, weight=weight, bias=bias)


def _hooked(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def _as_one(parts: Sequence[Tensor]) -> Tensor | None:
    """*parts* concatenated on their first axis, as a view of their memory; None if they are not contiguous there."""
    if any(part is None or type(part) is PackedWeight for part in parts):
        return None
    first, address = parts[0], parts[0].data_ptr()
    for part in parts:
        if part.data_ptr() != address or part.dtype != first.dtype or part.shape[1:] != first.shape[1:]:
            return None
        address += part.numel() * part.element_size()
    # Tensors of different allocations may be adjacent by chance: the view must stay within the first one's storage.
    if address > first.untyped_storage().data_ptr() + first.untyped_storage().nbytes():
        return None
    return first.as_strided((sum(map(len, parts)), *first.shape[1:]), first.stride())
