"""Convert fairseq's encoders, decoders, layers and attentions in place to this plugin's classes.

This is the only module that changes the class of an object. No second model is built, and random numbers are drawn only
for layers that become smaller.
"""

import copy
from argparse import Namespace

from fairseq.models.transformer import TransformerDecoder, TransformerEncoder
from fairseq.modules import MultiheadAttention
from fairseq.modules.checkpoint_activations import checkpoint_wrapper, unwrap_checkpoint
from fairseq.modules.transformer_layer import (
    TransformerDecoderLayer,
    TransformerDecoderLayerBase,
    TransformerEncoderLayer,
    TransformerEncoderLayerBase,
)
from omegaconf import DictConfig
from torch import nn

from ..anatomy import HEADS, SUBLAYERS, kinds_of_part
from ..errors import LayerdropError
from .attention import AttentionWithoutHeads, OnlyBias, PrunableAttention
from .decoder_layer import PrunableDecoderLayer
from .drop_rates import layer_rates
from .encoder_layer import PrunableEncoderLayer
from .gate import HEADS as HEAD_LAYOUT
from .gate import LAYER, UNITS, Gate
from .layer_sizes import layer_sizes
from .layer_stack import LayerStack
from .learned_rates import LEARNING_RATE, LearnedRates
from .structured_dropout import StructuredDropout
from .sublayers import Sublayers
from .transformer_decoder import LayerDropTransformerDecoder
from .transformer_encoder import LayerDropTransformerEncoder

CLASSES = {
    TransformerEncoderLayerBase: PrunableEncoderLayer,
    TransformerEncoderLayer: PrunableEncoderLayer,
    TransformerDecoderLayerBase: PrunableDecoderLayer,
    TransformerDecoderLayer: PrunableDecoderLayer,
}


def layerdrop_encoder(encoder: TransformerEncoder, args: Namespace | DictConfig) -> LayerDropTransformerEncoder:
    """Convert fairseq's *encoder* in place, with the layer sizes and drop rates in *args*.

    Args:
        encoder: fairseq's encoder.
        args: besides fairseq's options ``encoder_layerdrop``, ``encoder_layerdrop_schedule``,
            ``layerdrop_warmup_updates``, ``learn_layerdrop``, ``learn_layerdrop_lr`` and ``seed``; see also
            ``layer_sizes`` and ``StructuredDropout.from_args``.

    Raises:
        LayerdropError: an invalid drop rate, schedule or layer size, or a rate with nothing to drop.
    """
    encoder.layers = _layer_stack(encoder.layers, args, "encoder")
    encoder.__class__ = LayerDropTransformerEncoder
    _learn_rates(encoder, args, "encoder")
    return encoder


def layerdrop_decoder(decoder: TransformerDecoder, args: Namespace | DictConfig) -> LayerDropTransformerDecoder:
    """Convert fairseq's *decoder* in place, as :func:`layerdrop_encoder` does with the options of the decoder."""
    decoder.layers = _layer_stack(decoder.layers, args, "decoder")
    decoder.__class__ = LayerDropTransformerDecoder
    _learn_rates(decoder, args, "decoder")
    return decoder


def _learn_rates(module: nn.Module, args: Namespace | DictConfig, stack: str) -> None:
    """Give the encoder or decoder *module* learned drop rates, if the options in *args* say so and it has rates."""
    rate = getattr(args, f"{stack}_layerdrop")
    if not (rate and getattr(args, "learn_layerdrop", False)):
        module.learned_rates = None
        return
    module.learned_rates = LearnedRates(
        rate,
        len(module.layers),
        getattr(args, f"{stack}_embed_dim"),
        stack=stack,
        seed=getattr(args, "seed", 1),
        learning_rate=getattr(args, "learn_layerdrop_lr", None) or LEARNING_RATE,
    )
    module.layers.learn(module.learned_rates)


def _layer_stack(layers: nn.ModuleList, args: Namespace | DictConfig, stack: str) -> LayerStack:
    """A stack of fairseq's *layers*, converted in place to the sizes in *args*, with the drop rates in *args*."""
    modules = list(nn.ModuleList.__iter__(layers))  # LayerDropModuleList.__iter__ would drop layers
    sizes = layer_sizes(args, stack, len(modules))
    modules = [prunable_layer(layer, size) for layer, size in zip(modules, sizes, strict=True)]
    rate, schedule = getattr(args, f"{stack}_layerdrop"), getattr(args, f"{stack}_layerdrop_schedule")
    if rate and not modules:
        raise LayerdropError(f"--{stack}-layerdrop {rate:g} finds no layers to drop in the {stack}: leave it out")
    structured_dropout = StructuredDropout.from_args(args, stack)
    result = LayerStack(
        modules,
        layer_rates(rate, len(modules), schedule, f"--{stack}-layerdrop"),
        seed=getattr(args, "seed", 1),
        stack=stack,
        warmup_updates=args.layerdrop_warmup_updates,
        structured_dropout=structured_dropout,
    )
    if structured_dropout is not None:
        structured_dropout.check(modules, stack)
    return result


def prunable_layer(layer: nn.Module, sizes: dict[str, int | None]) -> nn.Module:
    """Convert fairseq's *layer* in place to a prunable one; layers of other classes are returned unchanged.

    Args:
        layer: fairseq's layer; activation checkpointing is kept.
        sizes: kind of sublayer -> number of heads or FFN units, or None for an absent sublayer; see
            :func:`_convert_sublayers`.

    Raises:
        LayerdropError: there are *sizes* for a layer whose class cannot be converted.
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


def resized(layer: Sublayers, sizes: dict[str, int | None]) -> Sublayers:
    """A copy of a prunable *layer* with smaller or absent sublayers, whose weights are new.

    Args:
        layer: the layer; it is not changed.
        sizes: kind of sublayer -> number of heads or FFN units, None for an absent sublayer; other kinds stay as they
            are.

    Raises:
        LayerdropError: the heads or units of *layer* cannot be removed.
    """
    smaller = copy.deepcopy(layer)
    _convert_sublayers(smaller, type(layer), sizes)
    return smaller


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
    inseparable = getattr(layer, "ffn_layernorm", None) is not None or bool(layer.fc1 and layer.fc1._forward_pre_hooks)
    whole = layer.fc1.out_features if layer.fc1 else 0
    units = sizes.get("ffn", whole)
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
    if (
        type(attention) not in (MultiheadAttention, PrunableAttention)
        or attention.use_xformers
        or attention.add_zero_attn
    ):
        return False
    return attention.bias_k is None and not attention.k_proj._forward_pre_hooks  # quant_noise is such a hook
