"""A Hugging Face folder becomes a folder that fairseq's commands and ``RobertaModel.from_pretrained`` load."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from fairseq.models import BaseFairseqModel
from torch import Tensor

from .. import checkpoint
from ..errors import LayerdropError
from ..output_folder import whole
from ..provenance import versions
from . import bert_config
from .bert_config import BertConfig
from .bert_weights import ENCODER, POSITIONS, SEGMENTS, Imported, import_weights
from .beside import BESIDE, COPIED, ORIGIN, REST, tensor_sha256
from .difference import largest_difference, random_inputs
from .fairseq_model import build, configuration
from .folder import CONFIG, read_config, read_weights, weight_files
from .libraries import library
from .make_tokenizer import folder_tokenizer
from .rows import Rows, rows_of
from .special_tokens import write_special_tokens
from .tokenizer import TOKENIZER, FolderTokenizer


@dataclass(frozen=True)
class Source:
    """A Hugging Face folder, read and found to be one that can be imported."""

    folder: Path
    config: BertConfig
    tokenizer: FolderTokenizer
    rows: Rows
    imported: Imported
    names: dict[str, str]
    dtype: str | None


def import_folder(source: str | os.PathLike, target: str | os.PathLike, stock: bool = False) -> list[str]:
    """Make the folder *target* of the Hugging Face folder *source*.

    Args:
        stock: of fairseq's own architecture, whatever hidden states lose by it.

    Returns:
        Lines that say what was done.

    Raises:
        LayerdropError: *source* is not such a folder, or has what cannot be represented; *target* exists.
    """
    folder = Path(source)
    found = read_source(folder)
    with whole(target) as out:
        said = _write_words(found, out)
        cfg, model, segments = _model(found, out, stock)
        said += [_describe(found, segments), *_say_what_differs(found)]
        if stock:
            said.append(_what_stock_costs(found, model, _model(found, out, stock=False)[1]))
        checkpoint.write(checkpoint.untrained({}, cfg, model.state_dict()), out / "checkpoint.pt")
        _write_beside(found, out, segments, model)
    return said


def read_source(folder: Path) -> Source:
    """Read and check the Hugging Face *folder*.

    Raises:
        LayerdropError: as :func:`import_folder`.
    """
    config = bert_config.parse(read_config(folder), folder / CONFIG)
    weight_files(folder)  # before the tokenizer is read, which takes longer
    tokenizer = folder_tokenizer(folder, one_separator=config.bert)
    rows = rows_of(tokenizer, config.rows)
    weights, names = read_weights(folder, bert_config.PREFIXES[config.kind])
    if tokenizer.pair_format.segments and config.segments < 2:
        raise LayerdropError(
            f"{tokenizer.path} gives segments 0 and 1, and config.json says type_vocab_size {config.segments}"
        )
    try:
        imported = import_weights(weights, config, rows.order)
    except LayerdropError as error:
        raise LayerdropError(f"{folder}: {error}") from None
    dtypes = {str(weight.dtype).removeprefix("torch.") for weight in weights.values() if weight.is_floating_point()}
    return Source(folder, config, tokenizer, rows, imported, names, dtypes.pop() if len(dtypes) == 1 else None)


def _model(found: Source, out: Path, stock: bool) -> tuple[dict, BaseFairseqModel, int]:
    """fairseq's configuration and model, and how many segments it has; *out* holds the dictionaries."""
    weights, segments = _with_segments(found, stock)
    cfg, model = build(
        configuration(found.config, found.imported, segments, found.tokenizer, stock), out, ours=not stock
    )
    model.load_state_dict(model.state_dict() | weights)
    return cfg, model, segments


def _what_stock_costs(found: Source, stock: BaseFairseqModel, exact: BaseFairseqModel) -> str:
    """A line that says how much the hidden states of *stock* differ from those of *exact*."""
    rows, longest = len(found.rows.order), exact.max_positions()
    moved = [
        largest_difference((stock, exact), random_inputs(rows, separators, longest))
        for separators in (0, found.tokenizer.pair_format.separators)
    ]
    return f"hidden states of random sentences moved by up to {moved[0]:.1g}, of random pairs by up to {moved[1]:.1g}"


def _with_segments(found: Source, stock: bool) -> tuple[dict[str, Tensor], int]:
    """The weights with the segments in their place, and how many segments the model has.

    Where all that the tokenizer gives is segment 0, it is a part of the positions.
    """
    weights, segments = dict(found.imported.weights), found.imported.segments
    positions = f"{ENCODER}embed_positions."
    if found.tokenizer.pair_format.segments and not stock:
        return weights | {f"{positions}segments.weight": segments}, len(segments)
    table = weights[f"{positions}weight"].clone()
    table[2:] += segments[0]
    return weights | {f"{positions}weight": table}, 0


def _write_words(found: Source, out: Path) -> list[str]:
    """Write dictionaries and tokenizer; returns lines to say."""
    said = []
    text = "".join(f"{symbol} 1\n" for symbol in found.rows.symbols[4:])
    for place in (out, out / "input0"):
        place.mkdir(exist_ok=True)
        (place / "dict.txt").write_text(text, encoding="utf-8")
    found.tokenizer.tokenizer.save(str(out / TOKENIZER), pretty=False)
    write_special_tokens(out, found.tokenizer.special)
    if found.imported.classes > 1:
        labels = ["_".join(label.split()) for label in found.config.labels]
        if len(set(labels)) < len(labels) or not all(labels):
            raise LayerdropError(f"{found.folder / CONFIG}: the labels {', '.join(labels)} cannot be told apart")
        (out / "label").mkdir()
        (out / "label" / "dict.txt").write_text("".join(f"{label} 1\n" for label in labels), encoding="utf-8")
        said.append(f"labels, in their order: {' '.join(labels)}")
    return said


def _describe(found: Source, segments: int) -> str:
    config = found.config
    return (
        f"{config.kind}: {config.layers} layers x {config.width}, {config.heads} heads, {len(found.rows.order):,} rows"
        f" of embeddings, {config.longest} positions, {segments or 'no'} segments, LayerNorm's epsilon {config.eps:g}"
    )


def _say_what_differs(found: Source) -> list[str]:
    """Lines about what is not as it was in the folder."""
    said, imported = [], found.imported
    if None in found.rows.order:
        said.append("there was no row for <mask>: a new one, the mean of the others, is the last")
    if found.rows.surplus:
        said.append(f"{found.rows.surplus:,} rows that no piece of the tokenizer has are called madeupwordNNNN")
    if not imported.lm_head:
        said.append("the folder has no LM head: a new one with random weights was built, pre-train before you use it")
    if imported.rest:
        said.append(f"not used, kept in {BESIDE}/{REST}: {', '.join(sorted(imported.rest))}")
    return said


def _write_beside(found: Source, out: Path, segments: int, model: BaseFairseqModel) -> None:
    """Write what a way back to a Hugging Face folder needs and fairseq's files do not hold, see beside.py."""
    beside, imported = out / BESIDE, found.imported
    beside.mkdir()
    for path in sorted(found.folder.iterdir()):
        if path.is_file() and COPIED.fullmatch(path.name):
            shutil.copyfile(path, beside / path.name)
    rest = imported.rest | imported.buffers | {POSITIONS: imported.positions, SEGMENTS: imported.segments}
    tensors = {name: value.contiguous().clone() for name, value in rest.items()}
    (beside / REST).write_bytes(library("safetensors.torch").save(tensors))
    origin = {
        "rows": found.rows.order,
        "names": found.names,
        "dtype": found.dtype,
        "labels": found.config.labels if imported.classes else None,
        "first_position": found.config.first_position,
        "segment_0_in_positions": not segments,
        "new_lm_head": None if imported.lm_head else tensor_sha256(model.encoder.lm_head.dense.weight),
        "tokenizer_sha256": checkpoint.sha256(out / TOKENIZER),
        "sha256": {path.name: checkpoint.sha256(path) for path in weight_files(found.folder)},
        "versions": versions(),
    }
    (beside / ORIGIN).write_text(json.dumps(origin) + "\n", encoding="utf-8")
