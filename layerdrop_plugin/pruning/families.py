"""The kinds of model that can be pruned: their stacks, their embeddings, and the options that shape their weights."""

import re
from dataclasses import dataclass

from ..anatomy import STACKS
from ..errors import LayerdropError

# Options of any Transformer that change what its weights compute: a child takes them from its parent.
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
    """A stock model of fairseq's that whole layers can be taken out of.

    Attributes:
        stock: its registered name, which a child has too.
        stacks: its stacks.
        source, target: how the names of its embeddings begin, per side (the same one where there is one vocabulary).
        positions: name of its table of learned positions, or None where positions are not part of its shape.
        options: options that its weights depend on or that change what they compute; all others (dropout, learning
            rate, ...) are the run's.
        beside: options that a child's configuration must have although nothing set them.
    """

    stock: str
    stacks: tuple[str, ...]
    source: str
    target: str
    options: tuple[str, ...]
    positions: str | None = None
    beside: tuple[tuple[str, object], ...] = ()


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
            ),
            beside=(("load_checkpoint_heads", False),),  # from_pretrained overrides it, so it has to be there
        ),
        Family(stock="transformer", stacks=STACKS, options=_TRANSFORMER_OPTIONS, **_EMBEDDINGS),
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
OURS = re.compile(r"^layerdrop_")  # our model of a family is called like the stock one behind this


def architecture_of(cfg_model: dict) -> str | None:
    """What ``--arch`` named, of a checkpoint's ``cfg.model``."""
    return cfg_model.get("_name") or cfg_model.get("arch")


def model_named(arch: str) -> str | None:
    """The model of an architecture whose name says it without fairseq's registry: a model's own, or one of ours."""
    if arch in FAMILIES:
        return arch
    found = [stock for stock in FAMILIES if f"{arch}_".startswith(f"layerdrop_{stock}_")]
    return f"layerdrop_{max(found, key=len)}" if found else None


def registered_model(cfg_model: dict) -> str:
    """The registered model that a checkpoint's ``cfg.model`` belongs to, whatever its architecture's name."""
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
        LayerdropError: a model that cannot be pruned.
    """
    name = registered_model(cfg_model)
    stock = OURS.sub("", str(name))
    if stock not in FAMILIES:
        raise LayerdropError(
            f"the architecture {architecture_of(cfg_model)!r} cannot be pruned: the parent must be one of"
            f" {', '.join(sorted(FAMILIES))} or our architecture of one of them"
        )
    return FAMILIES[stock]
