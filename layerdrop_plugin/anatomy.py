"""What a Transformer is made of here: stacks, the kinds of sublayers of their layers, and what those are made of.

Names of weights and options are fairseq's. This module imports neither fairseq nor torch.
"""

from dataclasses import dataclass

STACKS = ("encoder", "decoder")
LAYERS = "layers"  # beside the kinds of sublayers: a stack's whole layers


@dataclass(frozen=True)
class Part:
    """What a sublayer consists of, and what a rule removes.

    Attributes:
        name: in options, and as an attribute of a stack's shape: ``heads`` or ``ffn``.
        one, many: in messages, such as ``head`` and ``heads``.
        whole_option: behind the stack's name, the option that says how many a whole sublayer has.
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
        part: what it consists of.
        stacks: the stacks whose layers have it.
        weights: what the names of its weights begin with, behind their layer's.
        norm: name of its LayerNorm.
        inputs: projections whose rows belong to parts.
        output: projection whose columns belong to parts; it puts them together.
        size_option: behind the stack's name, our option that says how many parts each layer has.
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
        """Whether *weight*, a name behind its layer's, goes away with this sublayer, LayerNorm included."""
        return f"{weight}.".startswith(tuple(f"{name}." for name in (*self.weights, self.norm)))

    def dimension(self, weight: str) -> int | None:
        """The dimension of *weight* (a name behind its layer's) along which parts lie; None if there is none."""
        projection, _, name = weight.rpartition(".")
        if projection in self.inputs and name in ("weight", "bias"):
            return 0
        return 1 if weight == f"{self.output}.weight" else None

    def width(self, embed_dim: int, heads: int) -> int:
        """Length of a part along that dimension, in a model of width *embed_dim* whose whole layers have *heads*."""
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
# What scores are of, such as ``decoder.self_attn``, in the order in which parts with equal scores are removed.
KEYS = (
    *(f"{stack}.{kind.name}" for kind in SUBLAYERS.values() for stack in kind.stacks),
    *(f"{stack}.{LAYERS}" for stack in STACKS),
)


def kinds_of_stack(stack: str) -> tuple[SublayerKind, ...]:
    """The kinds of sublayers that the layers of a *stack* may have."""
    return tuple(kind for kind in SUBLAYERS.values() if stack in kind.stacks)


def kinds_of_part(part: Part) -> tuple[str, ...]:
    """Names of the kinds of sublayers that consist of such parts."""
    return tuple(kind.name for kind in SUBLAYERS.values() if kind.part is part)
