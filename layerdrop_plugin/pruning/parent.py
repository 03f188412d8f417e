"""A checkpoint whose model can be pruned, read once: its weights, family, shape, vocabularies and parameters."""

import os
import re
from functools import cached_property

from torch import Tensor

from .. import checkpoint
from ..anatomy import kinds_of_stack
from ..errors import LayerdropError, first_line
from ..modules.learned_rates import NAMES as LEARNED_RATES
from .families import FAMILIES, Family, architecture_of, family_of, registered_model
from .scores import fingerprint
from .shape import ModelShape, StackShape
from .weights import LAYER, tables_of

# Names of fairseq's buffers, which are not learned: a format version and a tensor that tells the device.
_BUFFERS = {"version", "_float_tensor"}
# Weights of a layer whose length is the width of the model.
_OF_WIDTH = ("layer_norm.bias", "out_proj.bias", "fc2.bias")
# An output layer may share the embedding's weights; some tools write such weights twice.
_MATRIX_OF_WORDS = re.compile(r"(embed_tokens|output_projection|lm_head)\.weight$")

# Options with which embeddings or output layers are no plain tables.
_NOT_BY_ROWS = ("adaptive_input", "adaptive_softmax_cutoff", "character_embeddings")


class Parent:
    """A checkpoint and the properties of its model, each of which is computed once, at its first use.

    Attributes:
        state: the checkpoint, as :func:`layerdrop_plugin.checkpoint.read` returns it; it is not changed.
        path: path of its file; None if there is none.
        cfg: its configuration, plain dicts and lists.
        options: the model's options in ``cfg``.
    """

    def __init__(self, state: dict, path: str | os.PathLike | None = None):
        self.state, self.path = state, path
        self.cfg: dict = state["cfg"]
        self.options: dict = state["cfg"]["model"]

    @classmethod
    def load(cls, path: str | os.PathLike, build: bool = True) -> "Parent":
        """Read the checkpoint *path*, whose weights must be those that its configuration declares.

        Args:
            path: path of the file.
            build: compare the names and shapes of all weights with those of the model that fairseq builds from the
                configuration; if False, only what is known without fairseq is compared.

        Raises:
            LayerdropError: the file cannot be read, is not a fairseq checkpoint, or configuration and weights differ.
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
        """The value of ``--arch`` that the model was trained with."""
        return architecture_of(self.options)

    @cached_property
    def family(self) -> Family:
        """The model's family.

        Raises:
            LayerdropError: models of this architecture cannot be pruned.
        """
        return family_of(self.options)

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """name -> weight, with the names of fairseq 0.12.

        Early models have one ``in_proj`` for queries, keys and values, and early RoBERTa models have the names
        ``decoder`` and ``emb_layer_norm`` instead of ``encoder`` and ``layernorm_embedding``.
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
        """The shape of the model: layers, heads and FFN units.

        Raises:
            LayerdropError: models of this architecture cannot be pruned, or the weights do not fit the architecture.
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
        """Maximum number of tokens of the input; None for families without learned positions in their shape."""
        name = self.family.positions
        if name is None:
            return None
        if name not in self.weights:
            return int(self.options.get("max_positions") or 512)
        return self.weights[name].shape[0] - 2  # fairseq never uses the first two rows

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the weights of the layers, see :func:`layerdrop_plugin.pruning.scores.fingerprint`."""
        return fingerprint(self.weights)

    @cached_property
    def sha256(self) -> str | None:
        """SHA-256 of the file; None if there is none."""
        return None if self.path is None else checkpoint.sha256(self.path)

    @cached_property
    def learned_weights(self) -> dict[str, Tensor]:
        """name -> learned tensor, without buffers and without an output layer that shares the embedding's weights.

        What learned drop rates are computed with is not part of the model.
        """
        found, places, words = {}, set(), []
        for key, value in self.weights.items():
            place = checkpoint.place_in_memory(value)
            if key.rsplit(".", 1)[-1] in _BUFFERS or LEARNED_RATES.match(key) or (place[0] and place in places):
                continue
            if _MATRIX_OF_WORDS.search(key):
                if any(value.shape == other.shape and value.equal(other) for other in words):
                    continue
                words.append(value)
            places.add(place)
            found[key] = value
        return found

    @cached_property
    def learned_rates(self) -> dict[str, tuple[float, ...]]:
        """Stack -> the learned drop rate of each layer; without stacks that have none (``--learn-layerdrop``)."""
        matches = [match for match in map(LEARNED_RATES.match, self.weights) if match and match["name"] == "rates"]
        return {match["stack"]: tuple(self.weights[match.string].float().tolist()) for match in matches}

    @cached_property
    def parameters(self) -> int:
        """Number of elements of the learned weights."""
        return sum(weight.numel() for weight in self.learned_weights.values())

    def vocabulary_size(self, side: str = "source") -> int:
        """Number of symbols in the embeddings of *side*, ``source`` or ``target``."""
        begins = {"source": self.family.source, "target": self.family.target}[side]
        tables = re.compile(re.escape(begins) + r"(weight|embeddings\.\d+\.0\.weight)")  # also adaptive inputs
        return sum(value.shape[0] for key, value in self.weights.items() if tables.fullmatch(key))

    @cached_property
    def vocabulary_sizes(self) -> dict[str, int]:
        """Side -> rows of its embedding; one vocabulary is the source's.

        Raises:
            LayerdropError: rows of such embeddings cannot be pruned.
        """
        found = next((name for name in _NOT_BY_ROWS if self.options.get(name)), None)
        if found:
            raise LayerdropError(
                f"the parent was trained with --{found.replace('_', '-')}: its vocabulary cannot be pruned"
            )
        sizes = {}
        for side, tables in tables_of(self.weights, self.family.one_vocabulary).items():
            sizes[side] = self.vocabulary_size(side)
            other = next((name for name in tables if self.weights[name].shape[0] != sizes[side]), None)
            if other:
                raise LayerdropError(
                    f"the parent's {other} has {self.weights[other].shape[0]} rows, its {side} embedding {sizes[side]}:"
                    " the vocabulary of such a model cannot be pruned"
                )
        return sizes

    @property
    def shares_vocabulary(self) -> bool:
        """Whether a translation's source and target are one embedding."""
        return bool(self.options.get("share_all_embeddings") or self.options.get("merge_src_tgt_embed"))


def _check_provenance(cfg: dict) -> None:
    """Raise unless what a child says of its ancestors is what :func:`surgery.provenance` writes."""
    from .surgery import origin_of, rates_before, reconstruction_of, shape_before

    try:
        found = origin_of(cfg)
        if found:
            shape_before(found)
            rates_before(found)
            for ancestor in found["ancestors"]:
                f"{ancestor['file']:s}"
                reconstruction_of(ancestor)
    except LayerdropError:
        raise
    except Exception as error:  # whatever a wrong type makes Python hit upon
        raise LayerdropError(f"what it says of its ancestors cannot be read: {first_line(error)}") from error


def _stack_shape(weights: dict[tuple[int, str], Tensor], options: dict, stack: str, family: Family) -> StackShape:
    """The shape of a *stack*.

    Args:
        weights: (layer, name within the layer) -> weight.
        options: the model's options.
        stack: ``encoder`` or ``decoder``.
        family: the model's family.

    Raises:
        LayerdropError: weights of layers are missing, or the layers are not Transformer layers.
    """
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
    """The number of parts of a sublayer, from its output *projection* and the *width* of a part; None if absent."""
    weight = weights.get((layer, f"{projection}.weight"))
    if weight is not None:
        return weight.shape[1] // width
    return 0 if (layer, f"{projection}.bias") in weights else None
