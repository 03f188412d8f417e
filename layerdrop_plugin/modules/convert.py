"""The only place where fairseq's objects change their class: its layers and attentions become ours in place.

No second model is built, and no random number is drawn for what stays whole. One exception: a decoder that fairseq has
built changes its class in ``LayerDropTransformerDecoder.of``, as the stack of layers imports this module.
"""

from fairseq.modules import MultiheadAttention
from fairseq.modules.checkpoint_activations import checkpoint_wrapper, unwrap_checkpoint
from fairseq.modules.transformer_layer import (
    TransformerDecoderLayer,
    TransformerDecoderLayerBase,
    TransformerEncoderLayer,
    TransformerEncoderLayerBase,
)
from torch import nn

from ..anatomy import HEADS, SUBLAYERS, kinds_of_part
from ..errors import LayerdropError
from .attention import AttentionWithoutHeads, OnlyBias, PrunableAttention
from .decoder_layer import PrunableDecoderLayer
from .encoder_layer import PrunableEncoderLayer
from .gate import HEADS as HEAD_LAYOUT
from .gate import LAYER, UNITS, Gate
from .sublayers import Sublayers

CLASSES = {
    TransformerEncoderLayerBase: PrunableEncoderLayer,
    TransformerEncoderLayer: PrunableEncoderLayer,
    TransformerDecoderLayerBase: PrunableDecoderLayer,
    TransformerDecoderLayer: PrunableDecoderLayer,
}


def prunable_layer(layer: nn.Module, sizes: dict[str, int | None]) -> nn.Module:
    """Convert fairseq's *layer* in place to a prunable one; layers of other classes are returned unchanged.

    Args:
        sizes: kind of sublayer -> number of heads or FFN units, or None for an absent sublayer; see
            :func:`_convert_sublayers`.

    Raises:
        LayerdropError: *sizes* ask for a smaller layer, and a layer of this class cannot be converted.
    """
    layer_class = CLASSES.get(type(layer))
    if layer_class is None:
        if sizes:
            raise LayerdropError(f"a {type(layer).__name__} cannot have another number of heads or units")
        return layer
    checkpointed = layer.forward.args[-1] if hasattr(layer, "precheckpoint_forward") else None
    if checkpointed is not None:  # the wrapper holds the old class's forward
        unwrap_checkpoint(layer)
        del layer.__dict__["forward"]
    _convert_sublayers(layer, layer_class, sizes)
    return layer if checkpointed is None else checkpoint_wrapper(layer, offload_to_cpu=checkpointed)


def _convert_sublayers(layer: nn.Module, layer_class: type[Sublayers], sizes: dict[str, int | None]) -> None:
    """Convert fairseq's *layer* in place to *layer_class*, with smaller or absent sublayers.

    Args:
        sizes: kind of sublayer -> number of heads or FFN units, or None for an absent sublayer. A kind that is not
            named keeps its size and weights; a smaller sublayer gets new weights.

    Raises:
        LayerdropError: a smaller size for an attention or FFN whose parts cannot be removed separately.
    """
    layer.__class__ = layer_class
    for name in kinds_of_part(HEADS):
        if getattr(layer, name, None) is not None:
            setattr(layer, name, _sized_attention(layer, getattr(layer, name), sizes.get(name)))
    # A LayerNorm over all units, or quantisation noise (a forward pre-hook) on blocks of them.
    inseparable = getattr(layer, "ffn_layernorm", None) is not None or bool(layer.fc1._forward_pre_hooks)
    units, whole = sizes.get("ffn", layer.fc1.out_features), layer.fc1.out_features
    if inseparable and units is not None and units < whole:
        raise LayerdropError("FFN units cannot be removed from this kind of FFN (--quant-noise-pq, --scale-fc)")
    if units == 0:
        layer.fc1, layer.fc2 = None, OnlyBias(layer.embed_dim)
    elif units is not None and units < whole:
        layer.fc1, layer.fc2 = nn.Linear(layer.embed_dim, units), nn.Linear(units, layer.embed_dim)
    layer.absent = frozenset(kind for kind, size in sizes.items() if size is None)
    for name in layer.absent:
        for part in (*SUBLAYERS[name].weights, SUBLAYERS[name].norm):
            if hasattr(layer, part):
                setattr(layer, part, None)
    layer.gate, layer.ffn_gate = Gate(1, LAYER), None if inseparable else Gate(units or 0, UNITS)


def _sized_attention(layer: nn.Module, attention: nn.Module, heads: int | None) -> nn.Module:
    """Convert an *attention* of *layer* to *heads* heads (None: all); see :func:`prunable_attention`."""
    if getattr(layer, "c_attn", None) is None:
        return prunable_attention(attention, heads)
    if heads is not None and heads < attention.num_heads:
        raise LayerdropError("heads cannot be removed from layers with --scale-heads, which scales all of them behind")
    return attention


def prunable_attention(attention: nn.Module, heads: int | None = None) -> nn.Module:
    """Convert fairseq's *attention* in place to a :class:`PrunableAttention` with *heads* heads (default: all).

    With all heads the weights are kept; with fewer they are new. Attention that cannot be pruned is returned unchanged:
    with ``bias_k``, ``add_zero_attn``, quantisation noise or xformers.

    Raises:
        LayerdropError: fewer heads are asked of an attention that cannot be pruned.
    """
    heads = attention.num_heads if heads is None else heads
    if not _can_be_pruned(attention):
        if heads < attention.num_heads:
            raise LayerdropError("heads cannot be removed from this kind of attention (quantisation noise, xformers)")
        return attention
    if heads == 0:
        return AttentionWithoutHeads(attention.embed_dim, attention.head_dim)
    if heads < attention.num_heads:
        width = heads * attention.head_dim
        for name in ("q_proj", "k_proj", "v_proj"):
            whole = getattr(attention, name)
            setattr(attention, name, nn.Linear(whole.in_features, width))
        attention.out_proj = nn.Linear(width, attention.embed_dim)
        attention.num_heads = heads
        attention.reset_parameters()
    attention.__class__ = PrunableAttention
    attention.gate = Gate(heads, HEAD_LAYOUT)
    attention.pack()
    return attention


def _can_be_pruned(attention: nn.Module) -> bool:
    """Whether a :class:`PrunableAttention` computes the same as *attention*."""
    if type(attention) is not MultiheadAttention or attention.use_xformers or attention.add_zero_attn:
        return False
    return attention.bias_k is None and not attention.k_proj._forward_pre_hooks  # quant_noise is such a hook
