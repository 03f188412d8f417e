"""The weights of a fairseq RoBERTa under the names of a Hugging Face BERT or RoBERTa; bert_weights.py, reversed.

transformers has one number of heads and one FFN width for all layers: layers that lost some of theirs get them back,
with zeros. A head whose values are 0 adds nothing, nor does an FFN unit that the output projection reads with 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import LayerdropError
from ..pruning.shape import StackShape
from .bert_weights import ENCODER, LAYER, LM_HEADS, POSITIONS, SEGMENTS

CLASSES, LM = "classification", "masked_lm"  # heads to export; None: neither


@dataclass(frozen=True)
class Target:
    """What the folder is to have.

    Attributes:
        bert: whether heads have BERT's names, not RoBERTa's.
        head: one of CLASSES and LM, or None.
        head_name: fairseq's name of the classification head.
        rows: the folder's row of the embeddings -> fairseq's.
        first_position: first row of positions that is used.
    """

    bert: bool
    head: str | None
    head_name: str
    rows: Sequence[int]
    first_position: int


def export_weights(weights: dict[str, Tensor], shape: StackShape, target: Target, lost: dict[str, Tensor]):
    """The folder's weights, by their names without the model's prefix.

    Args:
        weights: fairseq's.
        shape: the encoder's.
        lost: the tables of positions and segments that an import read, if the model has segment 0 in its positions.

    Returns:
        dict[str, Tensor]: name -> weight.

    Raises:
        LayerdropError: of sublayers or weights that neither BERT nor RoBERTa has.
    """
    _refuse_absent(shape)
    left = {name: weight.float() for name, weight in weights.items() if name.startswith(ENCODER)}
    found = {"embeddings.word_embeddings.weight": left.pop(f"{ENCODER}embed_tokens.weight")[list(target.rows)]}
    found |= _positions(left, target, lost)
    found |= _norm(left, f"{ENCODER}layernorm_embedding", "embeddings.LayerNorm")
    for layer in range(shape.layers):
        found |= _layer(left, shape, layer)
    unknown = sorted(name for name in left if name.rsplit(".", 1)[-1] not in ("version", "_float_tensor"))
    if unknown:
        raise LayerdropError(f"the weight {unknown[0]} belongs to nothing that BERT or RoBERTa has: cannot be exported")
    if target.head == CLASSES:
        found |= _classification_head(weights, target)
    elif target.head == LM:
        found |= _lm_head(weights, target)
    return {name: weight.float().contiguous() for name, weight in found.items()}


def _refuse_absent(shape: StackShape) -> None:
    for kind, sizes in shape.sizes.items():
        if None in sizes:
            raise LayerdropError(
                f"layer {sizes.index(None)} has no {kind}, nor the LayerNorm behind it, which every layer of BERT and"
                " RoBERTa has: it cannot be said in transformers; export-onnx can"
            )


def _positions(left: dict[str, Tensor], target: Target, lost: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tables of positions and of segments.

    fairseq's model has segments, or nothing but segment 0, which is a part of its positions. Then there is one row for
    each segment that the folder's tokenizer gives, all the same; or both tables as they were before the import, if
    training has not changed their sum.
    """
    table = left.pop(f"{ENCODER}embed_positions.weight")[2:]
    own = left.pop(f"{ENCODER}embed_positions.segments.weight", None)
    before, first = lost.get(POSITIONS), target.first_position
    if before is not None and len(before) != len(table) + first:
        before = None
    unused = table.new_zeros(first, table.shape[1]) if before is None else before[:first].float()
    segments = lost.get(SEGMENTS)
    if own is None and before is not None and torch.equal(table, before[first:].float() + segments[0].float()):
        return {POSITIONS: before, SEGMENTS: segments}
    if own is None:
        own = table.new_zeros(2 if target.bert else 1 if segments is None else len(segments), table.shape[1])
    return {POSITIONS: torch.cat([unused, table]), SEGMENTS: own}


def _layer(left: dict[str, Tensor], shape: StackShape, layer: int) -> dict[str, Tensor]:
    """The weights of one layer, with zeros for what it has lost."""
    found, width = {}, shape.embed_dim
    for theirs, ours in LAYER.items():
        name, to = f"{ENCODER}layers.{layer}.{ours}", f"encoder.layer.{layer}.{theirs}"
        if theirs.endswith("LayerNorm"):
            found |= _norm(left, name, to)
            continue
        rows = shape.ffn if ours == "fc1" else width
        columns = shape.ffn if ours == "fc2" else width
        for part, size in (("weight", (rows, columns)), ("bias", (rows,))):
            found[f"{to}.{part}"] = _padded(left.pop(f"{name}.{part}", None), size)
    return found


def _padded(weight: Tensor | None, size: tuple[int, ...]) -> Tensor:
    """*weight* with zeros behind it, up to *size*; only zeros without one."""
    if weight is not None and tuple(weight.shape) == size:
        return weight
    found = torch.zeros(size)
    if weight is not None:
        found[tuple(slice(length) for length in weight.shape)] = weight
    return found


def _norm(left: dict[str, Tensor], name: str, to: str) -> dict[str, Tensor]:
    return {f"{to}.{part}": left.pop(f"{name}.{part}") for part in ("weight", "bias")}


def _classification_head(weights: dict[str, Tensor], target: Target) -> dict[str, Tensor]:
    name = f"classification_heads.{target.head_name}"
    dense, out = ("pooler.dense", "classifier") if target.bert else ("classifier.dense", "classifier.out_proj")
    places = ((dense, "dense"), (out, "out_proj"))
    return {f"{to}.{part}": weights[f"{name}.{of}.{part}"] for to, of in places for part in ("weight", "bias")}


def _lm_head(weights: dict[str, Tensor], target: Target) -> dict[str, Tensor]:
    """The LM head; its matrix only if it is not the embeddings."""
    dense, norm, name = LM_HEADS[target.bert]
    head, rows = "encoder.lm_head", list(target.rows)
    found = {f"{dense}.{part}": weights[f"{head}.dense.{part}"] for part in ("weight", "bias")}
    found |= {f"{norm}.{part}": weights[f"{head}.layer_norm.{part}"] for part in ("weight", "bias")}
    found[f"{name}.bias"] = weights[f"{head}.bias"][rows]
    if not torch.equal(weights[f"{head}.weight"], weights[f"{ENCODER}embed_tokens.weight"]):
        found[f"{name}.decoder.weight"] = weights[f"{head}.weight"][rows]
        found[f"{name}.decoder.bias"] = found[f"{name}.bias"].clone()
    return found
