"""A checkpoint whose model can be pruned, read once: its weights, family, shape, vocabularies and parameters."""

import os
import re
from functools import cached_property

from torch import Tensor

from .. import checkpoint
from ..anatomy import kinds_of_stack
from ..errors import LayerdropError, first_line
from .families import FAMILIES, Family, architecture_of, family_of, registered_model
from .scores import fingerprint
from .shape import ModelShape, StackShape
from .weights import LAYER

# What fairseq registers as buffers: a format number and a device probe.
_BUFFERS = {"version", "_float_tensor"}
# Weights of a layer that are as long as the model is wide.
_OF_WIDTH = ("layer_norm.bias", "out_proj.bias", "fc2.bias")
# Output layers may be the embedding itself; files that a tool has rewritten hold it twice.
_MATRIX_OF_WORDS = re.compile(r"(embed_tokens|output_projection|lm_head)\.weight$")


class Parent:
    """A checkpoint and what is known about its model; each property is computed when first asked for, and once.

    Attributes:
        state: the checkpoint, as :func:`layerdrop_plugin.checkpoint.read` gives it; it is not changed.
        path: its file, None where there is none.
        cfg: its configuration, plain dicts and lists; ``options`` are the model's.
    """

    def __init__(self, state: dict, path: str | os.PathLike | None = None):
        self.state, self.path = state, path
        self.cfg: dict = state["cfg"]
        self.options: dict = state["cfg"]["model"]

    @classmethod
    def load(cls, path: str | os.PathLike, build: bool = True) -> "Parent":
        """Read the file *path*, whose weights must be those that its configuration declares.

        Args:
            build: compare names and shapes of all weights with those of a model that fairseq builds; without it only
                what is known without fairseq is compared.

        Raises:
            LayerdropError: it is no readable fairseq checkpoint, or the two do not agree.
        """
        parent = cls(checkpoint.read(path), path)
        with checkpoint.loading_errors(path):
            parent.check(build)
        return parent

    def check(self, build: bool = True) -> None:
        """Raise LayerdropError where configuration and weights of a known family do not agree."""
        from . import declared, option_values

        option_values.check_state(self.state)
        if registered_model(self.options).removeprefix("layerdrop_") in FAMILIES:
            self.shape  # noqa: B018 (which says what of it cannot be)
            _check_provenance(self.cfg)
            if build:
                declared.check(self)

    @property
    def architecture(self) -> str | None:
        """What ``--arch`` named."""
        return architecture_of(self.options)

    @cached_property
    def family(self) -> Family:
        """The stock model that the architecture is one of.

        Raises:
            LayerdropError: a model that cannot be pruned.
        """
        return family_of(self.options)

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The weights under today's names.

        Early models have one ``in_proj`` for queries, keys and values, and early RoBERTas say ``decoder`` and
        ``emb_layer_norm``.
        """
        weights = {}
        for key, value in self.state["model"].items():
            if ".in_proj_" in key:
                for name, part in zip("qkv", value.chunk(3), strict=True):
                    weights[key.replace(".in_proj_", f".{name}_proj.")] = part
            else:
                weights[key] = value
        if self.family.stock != "roberta":
            return weights
        return {
            re.sub(r"^decoder\.", "encoder.", key).replace(".emb_layer_norm.", ".layernorm_embedding."): value
            for key, value in weights.items()
        }

    @cached_property
    def shape(self) -> ModelShape:
        """Layers, heads and FFN units.

        Raises:
            LayerdropError: a model that cannot be pruned, or weights that are not those of its architecture.
        """
        family = self.family
        if not any(key.startswith(family.source) for key in self.weights):
            raise LayerdropError(
                f"the checkpoint's weights are not those of a {family.stock}: its embeddings are missing"
            )
        layers: dict[str, dict] = {stack: {} for stack in family.stacks}
        for key, value in self.weights.items():
            match = LAYER.match(key)
            if match and match["stack"] in layers:
                layers[match["stack"]][int(match["number"]), match["rest"]] = value
        return ModelShape(**{stack: _stack_shape(of, self.options, stack, family) for stack, of in layers.items()})

    @cached_property
    def positions(self) -> int | None:
        """Longest input, in tokens, of an encoder with one table of positions; None where the shape has none."""
        name = self.family.positions
        if name is None:
            return None
        if name not in self.weights:
            return int(self.options.get("max_positions") or 512)
        return self.weights[name].shape[0] - 2  # its first two rows are never used

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the weights of the layers, see :func:`layerdrop_plugin.pruning.scores.fingerprint`."""
        return fingerprint(self.weights)

    @cached_property
    def sha256(self) -> str | None:
        """SHA-256 of the file, None where there is none."""
        return None if self.path is None else checkpoint.sha256(self.path)

    @cached_property
    def learned_weights(self) -> dict[str, Tensor]:
        """The learned tensors, each once: no buffers, and no output layer that is the embedding itself."""
        found, places, words = {}, set(), []
        for key, value in self.weights.items():
            place = checkpoint.place_in_memory(value)
            if key.rsplit(".", 1)[-1] in _BUFFERS or (place[0] and place in places):
                continue
            if _MATRIX_OF_WORDS.search(key):
                if any(value.shape == other.shape and value.equal(other) for other in words):
                    continue
                words.append(value)
            places.add(place)
            found[key] = value
        return found

    @cached_property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(weight.numel() for weight in self.learned_weights.values())

    def vocabulary_size(self, side: str = "source") -> int:
        """Number of symbols that are embedded on a *side*, ``source`` or ``target``."""
        begins = {"source": self.family.source, "target": self.family.target}[side]
        tables = re.compile(re.escape(begins) + r"(weight|embeddings\.\d+\.0\.weight)")  # whole, or adaptive in parts
        return sum(value.shape[0] for key, value in self.weights.items() if tables.fullmatch(key))


def _check_provenance(cfg: dict) -> None:
    """Raise unless what a child says of its ancestors is what :func:`surgery.provenance` writes."""
    from .surgery import origin_of, shape_before

    try:
        found = origin_of(cfg)
        if found:
            shape_before(found)
            for ancestor in found["ancestors"]:
                f"{ancestor['file']:s}"
    except LayerdropError:
        raise
    except Exception as error:  # whatever a wrong type makes Python hit upon
        raise LayerdropError(f"what it says of its ancestors cannot be read: {first_line(error)}") from error


def _stack_shape(weights: dict[tuple[int, str], Tensor], options: dict, stack: str, family: Family) -> StackShape:
    """The shape of a *stack* of layers, of *weights* by layer and name in it."""
    kinds = kinds_of_stack(stack)
    sized = any(options.get(f"{stack}_{kind.size_option}") for kind in kinds)
    numbers = {number for number, _ in weights}
    layers = int(options[f"{stack}_layers"]) if sized else len(numbers)  # a layer may have lost all its weights
    if not (layers and numbers <= set(range(layers)) and (sized or len(numbers) == layers)):
        raise LayerdropError(
            f"the checkpoint's weights are not those of a {family.stock}: layers of its {stack} are missing"
        )
    width = next((value.shape[0] for (_, name), value in weights.items() if name.endswith(_OF_WIDTH)), None)
    if width is None and not sized:
        raise LayerdropError("the checkpoint's layers have no LayerNorm: they are not Transformer layers")
    width = width or int(options[f"{stack}_embed_dim"])
    heads = int(options.get(f"{stack}_attention_heads") or 12)
    sizes = {
        kind.name: tuple(_parts(weights, n, kind.output, kind.width(width, heads)) for n in range(layers))
        for kind in kinds
    }
    if stack == "decoder" and "decoder_encoder_attn_heads" not in options and not any(sizes["encoder_attn"]):
        del sizes["encoder_attn"]
    units = [size for size in sizes["ffn"] if size is not None]
    whole = int(options.get(f"{stack}_ffn_embed_dim") or 0) if sized else 0
    return StackShape(layers, heads, max([whole, *units]), width, sizes)


def _parts(weights: dict[tuple[int, str], Tensor], layer: int, projection: str, width: int) -> int | None:
    """How many parts of *width* a sublayer's last *projection* puts together; None if there is none."""
    weight = weights.get((layer, f"{projection}.weight"))
    if weight is not None:
        return weight.shape[1] // width
    return 0 if (layer, f"{projection}.bias") in weights else None
