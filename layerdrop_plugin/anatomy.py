"""The structure of fairseq's Transformers: stacks, kinds of sublayers, their parts, and the names of their weights.

This module imports neither fairseq nor torch.
"""

from dataclasses import dataclass

STACKS = ("encoder", "decoder")
LAYERS = "layers"  # whole layers, used in keys in place of a kind of sublayer


@dataclass(frozen=True)
class Part:
    """A kind of part that sublayers consist of: attention heads or FFN units.

    Attributes:
        name: name in options and in shapes, ``heads`` or ``ffn``.
        one, many: singular and plural in messages, such as ``head`` and ``heads``.
        whole_option: fairseq's option, after the stack's name, for the number of parts of a whole sublayer.
    """

    name: str
    one: str
    many: str
    whole_option: str


HEADS = Part("heads", "head", "heads", "attention_heads")
FFN_UNITS = Part("ffn", "unit", "FFN units", "ffn_embed_dim")
PARTS = {part.name: part for part in (HEADS, FFN_UNITS)}


@dataclass(frozen=True)
class SublayerKind:
    """A kind of sublayer.

    Attributes:
        name: ``self_attn``, ``encoder_attn`` or ``ffn``.
        part: the kind of part that it consists of.
        stacks: the stacks whose layers have it.
        weights: prefixes of the names of its weights within a layer.
        norm: name of its LayerNorm.
        inputs: names of the projections whose rows belong to parts.
        output: name of the projection whose columns belong to parts.
        size_option: this plugin's option, after the stack's name, for the number of parts of each layer.
    """

    name: str
    part: Part
    stacks: tuple[str, ...]
    weights: tuple[str, ...]
    norm: str
    inputs: tuple[str, ...]
    output: str
    size_option: str

    def begins(self, weight: str) -> bool:
        """Whether the weight called *weight* within its layer belongs to this sublayer or its LayerNorm."""
        return f"{weight}.".startswith(tuple(f"{name}." for name in (*self.weights, self.norm)))

    def dimension(self, weight: str) -> int | None:
        """The dimension of the weight called *weight* within its layer along which parts lie; None if there is none."""
        projection, _, name = weight.rpartition(".")
        if projection in self.inputs and name in ("weight", "bias"):
            return 0
        return 1 if weight == f"{self.output}.weight" else None

    def width(self, embed_dim: int, heads: int) -> int:
        """Size of a part along :meth:`dimension`, in a model of width *embed_dim* with *heads* in a whole layer."""
        return embed_dim // heads if self.part is HEADS else 1


def _attention(name: str, stacks: tuple[str, ...], *others: str) -> SublayerKind:
    return SublayerKind(
        name=name,
        part=HEADS,
        stacks=stacks,
        weights=(name, *others),
        norm=f"{name}_layer_norm",
        inputs=tuple(f"{name}.{letter}_proj" for letter in "qkv"),
        output=f"{name}.out_proj",
        size_option=f"{name}_heads",
    )


SUBLAYERS = {  # in the order in which a layer runs them
    kind.name: kind
    for kind in (
        _attention("self_attn", STACKS, "attn_ln", "c_attn"),
        _attention("encoder_attn", ("decoder",)),
        SublayerKind(
            name="ffn",
            part=FFN_UNITS,
            stacks=STACKS,
            weights=("fc1", "fc2", "ffn_layernorm", "w_resid"),
            norm="final_layer_norm",
            inputs=("fc1",),
            output="fc2",
            size_option="ffn_units",
        ),
    )
}
KINDS = tuple(SUBLAYERS)
# Keys of scores, such as ``decoder.self_attn``, in the order in which parts with equal scores are removed.
KEYS = (
    *(f"{stack}.{kind.name}" for kind in SUBLAYERS.values() for stack in kind.stacks),
    *(f"{stack}.{LAYERS}" for stack in STACKS),
)


def kinds_of_stack(stack: str) -> tuple[SublayerKind, ...]:
    """The kinds of sublayers that the layers of a *stack* may have."""
    return tuple(kind for kind in SUBLAYERS.values() if stack in kind.stacks)


def kinds_of_part(part: Part) -> tuple[str, ...]:
    """Names of the kinds of sublayers that consist of *part*."""
    return tuple(kind.name for kind in SUBLAYERS.values() if kind.part is part)
