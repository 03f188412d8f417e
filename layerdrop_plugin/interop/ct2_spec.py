"""A fairseq Transformer as CTranslate2's specification of a model, filled by the functions of its fairseq converter.

CTranslate2 has one number of heads for all layers of a stack, and no layer without one of its sublayers. What pruning
has removed is therefore padded with zeros, with equal outputs: heads to the greatest number of any layer of the stack.
"""

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from fairseq.models import BaseFairseqModel
from torch import Tensor, nn

from ..anatomy import SUBLAYERS, kinds_of_stack
from ..errors import LayerdropError
from ..pruning.parent import Parent
from ..pruning.shape import ModelShape, StackShape
from .libraries import library

if TYPE_CHECKING:
    from fairseq.data import Dictionary

FAMILIES = ("transformer", "transformer_align", "transformer_lm")
# Options with which a Transformer computes what CTranslate2 cannot.
_UNKNOWN = (
    "no_token_positional_embeddings",
    "adaptive_input",
    "adaptive_softmax_cutoff",
    "character_embeddings",
    "no_cross_attention",
    "cross_self_attention",
    "scale_attn",
    "scale_fc",
    "scale_heads",
    "scale_resids",
)
_ACTIVATIONS = {
    "relu": "RELU",
    "gelu": "GELU",
    "gelu_accurate": "GELUTanh",
    "gelu_fast": "GELUTanh",
    "swish": "SWISH",
}


@dataclass(frozen=True)
class Padding:
    """What a stack is padded to.

    Attributes:
        heads: number of heads of every attention.
        added: number of parts that are zeros, by kind of sublayer; kinds without any are left out.
    """

    heads: int
    added: dict[str, int]


def refuse_unknown(parent: Parent) -> None:
    """Raise LayerdropError, with the reason, if CTranslate2 cannot compute what *parent*'s model does."""
    if parent.family.stock not in FAMILIES:
        raise LayerdropError(
            f"{parent.path} is a {parent.family.stock}: export-ct2 takes translation and language models"
            f" ({', '.join(FAMILIES)})"
        )
    options = parent.options
    for name in _UNKNOWN:
        if options.get(name):
            raise LayerdropError(f"{parent.path} was trained with --{name.replace('_', '-')}, which CTranslate2 lacks")
    if options.get("activation_fn", "relu") not in _ACTIVATIONS:
        raise LayerdropError(
            f"{parent.path} was trained with --activation-fn {options['activation_fn']}: CTranslate2 has"
            f" {', '.join(_ACTIVATIONS)}"
        )
    for stack, shape in parent.shape.items():
        if not options.get(f"{stack}_normalize_before"):
            _refuse_absent(parent, stack, shape)


def _refuse_absent(parent: Parent, stack: str, shape: StackShape) -> None:
    """Without a post-norm sublayer its LayerNorm is gone, too, and nothing that CTranslate2 has is the identity."""
    for kind, sizes in shape.sizes.items():
        if None in sizes:
            raise LayerdropError(
                f"{parent.path} has no {kind} in layer {sizes.index(None)} of its {stack}, nor the LayerNorm after it:"
                " CTranslate2 cannot leave it out of a post-norm layer; prune to 0 heads or units instead, or the layer"
            )


def padding_of(parent: Parent) -> dict[str, Padding]:
    """Stack -> what :func:`specification` pads it to."""
    found = {}
    for stack, shape in parent.shape.items():
        heads = max([1, *(size or 0 for kind, sizes in shape.sizes.items() if kind != "ffn" for size in sizes)])
        least = {kind.name: 1 if kind.name == "ffn" else heads for kind in kinds_of_stack(stack)}
        added = {kind: sum(max(0, least[kind] - (size or 0)) for size in sizes) for kind, sizes in shape.sizes.items()}
        found[stack] = Padding(heads, {kind: count for kind, count in added.items() if count})
    return found


@torch.no_grad()
def specification(parent: Parent, model: BaseFairseqModel, dictionaries: "tuple[Dictionary, ...]") -> Any:
    """CTranslate2's specification of *model*.

    Args:
        parent: the model's checkpoint, of which :func:`refuse_unknown` refuses nothing.
        model: the model, on the CPU, in evaluation mode and single precision. It is padded in place: not to be used
            any more.
        dictionaries: those of source and target, or of a language model the only one.

    Returns:
        A ``ctranslate2.specs.TransformerSpec``, or a ``TransformerDecoderModelSpec`` of a language model.

    Raises:
        LayerdropError: CTranslate2 is not installed, or its specification has no place for a part of the model.
    """
    converter, specs = library("ctranslate2.converters.fairseq"), library("ctranslate2.specs")
    model.requires_grad_(False)
    stacks = {}
    for stack, padding in padding_of(parent).items():
        module = getattr(model, stack)
        _pad(module, parent.shape, stack, padding.heads)
        stacks[stack] = _stack_specification(specs.transformer_spec, parent, stack, padding.heads)
    vocabularies = [["<blank>" if word == "<pad>" else word for word in words.symbols] for words in dictionaries]
    if "encoder" not in stacks:
        spec = specs.TransformerDecoderModelSpec(stacks["decoder"])
        converter.set_transformer_decoder(spec.decoder, model.decoder, with_encoder_attention=False)
        spec.register_vocabulary(vocabularies[0])
        if not (parent.cfg.get("task") or {}).get("add_bos_token"):
            spec.config.bos_token = spec.config.eos_token
    else:
        spec = specs.TransformerSpec(stacks["encoder"], stacks["decoder"])
        converter.set_transformer_encoder(spec.encoder, model.encoder)
        converter.set_transformer_decoder(spec.decoder, model.decoder)
        spec.register_source_vocabulary(vocabularies[0])
        spec.register_target_vocabulary(vocabularies[1])
        spec.config.decoder_start_token = spec.config.eos_token
        spec.config.add_source_eos = True
    try:
        spec.validate()
    except ValueError as error:
        missing = " ".join(str(error).split())
        raise LayerdropError(f"CTranslate2 has no place for all of {parent.path}: {missing}") from error
    return spec


def _stack_specification(transformer_spec: ModuleType, parent: Parent, stack: str, heads: int) -> Any:
    """The empty specification of a *stack* whose attentions have so many *heads*."""
    options, shape = parent.options, parent.shape.get(stack)
    activation = library("ctranslate2.specs.common_spec").Activation[_ACTIVATIONS[options.get("activation_fn", "relu")]]
    common = {
        "pre_norm": bool(options.get(f"{stack}_normalize_before")),
        "activation": activation,
        "layernorm_embedding": bool(options.get("layernorm_embedding")),
        "head_dim": shape.width("self_attn"),  # not the model's width / heads where all layers have lost heads
    }
    if stack == "encoder":
        return transformer_spec.TransformerEncoderSpec(shape.layers, heads, **common)
    width = options.get("decoder_embed_dim")
    projected = [options.get(name) or width for name in ("decoder_input_dim", "decoder_output_dim")]
    if (projected[0] == width) != (projected[1] == width):
        raise LayerdropError(
            f"{parent.path} has only one of --decoder-input-dim and --decoder-output-dim: CTranslate2 wants both"
        )
    return transformer_spec.TransformerDecoderSpec(
        shape.layers,
        heads,
        **common,
        with_encoder_attention="encoder" in parent.family.stacks,
        no_final_norm=bool(options.get("no_decoder_final_norm")),
        project_in_out=projected[0] != width,
        alignment_layer=options.get("alignment_layer", -1),
        alignment_heads=options.get("alignment_heads", 0),
    )


class _Attention(nn.Module):
    """The weights, all zeros, that CTranslate2's converter reads of an attention.

    Args:
        width: the model's.
        memory: width of what keys and values are made of.
        rows: of queries, keys and values.
    """

    def __init__(self, width: int, memory: int, rows: int):
        super().__init__()
        self.q_proj, self.out_proj = _zeros(width, rows), _zeros(rows, width)
        self.k_proj, self.v_proj = _zeros(memory, rows), _zeros(memory, rows)


def _pad(module: nn.Module, shapes: ModelShape, stack: str, heads: int) -> None:
    """Pad the layers of a *stack* in place: every attention to so many *heads*, FFNs without units to one unit."""
    shape = shapes.get(stack)
    for number, layer in enumerate(module.layers):
        for kind, sizes in shape.sizes.items():
            norm, size = SUBLAYERS[kind].norm, sizes[number]
            if getattr(layer, norm) is None:
                setattr(layer, norm, nn.LayerNorm(shape.embed_dim))
            if kind != "ffn":
                memory = (shapes.encoder if kind == "encoder_attn" else shape).embed_dim
                padded = _Attention(shape.embed_dim, memory, heads * shape.width(kind))
                _copy_heads(getattr(layer, kind), padded, (size or 0) * shape.width(kind))
                setattr(layer, kind, padded)
            elif not size:
                bias = None if size is None else layer.fc2.bias
                layer.fc1, layer.fc2 = _zeros(shape.embed_dim, 1), _zeros(1, shape.embed_dim)
                if bias is not None:
                    layer.fc2.bias.copy_(bias)
        layer.requires_grad_(False)


def _copy_heads(attention: nn.Module | None, padded: _Attention, rows: int) -> None:
    """Copy the *rows* that an *attention* has into the *padded* one's first; None has neither heads nor a bias."""
    if attention is None:
        return
    padded.out_proj.bias.copy_(attention.out_proj.bias)
    if rows:
        padded.out_proj.weight[:, :rows].copy_(attention.out_proj.weight)
        for name in ("q_proj", "k_proj", "v_proj"):
            getattr(padded, name).weight[:rows].copy_(getattr(attention, name).weight)
            getattr(padded, name).bias[:rows].copy_(getattr(attention, name).bias)


def _zeros(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer of zeros."""
    layer = nn.Linear(inputs, outputs)
    layer.weight.zero_()
    layer.bias.zero_()
    return layer


def log_probabilities(model: BaseFairseqModel, sources: list[Tensor] | None, targets: list[Tensor]) -> list[Tensor]:
    """fairseq's log-probabilities of the tokens of each target (length,), given those before it.

    Args:
        model: an encoder-decoder, or a language model.
        sources: source tokens of each sentence, the end mark included; None of a language model.
        targets: target tokens of each sentence, the end mark included.
    """
    found = []
    for number, target in enumerate(targets):
        before = torch.cat([target[-1:], target[:-1]])[None]
        if sources is None:
            logits = model(before)[0]
        else:
            source = sources[number][None]
            logits = model(source, torch.tensor([source.numel()]), before)[0]
        found.append(logits[0].float().log_softmax(-1).gather(1, target[:, None]).squeeze(1))
    return found
