"""Valid types and ranges of the model options in a checkpoint, by name.

The types are those of fairseq's dataclasses and parsers, which take seconds to import; a test compares them.
"""

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..anatomy import STACKS, kinds_of_stack
from ..checkpoint import plain
from ..errors import LayerdropError
from ..modules.drop_rates import SCHEDULES
from ..safe_reading.literals import literal
from ..safe_reading.references import MISSING
from .families import FAMILIES, OURS, architecture_of, model_named
from .weights import LAYER, layers_of

_LARGEST = 1 << 24
_LONGEST_INPUT = 1 << 22
_MOST_BYTES_OF_POSITIONS = 1 << 30  # of a table that is computed, not learned
ACTIVATIONS = ("relu", "relu_squared", "gelu", "gelu_fast", "gelu_accurate", "tanh", "linear", "swish")
Check = Callable[[Any], bool]


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def _integer(value: Any) -> bool:
    return type(value) is int and -1 <= value < 1 << 63


def _length(value: Any) -> bool:
    return type(value) is int and 0 < value <= _LONGEST_INPUT


def _flag(value: Any) -> bool:
    return isinstance(value, bool) or (type(value) is int and value in (0, 1))


def _rate(value: Any) -> bool:
    return _number(value) and 0 <= value <= 1


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= _LARGEST


def _activation(value: Any) -> bool:
    return value in ACTIVATIONS if isinstance(value, str) else False


def _schedule(value: Any) -> bool:
    return isinstance(value, str) and value in SCHEDULES


def _fingerprint(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}|", value) is not None


def _numbers(value: Any) -> bool:
    """A list of whole numbers, or one in a string; a list of numbers between commas is one too."""
    value = _parsed(f"[{value}]" if isinstance(value, str) and "[" not in value and "(" not in value else value)
    value = [value] if type(value) is int else value
    return isinstance(value, (list, tuple)) and all(map(_whole, value))


def _filters(value: Any) -> bool:
    value = _parsed(value)
    return isinstance(value, (list, tuple)) and all(isinstance(row, (list, tuple)) and _numbers(row) for row in value)


def _settings(value: Any) -> bool:
    value = _parsed(value)
    return value is None or (isinstance(value, dict) and all(isinstance(key, str) for key in value))


def _sizes(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"([0-9]{1,8}|-|[, ])*", value) is not None


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return literal(value)
    except LayerdropError:
        return ...


# (what a value must be, its check, names of options), for options of the model and, without its prefix, of a stack.
_OF_MODEL: tuple[tuple[str, Check, tuple[str, ...]], ...] = (
    (
        "a whole number",
        _whole,
        (
            *("character_embedding_dim", "char_embedder_highway_layers", "alignment_layer", "alignment_heads"),
            *("quant_noise_pq_block_size", "layerdrop_warmup_updates", "base_layers", "base_sublayers"),
            "segment_embeddings",
        ),
    ),
    ("a whole number, or -1", _integer, ("min_params_to_wrap", "mha_heads_to_keep", "ffn_blocks_to_remove")),
    (
        "a length from 1",
        _length,
        ("max_positions", "max_source_positions", "max_target_positions", "tokens_per_sample"),
    ),
    (
        "a number",
        _number,
        (
            *("adaptive_input_factor", "adaptive_softmax_factor", "layernorm_eps"),
            *("mha_reg_scale_factor", "ffn_reg_scale_factor", "learn_layerdrop_lr"),
        ),
    ),
    (
        "a rate from 0 to 1",
        _rate,
        (
            *("dropout", "attention_dropout", "activation_dropout", "relu_dropout", "pooler_dropout"),
            *("adaptive_softmax_dropout", "quant_noise_pq", "quant_noise_scalar"),
        ),
    ),
    (
        "true or false",
        _flag,
        (
            *("layernorm_embedding", "no_scale_embedding", "no_token_positional_embeddings", "adaptive_input"),
            *("share_decoder_input_output_embed", "no_decoder_final_norm", "tie_adaptive_weights", "tie_adaptive_proj"),
            *("scale_fc", "scale_attn", "scale_heads", "scale_resids", "share_all_embeddings", "merge_src_tgt_embed"),
            *("cross_self_attention", "no_cross_attention", "untie_weights_roberta", "full_context_alignment"),
            *("spectral_norm_classification_head", "character_embeddings", "char_inputs", "base_shuffle"),
            *("checkpoint_activations", "offload_activations", "load_checkpoint_heads", "export"),
            "learn_layerdrop",
        ),
    ),
    ("a list of whole numbers", _numbers, ("adaptive_input_cutoff", "adaptive_softmax_cutoff")),
    ("a list of pairs of whole numbers", _filters, ("character_filters",)),
    (f"one of {', '.join(ACTIVATIONS)}", _activation, ("activation_fn", "pooler_activation_fn")),
    ("a SHA-256", _fingerprint, ("dictionary_sha256", "target_dictionary_sha256")),
)
_OF_STACK: tuple[tuple[str, Check, tuple[str, ...]], ...] = (
    (
        "a whole number",
        _whole,
        (
            *("layers", "embed_dim", "ffn_embed_dim", "attention_heads", "input_dim", "output_dim"),
            "ffndrop_chunks",
        ),
    ),
    ("a rate from 0 to 1", _rate, ("layerdrop", "headdrop", "ffndrop", "sublayerdrop")),
    ("true or false", _flag, ("normalize_before", "learned_pos")),
    ("a list of whole numbers", _numbers, ("layers_to_keep",)),
    ("settings by name, a dictionary", _settings, ("xformers_att_config",)),
    (f"one of {', '.join(SCHEDULES)}", _schedule, ("layerdrop_schedule",)),
)
KNOWN: dict[str, tuple[str, Check]] = {name: (what, check) for what, check, names in _OF_MODEL for name in names}
for stack in STACKS:
    KNOWN |= {f"{stack}_{name}": (what, check) for what, check, names in _OF_STACK for name in names}
    KNOWN |= {f"{stack}_{kind.size_option}": ("sizes between commas", _sizes) for kind in kinds_of_stack(stack)}


def check_state(state: Any) -> None:
    """Check the options of a checkpoint's model, if it is of a known family, and compare its depth with its weights.

    Args:
        state: the checkpoint, in today's format; its configuration may be plain or OmegaConf's.

    Raises:
        LayerdropError: an option has an invalid value, or the weights have another number of layers.
    """
    cfg = state.get("cfg") if isinstance(state, dict) else None
    model = cfg.get("model") if cfg else None
    if model is None:
        return
    options = plain(model)  # of OmegaConf's too, some of whose values may be missing
    name = model_named(str(architecture_of(options))) or _registered(str(architecture_of(options)))
    family = FAMILIES.get(OURS.sub("", name))
    if family:
        check_options(options, family.stacks)
        check_depth(options, state["model"], family.stacks)
        _check_floating(state["model"])


def _registered(arch: str) -> str:
    """The model of the architecture *arch*; *arch* itself if fairseq, which knows, was not imported."""
    models = sys.modules.get("fairseq.models")
    return models.ARCH_MODEL_NAME_REGISTRY.get(arch, arch) if models else arch


def _check_floating(weights: Mapping) -> None:
    """Raise LayerdropError if a matrix or bias of a layer has whole numbers, as product quantisation's indices have."""
    for name, value in weights.items():
        if LAYER.match(name) and name.endswith((".weight", ".bias")) and not value.is_floating_point():
            raise LayerdropError(f"its weight {name} has numbers of the type {value.dtype}, not floating")


def check_options(options: Mapping, stacks: Sequence[str] = STACKS) -> None:
    """Raise LayerdropError unless each of the *options* of a model of these *stacks* has a valid type and range."""
    for name, value in options.items():
        if name not in KNOWN or value is None or (isinstance(value, str) and value == MISSING):
            continue
        what, check = KNOWN[name]
        if not check(value):
            raise LayerdropError(f"its option {name} is {str(value)[:60]!r}: it must be {what}")
    known = {name: None if value == MISSING else value for name, value in options.items() if name in KNOWN}
    for stack in stacks:
        _check_table(known, stack)
        width, heads = known.get(f"{stack}_embed_dim"), known.get(f"{stack}_attention_heads")
        if width and heads is not None and (heads < 1 or width % heads):
            raise LayerdropError(f"its {stack}_embed_dim of {width} is no multiple of {heads} heads")


def _check_table(options: Mapping, stack: str) -> None:
    """Limit the tables of computed positions, whose size no weight in the file confirms."""
    side = "source" if stack == "encoder" else "target"
    longest = max((options.get(name) or 0 for name in ("max_positions", f"max_{side}_positions")), default=0)
    width = options.get(f"{stack}_embed_dim") or 0
    if not options.get(f"{stack}_learned_pos") and 4 * longest * width > _MOST_BYTES_OF_POSITIONS:
        raise LayerdropError(f"its positions, {longest} of width {width}, would take more than 1 GiB")


def check_depth(options: Mapping, weights: Mapping, stacks: Sequence[str] = STACKS) -> None:
    """Raise LayerdropError unless each stack has as many layers as the *weights*, or the sizes in *options*, say."""
    for stack in stacks:
        said = options.get(f"{stack}_layers")
        numbers = layers_of(weights, stack)
        if not isinstance(said, int) or not (numbers or any(name.startswith(f"{stack}.") for name in weights)):
            continue
        if options.get(f"{stack}_layers_to_keep"):
            continue
        rows = [options.get(f"{stack}_{kind.size_option}") for kind in kinds_of_stack(stack)]
        sized = {row.count(",") + 1 for row in rows if row}
        if sized and sized != {said}:
            raise LayerdropError(f"its {stack}_layers is {said}, but its sizes are those of {max(sized)} layers")
        more = options.get("base_layers") or 0 if stack == "decoder" else 0  # fairseq puts them between the others
        if not sized and len(numbers) != said + more:
            base = f" and its base_layers {more}" if more else ""
            raise LayerdropError(
                f"its {stack}_layers is {said}{base}, but it has weights of {len(numbers)} {stack} layers"
            )
