"""Valid types and ranges of the model options in a checkpoint, by name.

The types are those of fairseq's dataclasses and parsers, which take seconds to import; a test compares them.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..anatomy import STACKS, kinds_of_stack
from ..checkpoint import plain
from ..errors import LayerdropError
from ..modules.drop_rates import SCHEDULES
from ..safe_reading.literals import literal
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


_OF_STACK: dict[str, tuple[str, Check]] = {
    "layers": ("a whole number", _whole),
    "embed_dim": ("a whole number", _whole),
    "ffn_embed_dim": ("a whole number", _whole),
    "attention_heads": ("a whole number", _whole),
    "input_dim": ("a whole number", _whole),
    "output_dim": ("a whole number", _whole),
    "normalize_before": ("true or false", _flag),
    "learned_pos": ("true or false", _flag),
    "layers_to_keep": ("a list of whole numbers", _numbers),
    "xformers_att_config": ("settings by name, a dictionary", _settings),
    "ffndrop_chunks": ("a whole number", _whole),
    "layerdrop_schedule": (f"one of {', '.join(SCHEDULES)}", _schedule),
    **dict.fromkeys(("layerdrop", "headdrop", "ffndrop", "sublayerdrop"), ("a rate from 0 to 1", _rate)),
}
_COMMON: dict[str, tuple[str, Check]] = {
    "activation_fn": (f"one of {', '.join(ACTIVATIONS)}", _activation),
    "pooler_activation_fn": (f"one of {', '.join(ACTIVATIONS)}", _activation),
    **dict.fromkeys(("dictionary_sha256", "target_dictionary_sha256"), ("a SHA-256", _fingerprint)),
    **dict.fromkeys(
        (
            "max_positions",
            "max_source_positions",
            "max_target_positions",
            "tokens_per_sample",
        ),
        ("a length from 1", _length),
    ),
    **dict.fromkeys(("adaptive_input_cutoff", "adaptive_softmax_cutoff"), ("a list of whole numbers", _numbers)),
    "character_filters": ("a list of pairs of whole numbers", _filters),
    **dict.fromkeys(
        (
            "character_embedding_dim",
            "char_embedder_highway_layers",
            "alignment_layer",
            "alignment_heads",
            "quant_noise_pq_block_size",
            "layerdrop_warmup_updates",
            "base_layers",
            "base_sublayers",
            "base_shuffle",
            "segment_embeddings",
        ),
        ("a whole number", _whole),
    ),
    **dict.fromkeys(
        ("min_params_to_wrap", "mha_heads_to_keep", "ffn_blocks_to_remove"), ("a whole number, or -1", _integer)
    ),
    **dict.fromkeys(
        (
            "adaptive_input_factor",
            "adaptive_softmax_factor",
            "layernorm_eps",
            "mha_reg_scale_factor",
            "ffn_reg_scale_factor",
        ),
        ("a number", _number),
    ),
    **dict.fromkeys(
        (
            "dropout",
            "attention_dropout",
            "activation_dropout",
            "relu_dropout",
            "pooler_dropout",
            "adaptive_softmax_dropout",
            "quant_noise_pq",
            "quant_noise_scalar",
        ),
        ("a rate from 0 to 1", _rate),
    ),
    **dict.fromkeys(
        (
            "layernorm_embedding",
            "no_scale_embedding",
            "no_token_positional_embeddings",
            "adaptive_input",
            "share_decoder_input_output_embed",
            "no_decoder_final_norm",
            "tie_adaptive_weights",
            "tie_adaptive_proj",
            "scale_fc",
            "scale_attn",
            "scale_heads",
            "scale_resids",
            "share_all_embeddings",
            "merge_src_tgt_embed",
            "cross_self_attention",
            "no_cross_attention",
            "untie_weights_roberta",
            "full_context_alignment",
            "spectral_norm_classification_head",
            "character_embeddings",
            "checkpoint_activations",
            "char_inputs",
            "offload_activations",
            "load_checkpoint_heads",
            "export",
        ),
        ("true or false", _flag),
    ),
}
KNOWN: dict[str, tuple[str, Check]] = _COMMON | {
    f"{stack}_{name}": check for stack in STACKS for name, check in _OF_STACK.items()
}
KNOWN |= {
    f"{stack}_{kind.size_option}": ("sizes between commas", _sizes)
    for stack in STACKS
    for kind in kinds_of_stack(stack)
}


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
    options = plain(model)  # of OmegaConf's too, some of whose values may be missing ("???")
    name = model_named(str(architecture_of(options))) or _registered(str(architecture_of(options)))
    if OURS.sub("", name) in FAMILIES:
        whole = next(
            (key for key, value in state["model"].items() if LAYER.match(key) and not value.is_floating_point()), None
        )
        if whole is not None:
            raise LayerdropError(
                f"its weight {whole} has numbers of the type {state['model'][whole].dtype}, not floating"
            )
        check_options(options)
        check_depth(options, state["model"])


def _registered(arch: str) -> str:
    import sys

    models = sys.modules.get("fairseq.models")
    return models.ARCH_MODEL_NAME_REGISTRY.get(arch, arch) if models else arch


def check_options(options: Mapping) -> None:
    """Raise LayerdropError unless each of the *options* of a model of a known family has a valid type and range."""
    for name, value in options.items():
        if name not in KNOWN or value is None:
            continue
        what, check = KNOWN[name]
        if not check(value):
            raise LayerdropError(f"its option {name} is {str(value)[:60]!r}: it must be {what}")
    for stack in STACKS:
        _check_table(options, stack)
        width, heads = options.get(f"{stack}_embed_dim"), options.get(f"{stack}_attention_heads")
        if width and heads is not None and (heads < 1 or width % heads):
            raise LayerdropError(f"its {stack}_embed_dim of {width} is no multiple of {heads} heads")


def _check_table(options: Mapping, stack: str) -> None:
    """Limit the tables of computed positions, whose size no weight in the file confirms."""
    side = "source" if stack == "encoder" else "target"
    longest = max((options.get(name) or 0 for name in ("max_positions", f"max_{side}_positions")), default=0)
    width = options.get(f"{stack}_embed_dim") or 0
    if not options.get(f"{stack}_learned_pos") and 4 * longest * width > _MOST_BYTES_OF_POSITIONS:
        raise LayerdropError(f"its positions, {longest} of width {width}, would take more than 1 GiB")


def check_depth(options: Mapping, weights: Mapping) -> None:
    """Raise LayerdropError unless each stack has as many layers as the *weights*, or the sizes in *options*, say."""
    for stack in STACKS:
        said = options.get(f"{stack}_layers")
        numbers = layers_of(weights, stack)
        if said is None or not (numbers or any(name.startswith(f"{stack}.") for name in weights)):
            continue
        kept = options.get(f"{stack}_layers_to_keep")
        rows = [options.get(f"{stack}_{kind.size_option}") for kind in kinds_of_stack(stack)]
        sized = [row.count(",") + 1 for row in rows if row]
        if sized and not kept and set(sized) != {said}:
            raise LayerdropError(f"its {stack}_layers is {said}, but its sizes are those of {sized[0]} layers")
        if not sized and not kept and len(numbers) != said:
            raise LayerdropError(f"its {stack}_layers is {said}, but it has weights of {len(numbers)} {stack} layers")
