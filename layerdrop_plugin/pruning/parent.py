"""Read what a checkpoint holds: the shape of its model, its vocabularies, its parameters."""

import re

from ..anatomy import SUBLAYERS, kinds_of_stack
from ..checkpoint import place_in_memory
from ..errors import LayerdropError
from .families import Family, family_of
from .plan import ModelShape, StackShape
from .weights import LAYER, layers_of

# What fairseq registers as buffers: a format number and a device probe.
_BUFFERS = {"version", "_float_tensor"}
# Weights of a layer that are as long as the model is wide.
_OF_WIDTH = ("layer_norm.bias", "out_proj.bias", "fc2.bias")
# Output layers may be the embedding itself; files that a tool has rewritten hold it twice.
_MATRIX_OF_WORDS = re.compile(r"(embed_tokens|output_projection|lm_head)\.weight$")


def current_weights(state: dict) -> dict:
    """The weights in *state* under today's names.

    Early models have one ``in_proj`` for queries, keys and values, and early RoBERTas say ``decoder`` and
    ``emb_layer_norm``.
    """
    weights = {}
    for key, value in state["model"].items():
        if ".in_proj_" in key:
            for name, part in zip("qkv", value.chunk(3), strict=True):
                weights[key.replace(".in_proj_", f".{name}_proj.")] = part
        else:
            weights[key] = value
    if family_of(state["cfg"]["model"]).stock != "roberta":
        return weights

    def today(key):
        key = re.sub(r"^decoder\.", "encoder.", key)
        return key.replace(".emb_layer_norm.", ".layernorm_embedding.")

    return {today(key): value for key, value in weights.items()}


def shape_of(state: dict) -> ModelShape:
    """Shape of the model in a checkpoint *state*, as :func:`layerdrop_plugin.checkpoint.read` gives it.

    Raises:
        LayerdropError: a model that cannot be pruned, or weights that are not those of its architecture.
    """
    family, weights = family_of(state["cfg"]["model"]), current_weights(state)
    if not any(key.startswith(family.source) for key in weights):
        raise LayerdropError(f"the checkpoint's weights are not those of a {family.stock}: its embeddings are missing")
    return ModelShape(**{stack: _stack_shape(state, weights, family, stack) for stack in family.stacks})


def _stack_shape(state: dict, weights: dict, family: Family, stack: str) -> StackShape:
    options, numbers = state["cfg"]["model"], layers_of(weights, stack)
    sized = any(options.get(f"{stack}_{kind.size_option}") for kind in SUBLAYERS.values())
    layers = int(options[f"{stack}_layers"]) if sized else len(numbers)  # a layer may have lost all its weights
    if not (layers and numbers <= set(range(layers)) and (sized or len(numbers) == layers)):
        raise LayerdropError(
            f"the checkpoint's weights are not those of a {family.stock}: layers of its {stack} are missing"
        )
    inner = ".sentence_encoder" if family.stock == "roberta" else ""
    ours = {key: value for key, value in weights.items() if LAYER.match(key) and key.startswith(f"{stack}.")}
    width = next((value.shape[0] for key, value in ours.items() if key.endswith(_OF_WIDTH)), None)
    if width is None and not sized:
        raise LayerdropError("the checkpoint's layers have no LayerNorm: they are not Transformer layers")
    width = width or int(options[f"{stack}_embed_dim"])
    heads = int(options.get(f"{stack}_attention_heads") or 12)
    sizes = {}
    for kind in kinds_of_stack(stack):
        names = [f"{stack}{inner}.layers.{layer}.{kind.output}" for layer in range(layers)]
        sizes[kind.name] = tuple(_parts(weights, name, kind.width(width, heads)) for name in names)
    if stack == "decoder" and "decoder_encoder_attn_heads" not in options and not any(sizes["encoder_attn"]):
        del sizes["encoder_attn"]
    units = [size for size in sizes["ffn"] if size is not None]
    whole = int(options.get(f"{stack}_ffn_embed_dim") or 0) if sized else 0
    return StackShape(layers, heads, max([whole, *units]), width, sizes)


def _parts(weights: dict, projection: str, width: int) -> int | None:
    """How many parts of *width* a sublayer's last projection puts together; None if there is none."""
    weight = weights.get(f"{projection}.weight")
    if weight is not None:
        return weight.shape[1] // width
    return 0 if f"{projection}.bias" in weights else None


def vocabulary_size(state: dict, side: str = "source") -> int:
    """Number of symbols that the model in *state* embeds on a *side*, ``source`` or ``target``."""
    begins = getattr(family_of(state["cfg"]["model"]), side)
    tables = re.compile(re.escape(begins) + r"(weight|embeddings\.\d+\.0\.weight)")  # whole, or adaptive in parts
    return sum(value.shape[0] for key, value in current_weights(state).items() if tables.fullmatch(key))


def max_positions(state: dict) -> int | None:
    """Longest input, in tokens, of an encoder with one table of positions; None where that is no part of the shape."""
    name = family_of(state["cfg"]["model"]).positions
    if name is None:
        return None
    positions = current_weights(state).get(name)
    if positions is None:
        return int(state["cfg"]["model"].get("max_positions") or 512)
    return positions.shape[0] - 2  # its first two rows are never used


def learned_weights(state: dict) -> dict:
    """The learned tensors in *state*, each once: no buffers, and no output layer that is the embedding itself."""
    found, places, words = {}, set(), []
    for key, value in current_weights(state).items():
        place = place_in_memory(value)
        if key.rsplit(".", 1)[-1] in _BUFFERS or (place[0] and place in places):
            continue
        if _MATRIX_OF_WORDS.search(key):
            if any(value.shape == other.shape and value.equal(other) for other in words):
                continue
            words.append(value)
        places.add(place)
        found[key] = value
    return found


def count_parameters(state: dict) -> int:
    """Parameters of the model in *state*."""
    return sum(weight.numel() for weight in learned_weights(state).values())
