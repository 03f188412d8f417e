"""The weights of a Hugging Face BERT or RoBERTa under the names of fairseq's RoBERTa."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import LayerdropError
from .bert_config import BertConfig

ENCODER = "encoder.sentence_encoder."
HEAD = "sentence_classification_head"  # fairseq's default name of a classification head
LAYER = {
    "attention.self.query": "self_attn.q_proj",
    "attention.self.key": "self_attn.k_proj",
    "attention.self.value": "self_attn.v_proj",
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "self_attn_layer_norm",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
    "output.LayerNorm": "final_layer_norm",
}
# LM heads: dense layer, LayerNorm, bias of the rows, the matrix if it is saved, the bias saved a second time
LM_HEADS = {
    True: ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions"),
    False: ("lm_head.dense", "lm_head.layer_norm", "lm_head"),
}
BUFFERS = {"embeddings.position_ids", "embeddings.token_type_ids"}
POSITIONS, SEGMENTS = "embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"


@dataclass
class Imported:
    """What became of a folder's weights.

    Attributes:
        weights: fairseq's names -> weights; ``segments`` are apart.
        positions, segments: the embeddings of positions and of segments as they were.
        rest: what has no place in them, by the folder's short names.
        buffers: what is no weight, likewise.
        lm_head, untied: whether there is an LM head, and whether its matrix is its own.
        classes: of the classification head, 0 without one.
    """

    weights: dict[str, Tensor]
    positions: Tensor
    segments: Tensor
    rest: dict[str, Tensor]
    buffers: dict[str, Tensor]
    lm_head: bool
    untied: bool
    classes: int


class _Reader:
    """Takes weights out of a folder's, checked."""

    def __init__(self, weights: dict[str, Tensor]):
        self.left = dict(weights)

    def take(self, name: str, *shape: int) -> Tensor:
        """The weight *name*, in fp32.

        Raises:
            LayerdropError: it is missing, of another shape, or not all of it is finite.
        """
        if name not in self.left:
            raise LayerdropError(f"the weight {name} is missing: the folder is not whole, or of another kind of model")
        value = self.left.pop(name)
        if tuple(value.shape) != shape:
            raise LayerdropError(f"the weight {name} has shape {tuple(value.shape)}, config.json says {shape}")
        if not value.isfinite().all():
            raise LayerdropError(f"the weight {name} has values that are infinite or not a number")
        return value.to(torch.float32).contiguous()

    def linear(self, name: str, rows: int, columns: int, to: str) -> dict[str, Tensor]:
        """A projection, under the name *to*."""
        return {
            f"{to}.weight": self.take(f"{name}.weight", rows, columns),
            f"{to}.bias": self.take(f"{name}.bias", rows),
        }

    def norm(self, name: str, width: int, to: str) -> dict[str, Tensor]:
        """A LayerNorm, under the name *to*."""
        return {f"{to}.{part}": self.take(f"{name}.{part}", width) for part in ("weight", "bias")}


def import_weights(weights: dict[str, Tensor], config: BertConfig, order: Sequence[int | None]) -> Imported:
    """The *weights* of a folder as fairseq's.

    Args:
        weights: by name without the model's prefix.
        order: fairseq's row of the embeddings -> the folder's; None for a new row, the mean of the others.

    Raises:
        LayerdropError: some are missing, of a wrong shape, not finite, or of a part that fairseq's RoBERTa lacks.
    """
    reader = _Reader(weights)
    words = reader.take("embeddings.word_embeddings.weight", config.rows, config.width)
    table = reader.take(POSITIONS, config.positions, config.width)
    positions = table[config.first_position :]
    segments = reader.take(SEGMENTS, config.segments, config.width)
    found = {
        f"{ENCODER}embed_tokens.weight": reorder(words, order, words.mean(0)),
        f"{ENCODER}embed_positions.weight": torch.cat([positions.new_zeros(2, config.width), positions]),
        **reader.norm("embeddings.LayerNorm", config.width, f"{ENCODER}layernorm_embedding"),
    }
    for layer in range(config.layers):
        found |= _layer(reader, config, layer)
    lm_head, untied = _lm_head(reader, config, words, order, found)
    classes = _classification_head(reader, config, found)
    buffers = {name: reader.left.pop(name) for name in BUFFERS & reader.left.keys()}
    _refuse_unknown(reader.left)
    return Imported(found, table, segments, reader.left, buffers, lm_head, untied, classes)


def reorder(rows: Tensor, order: Sequence[int | None], new: Tensor) -> Tensor:
    """*rows* in another *order*; *new* where that is None."""
    known = torch.tensor([-1 if row is None else row for row in order])
    found = rows[known.clamp(min=0)]
    found[known < 0] = new
    return found


def _layer(reader: _Reader, config: BertConfig, layer: int) -> dict[str, Tensor]:
    found = {}
    for theirs, ours in LAYER.items():
        name, to = f"encoder.layer.{layer}.{theirs}", f"{ENCODER}layers.{layer}.{ours}"
        if theirs.endswith("LayerNorm"):
            found |= reader.norm(name, config.width, to)
        else:
            rows = config.units if ours == "fc1" else config.width
            columns = config.units if ours == "fc2" else config.width
            found |= reader.linear(name, rows, columns, to)
    return found


def _lm_head(reader: _Reader, config: BertConfig, words: Tensor, order: Sequence[int | None], found: dict):
    """Put the LM head into *found*; returns whether there is one, and whether its matrix is its own."""
    dense, norm, name = LM_HEADS[config.bert]
    if f"{dense}.weight" not in reader.left:
        if config.head == "masked_lm":
            raise LayerdropError(f"the weight {dense}.weight is missing, which the class in config.json has")
        return False, False
    if not config.bert and config.activation != "gelu":
        raise LayerdropError("RoBERTa's LM head has gelu, the layers have not: fairseq has one function for both")
    found |= reader.linear(dense, config.width, config.width, "encoder.lm_head.dense")
    found |= reader.norm(norm, config.width, "encoder.lm_head.layer_norm")
    bias = "bias" if f"{name}.bias" in reader.left else "decoder.bias"
    bias = reader.take(f"{name}.{bias}", config.rows)
    found["encoder.lm_head.bias"] = reorder(bias, order, bias.min())  # a new row is the least likely
    reader.left.pop(f"{name}.decoder.bias", None)
    matrix = f"{name}.decoder.weight"
    own = reader.take(matrix, config.rows, config.width) if matrix in reader.left or not config.tied else words
    untied = not torch.equal(own, words)
    found["encoder.lm_head.weight"] = (
        reorder(own, order, own.mean(0)) if untied else found[f"{ENCODER}embed_tokens.weight"]
    )
    return True, untied


def _classification_head(reader: _Reader, config: BertConfig, found: dict) -> int:
    """Put the classification head into *found*; returns the number of its classes."""
    if config.head != "classification":
        return 0
    to, classes = f"classification_heads.{HEAD}", len(config.labels)
    dense, out = ("pooler.dense", "classifier") if config.bert else ("classifier.dense", "classifier.out_proj")
    found |= reader.linear(dense, config.width, config.width, f"{to}.dense")
    found |= reader.linear(out, classes, config.width, f"{to}.out_proj")
    return classes


def _refuse_unknown(left: dict[str, Tensor]) -> None:
    """Raise LayerdropError for weights of the encoder that nobody took, which change what it computes."""
    unknown = sorted(name for name in left if re.match(r"(embeddings|encoder)\.", name))
    if unknown:
        raise LayerdropError(
            f"the weight {unknown[0]} belongs to nothing that fairseq's RoBERTa has: cannot be imported"
        )
