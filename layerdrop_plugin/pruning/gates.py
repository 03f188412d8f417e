"""Apply a plan to a live model with gates, without changing its weights."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from ..anatomy import KINDS, SUBLAYERS
from ..errors import LayerdropError
from ..modules.gate import Gate
from ..modules.layer_stack import LayerStack
from ..modules.sublayers import Sublayers
from .plan import Plan, StackPlan
from .shape import ModelShape, StackShape


def stacks_of(model: nn.Module) -> dict[str, LayerStack]:
    """The layer stacks of *model*, by name."""
    return {module.stack: module for module in model.modules() if isinstance(module, LayerStack)}


def padding_of(model: nn.Module) -> dict[str, int]:
    """Stack -> index of the padding in the dictionary of the tokens that it reads."""
    owners = (module for module in model.modules() if isinstance(getattr(module, "layers", None), LayerStack))
    return {owner.layers.stack: owner.padding_idx for owner in owners}


def model_shape(model: nn.Module) -> ModelShape:
    """The shape of a live *model*. Sublayers of layers that are not this plugin's count as absent."""
    return ModelShape(**{name: _stack_shape(stack) for name, stack in stacks_of(model).items()})


def _stack_shape(stack: LayerStack) -> StackShape:
    layers = list(stack)
    sizes = {kind: tuple(_size(layer, kind) for layer in layers) for kind in KINDS}
    if not any(_had_encoder_attn(layer) for layer in layers):
        del sizes["encoder_attn"]
    attentions = [layer.self_attn for layer in layers if getattr(layer, "self_attn", None) is not None]
    width = max((layer.embed_dim for layer in layers), default=0)
    heads = width // attentions[0].head_dim if attentions else 0
    return StackShape(len(layers), heads, max([0, *(size or 0 for size in sizes["ffn"])]), width, sizes)


def _had_encoder_attn(layer) -> bool:
    return getattr(layer, "encoder_attn", None) is not None or "encoder_attn" in getattr(layer, "absent", ())


def _size(layer, kind: str) -> int | None:
    if not isinstance(layer, Sublayers) or layer.sublayer(kind) is None:
        return None
    if kind == "ffn":
        return 0 if layer.fc1 is None else layer.fc1.out_features
    return layer.sublayer(kind).num_heads


def gates_of(model: nn.Module) -> dict[str, list[Gate | None]]:
    """The gates of *model*.

    Returns:
        stack and kind, such as ``encoder.self_attn``, ``decoder.ffn`` or ``encoder.layers`` -> the gate of each layer,
        None if the sublayer is absent or cannot be gated. Kinds that a stack does not have are left out.
    """
    gates: dict[str, list[Gate | None]] = {}
    for name, stack in stacks_of(model).items():
        layers = [layer if isinstance(layer, Sublayers) else None for layer in stack]
        for kind in _stack_shape(stack).sizes:
            gates[f"{name}.{kind}"] = [layer and _gate(layer, kind) for layer in layers]
        gates[f"{name}.layers"] = [layer and layer.gate for layer in layers]
    return gates


def _gate(layer: Sublayers, kind: str) -> Gate | None:
    if layer.sublayer(kind) is None:
        return None
    return layer.ffn_gate if kind == "ffn" else layer.head_gate(kind)


def of_open_parts(model: nn.Module, scores: dict[str, list]) -> dict[str, list]:
    """Set the *scores* of parts whose gates are 0 to 0.

    Args:
        model: a model with gates.
        scores: stack and kind -> for each layer a list with a score for each part; ``*.layers`` has a score for each
            layer instead.

    Returns:
        A dictionary of the same form.
    """
    found = {}
    for key, gates in gates_of(model).items():
        flat = key.endswith(".layers")
        rows = [[score] for score in scores[key]] if flat else scores[key]
        rows = [_open_only(gate, row) for gate, row in zip(gates, rows, strict=True)]
        found[key] = [score for row in rows for score in row] if flat else rows
    return found


def _open_only(gate: Gate | None, row: list[float]) -> list[float]:
    kept = None if gate is None else gate.kept()
    return row if kept is None else [score if part in kept else 0.0 for part, score in enumerate(row)]


@contextlib.contextmanager
def gated(model: nn.Module, plan: Plan) -> Iterator[nn.Module]:
    """Set the gates of *model* to *plan* in this block, so that it computes the same as the plan's child (law 1).

    Raises:
        LayerdropError: the plan does not fit the model, or names parts that cannot be gated.
    """
    plan.validate(model_shape(model))
    with contextlib.ExitStack() as opened:
        for name, stack in stacks_of(model).items():
            chosen = plan.get(name)
            opened.callback(setattr, stack, "active_layers", stack.active_layers)
            stack.active_layers = None if chosen is None else chosen.layers
            for depth, layer in enumerate(stack):
                if isinstance(layer, Sublayers):
                    opened.callback(setattr, layer.gate, "value", layer.gate.value)
                    layer.gate.value = torch.zeros(1) if chosen is not None and depth not in chosen.layers else None
                    _close(layer, {} if chosen is None else _of_layer(chosen, depth), opened)
        yield model


def _of_layer(plan: StackPlan, depth: int) -> dict[str, tuple[int, ...] | None]:
    return {kind: plan.kept(kind)[depth] for kind in KINDS if depth in plan.kept(kind)}


def _close(layer: Sublayers, kept: dict[str, tuple[int, ...] | None], opened: contextlib.ExitStack) -> None:
    """Set the gates of the parts that a *layer* does not keep to 0; *opened* restores them."""
    opened.callback(setattr, layer, "closed", layer.closed)
    layer.closed = frozenset(kind for kind, parts in kept.items() if parts is None)
    for kind in KINDS:
        gate = _gate(layer, kind)
        parts = kept.get(kind)
        if gate is None:
            if parts is not None:
                raise LayerdropError(
                    f"the {SUBLAYERS[kind].part.one}s of this model's {kind} cannot be gated or pruned"
                )
            continue
        opened.callback(setattr, gate, "value", gate.value)
        gate.value = None
        if parts is not None and len(parts) < gate.parts:
            gate.value = torch.zeros(gate.parts)
            gate.value[list(parts)] = 1.0
