"""Models that are only read: their linear layers are packed once for oneDNN (see ``onednn_linear``), in place."""

from argparse import Namespace
from collections.abc import Iterator

import torch
from fairseq.models.roberta.model import RobertaLMHead
from fairseq.modules import MultiheadAttention
from omegaconf import DictConfig
from torch import nn

from ..errors import LayerdropError
from . import onednn_linear
from .attention import PrunableAttention
from .onednn_linear import PackedWeight, pack_weights, unpack
from .scriptable import Scriptable


class ReadyForInference(Scriptable, nn.Module):
    """Mixin for a model of this plugin: packs its linear layers for inference, and unpacks them for training.

    Attributes:
        packed_weights: the parameters that have been packed; any of them may have been unpacked since.
        inference_dtype: precision of their products.
    """

    packed_weights: tuple[nn.Parameter, ...] | None = None
    inference_dtype: torch.dtype = torch.float32
    # not compiled by torch.jit.trace; the last one is of the other mixin, models.layers_to_keep
    __jit_ignored_attributes__ = ["packed_weights", "inference_dtype", "layers_to_keep"]

    def prepare_for_inference_(self, cfg: DictConfig | Namespace) -> None:
        """fairseq's hook for models that will only be read; they cannot be trained afterwards, as in fairseq."""
        super().prepare_for_inference_(cfg)
        optimize_for_inference(self, self.inference_dtype)

    def train(self, mode: bool = True) -> nn.Module:
        """As ``nn.Module.train``; for training the weights are unpacked."""
        if mode:
            _unpack(self)
        return super().train(mode)

    def _apply(self, *args, **kwargs) -> nn.Module:
        """As ``nn.Module._apply``, which moves or converts every weight: they are packed again where that goes."""
        packed = self.packed_weights is not None
        _unpack(self)
        result = super()._apply(*args, **kwargs)
        return optimize_for_inference(self, self.inference_dtype) if packed else result


def optimize_for_inference(model: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Prepare a *model* of this plugin, in evaluation mode, for answering without gradients; returns it.

    On CPUs where it is faster, oneDNN packs the weights of the linear layers once, in place, instead of at every call;
    elsewhere nothing changes. The answers are the same but for rounding (1e-4). Call the model under
    ``torch.no_grad()``: wherever gradients are asked for, and with ``model.train()``, it becomes as it was. Where an
    embedding shares a layer's weights, there are two copies of them once the layer has been used.

    Args:
        dtype: precision of the products; with ``torch.bfloat16`` the weights are kept in single precision, too.

    Raises:
        LayerdropError: the model is none of this plugin's, is in training mode, or the CPU has no such precision.

    Example::

        hub = RobertaModel.from_pretrained("child/", "checkpoint_best.pt", "data-bin/")
        optimize_for_inference(hub.model.eval())
    """
    if not isinstance(model, ReadyForInference):
        raise LayerdropError(f"a {type(model).__name__} is no model of this plugin: only those can be packed")
    if model.training:
        raise LayerdropError("the model is in training mode, in which weights change: call model.eval() first")
    onednn_linear.check_dtype(dtype)
    if model.inference_dtype != dtype:
        _unpack(model)
    current = model.packed_weights
    if current is not None and all(type(weight) is PackedWeight for weight in current):
        return model
    _make_contiguous(model)
    least = onednn_linear.least_size(dtype)
    groups = list(_groups(model)) if least else []
    groups = [(weights, keep) for weights, keep in groups if sum(map(torch.numel, weights)) >= least]
    for weights, keep in groups:
        if not all(type(weight) is PackedWeight for weight in weights):
            for weight in weights:
                unpack(weight)
            pack_weights(*weights, keep=keep, dtype=dtype)
    model.packed_weights = tuple(weight for weights, _ in groups for weight in weights)
    model.inference_dtype = dtype
    return model


def _unpack(model: nn.Module) -> None:
    """Make all weights of *model* ordinary ones, those of an attention contiguous again."""
    packed, model.packed_weights = model.packed_weights, None
    if not packed:
        return
    for weight in packed:
        unpack(weight)
    _make_contiguous(model)


def _make_contiguous(model: nn.Module) -> None:
    """Let the projections of each attention lie together, as copying and unpacking moves them apart."""
    for module in model.modules():
        if isinstance(module, PrunableAttention):
            module.pack()


def _groups(model: nn.Module) -> Iterator[tuple[tuple[nn.Parameter, ...], bool]]:
    """Weights that are to be one matrix, and whether an embedding has them, too, so that they have to be kept."""
    owners: dict[nn.Parameter, list[nn.Module]] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(parameter, []).append(module)
    done = set()
    for layers in _layers(model):
        weights = tuple(layer.weight for layer in layers)
        if done.isdisjoint(weights) and all(_can_be_packed(layer) for layer in layers):
            others = [owner for weight in weights for owner in owners[weight] if not _is_linear(owner)]
            if all(type(owner) is nn.Embedding for owner in others):
                done.update(weights)
                yield weights, bool(others)


def _layers(model: nn.Module) -> Iterator[tuple[nn.Module, ...]]:
    """Linear layers of *model*, those together that are applied to the same input."""
    done: set[nn.Module] = set()
    for module in model.modules():
        if isinstance(module, PrunableAttention):
            together = module.packed_together()
            done.update(*together)
            yield from together
        elif isinstance(module, MultiheadAttention):  # fairseq's own, which does not call its projections
            done.update(module.children())
        elif _is_linear(module) and module not in done:
            yield (module,)


def _is_linear(module: nn.Module) -> bool:
    """Whether *module* uses its weight in a product only."""
    return type(module) in (nn.Linear, RobertaLMHead)


def _can_be_packed(layer: nn.Module) -> bool:
    weight = layer.weight
    if not _is_linear(layer) or layer._forward_pre_hooks or not isinstance(weight, nn.Parameter):
        return False  # quantisation noise and spectral norm are such hooks
    return weight.device.type == "cpu" and weight.dtype is torch.float32
