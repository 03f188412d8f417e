"""The kinds of model that can be pruned: their stacks, their embeddings, and the options that shape their weights."""

import re
from argparse import Namespace
from dataclasses import dataclass

from ..anatomy import STACKS
from ..errors import LayerdropError

# Options that change the computation of any Transformer with given weights: a child takes them from its parent.
_COMMON = (
    "activation_fn",
    "layernorm_embedding",
    "no_scale_embedding",
    "no_token_positional_embeddings",
    "dictionary_sha256",
)
_OF_STACK = ("layers", "embed_dim", "ffn_embed_dim", "attention_heads", "normalize_before", "learned_pos")
_OF_OUTPUT = (
    "decoder_input_dim",
    "decoder_output_dim",
    "share_decoder_input_output_embed",
    "no_decoder_final_norm",
    "adaptive_input",
    "adaptive_input_cutoff",
    "adaptive_input_factor",
    "adaptive_softmax_cutoff",
    "adaptive_softmax_factor",
    "tie_adaptive_weights",
    "tie_adaptive_proj",
    "scale_fc",
    "scale_attn",
    "scale_heads",
    "scale_resids",
)


def _of(*stacks: str) -> tuple[str, ...]:
    return tuple(f"{stack}_{option}" for stack in stacks for option in _OF_STACK)


@dataclass(frozen=True)
class Family:
    """A model of fairseq that can be pruned.

    Attributes:
        stock: its registered name in fairseq.
        stacks: names of its stacks.
        source, target: prefixes of the names of its source and target embeddings; equal if there is one vocabulary.
        positions: name of the weight with its learned positions; None if positions are not part of its shape.
        options: options that shape its weights or change what they compute. All others (dropout, learning rate, ...)
            belong to the run and are not taken from the parent.
        ours: those of them that only our model of the family has; with a value, they make it differ from fairseq's.
        beside: (option, value) pairs that a child's configuration must have in addition.
        arch: the architecture that a child's configuration names; None if it is called as the model. All options that
            it would set are in the child's configuration.
        as_namespace: whether fairseq's model finds its options in an ``argparse.Namespace`` only, not in a dict.
        sheds_mask: whether fairseq, on loading for data whose dictionary lacks ``<mask>``, leaves out the last row of
            the embeddings, which is that symbol's.
    """

    stock: str
    stacks: tuple[str, ...]
    source: str
    target: str
    options: tuple[str, ...]
    positions: str | None = None
    ours: tuple[str, ...] = ()
    beside: tuple[tuple[str, object], ...] = ()
    arch: str | None = None
    as_namespace: bool = False
    sheds_mask: bool = False

    @property
    def architecture(self) -> str:
        """Name of a stock architecture of the family, as a child's configuration has it."""
        return self.arch or self.stock

    def is_stock(self, options: dict) -> bool:
        """Whether the stock model computes what our model of the family with these *options* does, its layers alike."""
        return not any(options.get(name) for name in self.ours)

    @property
    def one_vocabulary(self) -> bool:
        """Whether there is one vocabulary, not one of the source and one of the target."""
        return self.source == self.target


_TRANSFORMER_OPTIONS = (
    *_of(*STACKS),
    *_COMMON,
    *_OF_OUTPUT,
    "target_dictionary_sha256",
    "share_all_embeddings",
    "merge_src_tgt_embed",
    "cross_self_attention",
    "no_cross_attention",
    "max_source_positions",
    "max_target_positions",
)
_EMBEDDINGS = {"source": "encoder.embed_tokens.", "target": "decoder.embed_tokens."}

FAMILIES = {
    family.stock: family
    for family in (
        Family(
            stock="roberta",
            stacks=("encoder",),
            source="encoder.sentence_encoder.embed_tokens.",
            target="encoder.sentence_encoder.embed_tokens.",
            positions="encoder.sentence_encoder.embed_positions.weight",
            options=(
                *_of("encoder"),
                *_COMMON,
                "pooler_activation_fn",
                "untie_weights_roberta",
                "max_positions",
                "max_source_positions",
                "spectral_norm_classification_head",
                "layernorm_eps",
                "segment_embeddings",
            ),
            ours=("layernorm_eps", "segment_embeddings"),
            beside=(("load_checkpoint_heads", False),),  # from_pretrained overrides it, so it must exist
        ),
        Family(stock="transformer", stacks=STACKS, options=_TRANSFORMER_OPTIONS, **_EMBEDDINGS),
        Family(
            stock="bart",
            stacks=STACKS,
            options=(*_TRANSFORMER_OPTIONS, "pooler_activation_fn", "spectral_norm_classification_head"),
            beside=(("load_checkpoint_heads", False),),  # as RoBERTa's
            arch="bart_large",
            as_namespace=True,
            sheds_mask=True,
            **_EMBEDDINGS,
        ),
        Family(
            stock="transformer_align",
            stacks=STACKS,
            options=(*_TRANSFORMER_OPTIONS, "alignment_layer", "alignment_heads", "full_context_alignment"),
            **_EMBEDDINGS,
        ),
        Family(
            stock="transformer_lm",
            stacks=("decoder",),
            source="decoder.embed_tokens.",
            target="decoder.embed_tokens.",
            options=(
                *_of("decoder"),
                *_COMMON,
                *_OF_OUTPUT,
                "character_embeddings",
                "character_filters",
                "character_embedding_dim",
                "char_embedder_highway_layers",
                "max_target_positions",
            ),
        ),
    )
}
_ARCHITECTURES = {name: family.stock for family in FAMILIES.values() for name in (family.stock, family.architecture)}
OURS = re.compile(r"^layerdrop_")  # prefix of the names of our models, before that of the stock model


def architecture_of(cfg_model: dict) -> str | None:
    """The value of ``--arch`` in *cfg_model*, a checkpoint's ``cfg.model``."""
    return cfg_model.get("_name") or cfg_model.get("arch")


def model_named(arch: str) -> str | None:
    """The model of *arch* if it can be told from the name alone, without fairseq's registry; None otherwise."""
    if arch in _ARCHITECTURES:
        return _ARCHITECTURES[arch]
    found = [stock for stock in FAMILIES if f"{arch}_".startswith(f"layerdrop_{stock}_")]
    return f"layerdrop_{max(found, key=len)}" if found else None


def registered_model(cfg_model: dict) -> str:
    """The name of the registered model of the architecture in *cfg_model*, a checkpoint's ``cfg.model``."""
    arch = str(architecture_of(cfg_model))
    model = model_named(arch)
    if model is not None:
        return model

    from .. import register

    register()
    from fairseq.models import ARCH_MODEL_NAME_REGISTRY

    return ARCH_MODEL_NAME_REGISTRY.get(arch, arch)


def family_of(cfg_model: dict) -> Family:
    """The family of the model in a checkpoint's ``cfg.model``.

    Raises:
        LayerdropError: models of this architecture cannot be pruned.
    """
    name = registered_model(cfg_model)
    stock = OURS.sub("", str(name))
    if stock not in FAMILIES:
        raise LayerdropError(
            f"the architecture {architecture_of(cfg_model)!r} cannot be pruned: the parent must be one of"
            f" {', '.join(sorted(FAMILIES))} or our architecture of one of them"
        )
    return FAMILIES[stock]


def as_saved(cfg: dict) -> dict:
    """A checkpoint's configuration *cfg* (plain) with the model's options in the container that fairseq needs.

    fairseq builds such a checkpoint's model from a ``Namespace`` only (``Family.as_namespace``). Without this plugin,
    PyTorch 2.6 and later refuses to load any ``Namespace`` unless TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 is set.
    """
    name = model_named(str(architecture_of(cfg["model"])))
    if name in FAMILIES and FAMILIES[name].as_namespace:
        return cfg | {"model": Namespace(**cfg["model"])}
    return cfg
