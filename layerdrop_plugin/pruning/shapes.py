"""Read what a checkpoint holds: the shape of its model, the options that go with its weights, its parameters."""

import re

from ..errors import LayerdropError
from .plan import ModelShape, StackShape

# Our model -> the stock one that a child of whole layers is, weight by weight.
STOCK_MODELS = {"layerdrop_roberta": "roberta", "roberta": "roberta"}

# Options of a RoBERTa's configuration that its weights depend on or that change what they compute: a child takes
# them from its parent, all others (dropout, learning rate, ...) from the run.
SHAPE_OPTIONS = (
    "encoder_layers",
    "encoder_embed_dim",
    "encoder_ffn_embed_dim",
    "encoder_attention_heads",
    "encoder_normalize_before",
    "encoder_learned_pos",
    "activation_fn",
    "pooler_activation_fn",
    "layernorm_embedding",
    "no_scale_embedding",
    "no_token_positional_embeddings",
    "untie_weights_roberta",
    "max_positions",
    "max_source_positions",
    "spectral_norm_classification_head",
    "dictionary_sha256",
)

LAYER = re.compile(r"^(?P<stack>encoder|decoder)(?P<inner>\.sentence_encoder)?\.layers\.(?P<number>\d+)\.(?P<rest>.*)$")
_EMBEDDING = "encoder.sentence_encoder.embed_tokens.weight"
_LM_HEAD = "encoder.lm_head.weight"
# What fairseq registers as buffers: a format number and a device probe.
_BUFFERS = {"version", "_float_tensor"}
_POSITIONS = "encoder.sentence_encoder.embed_positions.weight"


def model_family(cfg_model: dict) -> str:
    """The registered model that a checkpoint's ``cfg.model`` belongs to, whatever its architecture's name.

    Raises:
        LayerdropError: a model that cannot be pruned, or an architecture that nobody registered.
    """
    from fairseq.models import ARCH_MODEL_NAME_REGISTRY

    arch = cfg_model.get("_name") or cfg_model.get("arch")
    family = ARCH_MODEL_NAME_REGISTRY.get(arch, arch)
    if family not in STOCK_MODELS:
        raise LayerdropError(
            f"the architecture {arch!r} cannot be pruned: the parent must be one of {', '.join(sorted(STOCK_MODELS))}"
        )
    return family


def upgrade_roberta_keys(weights: dict) -> dict:
    """Weights of RoBERTa checkpoints under today's names (early ones say ``decoder`` and ``emb_layer_norm``)."""

    def today(key):
        key = re.sub(r"^decoder\.", "encoder.", key)
        return key.replace(".emb_layer_norm.", ".layernorm_embedding.")

    return {today(key): value for key, value in weights.items()}


def shape_of(state: dict) -> ModelShape:
    """Shape of the model in a checkpoint *state*, as :func:`layerdrop_plugin.checkpoint.read` gives it.

    Raises:
        LayerdropError: another kind of model, or weights that the configuration does not describe.
    """
    model_family(state["cfg"]["model"])
    weights, options = upgrade_roberta_keys(state["model"]), state["cfg"]["model"]
    numbers = {int(match["number"]) for match in map(LAYER.match, weights) if match}
    if numbers != set(range(len(numbers))) or not numbers or _EMBEDDING not in weights:
        raise LayerdropError(
            "the checkpoint's weights are not those of a RoBERTa: its layers or embeddings are missing"
        )
    first_fc = weights.get("encoder.sentence_encoder.layers.0.fc1.weight")
    if first_fc is None:
        raise LayerdropError("the checkpoint's layers have no fc1.weight: they are not Transformer layers")
    return ModelShape(
        encoder=StackShape(
            layers=len(numbers),
            heads=int(options.get("encoder_attention_heads") or 12),
            ffn=first_fc.shape[0],
            embed_dim=weights[_EMBEDDING].shape[1],
        )
    )


def vocabulary_size(state: dict) -> int:
    """Number of symbols that the model in *state* embeds."""
    return upgrade_roberta_keys(state["model"])[_EMBEDDING].shape[0]


def max_positions(state: dict) -> int:
    """Longest input, in tokens, of the model in *state*: rows of its position table less the two unused ones."""
    positions = upgrade_roberta_keys(state["model"]).get(_POSITIONS)
    if positions is None:
        return int(state["cfg"]["model"].get("max_positions") or 512)
    return positions.shape[0] - 2


def learned_weights(state: dict) -> dict:
    """The learned tensors in *state*, each once: no buffers, and no LM head's weight that is the embedding's own."""
    weights = {
        key: value
        for key, value in upgrade_roberta_keys(state["model"]).items()
        if key.rsplit(".", 1)[-1] not in _BUFFERS
    }
    head = weights.get(_LM_HEAD)
    if head is not None and head.equal(weights[_EMBEDDING]):
        del weights[_LM_HEAD]
    return weights


def count_parameters(state: dict) -> int:
    """Parameters of the model in *state*."""
    return sum(weight.numel() for weight in learned_weights(state).values())
