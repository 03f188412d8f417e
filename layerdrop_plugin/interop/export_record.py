"""layerdrop.json: what an exported folder was made of, and answers by which it can be checked wherever it runs.

type, version      "layerdrop.export", 1
engine             the software that the folder is for: "transformers" or "onnxruntime"
output             "logits" or "last_hidden_state"
quantization       "int8", or null
head, labels       kind of the head; names of the classes
longest            tokens of the longest input
segments           whether the input has token_type_ids
checkpoint         description of the checkpoint, see provenance.CheckpointRecord
seed               of its training
provenance         where that came from, see pruning/surgery.py; null if it was not pruned
task               the options of its fairseq task
dictionary_sha256  of the symbols of its dictionary
examples           input_ids, attention_mask and token_type_ids (sentences, length) of random sentences, and the outputs
                   (sentences, classes) of the checkpoint; hidden states (sentences, width) are those of the first token
tolerance          by how much an answer may differ from them
versions, command  see provenance.py
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import checkpoint
from ..errors import LayerdropError
from ..modules.segments import segments_of
from ..provenance import CheckpointRecord, describe_checkpoint, made_with
from ..pruning.vocabulary import symbols_sha256
from ..safe_reading.json_file import read_json
from .ct2_folder import Ct2Folder, is_exported
from .difference import random_inputs
from .exportable import Exportable
from .folder import SAFE
from .onnx_session import ENGINE, MODEL

RECORD, TYPE = "layerdrop.json", "layerdrop.export"
TOLERANCE = 1e-4  # of an answer, absolute and relative, in single precision
PADDING = 1  # row of <pad>
_FILES = {"transformers": SAFE, ENGINE: MODEL}  # engine -> the file with the weights


def random_rows(found: Exportable) -> Tensor:
    """Random sentences and pairs (sentences, length) in the rows of the model, of pieces that its tokenizer has."""
    rows, longest = len(found.rows), found.model.max_positions()
    batches = [random_inputs(rows, separators, longest) for separators in (0, found.pairs.separators)]
    tokens, ids = torch.cat([batch[:4] for batch in batches]), found.ids
    known = torch.tensor([row for row in sorted(ids) if row > 3] or [3])
    return torch.where(tokens > 3, known[tokens % len(known)], tokens)


def as_inputs(found: Exportable, rows: Tensor) -> dict[str, Tensor]:
    """What transformers is given for *rows* (sentences, length): the tokenizer's ids, mask and segments."""
    ids = found.ids
    numbers = torch.tensor([ids.get(row, 0) for row in range(max(ids) + 1)])
    inputs = {"input_ids": numbers[rows], "attention_mask": rows.ne(PADDING).long()}
    if found.pairs.segments:
        inputs["token_type_ids"] = segments_of(rows, 2, 2) * inputs["attention_mask"]
    return inputs


@torch.no_grad()
def answers(found: Exportable, rows: Tensor) -> Tensor:
    """The model's outputs for *rows* (sentences, length): logits, or hidden states (sentences, length, width)."""
    head = found.head_name if found.answers else None
    return found.model(rows, features_only=True, classification_head_name=head)[0].float()


def write_record(folder: Path, found: Exportable, engine: str, command: str | None, **about: Any) -> None:
    """Write layerdrop.json into *folder*.

    Args:
        found: the checkpoint.
        engine: see the module's docstring.
        command: the command line.
        about: ``examples``, and entries that differ from these defaults: of an encoder in single precision.
    """
    described, provenance = describe_checkpoint(found.parent.path)
    record = {
        "type": TYPE,
        "version": 1,
        "engine": engine,
        "output": "logits" if found.answers else "last_hidden_state",
        "quantization": None,
        "head": found.head,
        "labels": list(found.labels),
        "longest": found.model.max_positions(),
        "segments": found.pairs.segments,
        "checkpoint": described,
        "seed": (found.parent.cfg.get("common") or {}).get("seed"),
        "provenance": provenance,
        "task": checkpoint.plain(found.parent.cfg["task"]) | {"data": None},
        "dictionary_sha256": symbols_sha256(found.symbols),
        "tolerance": TOLERANCE,
        **about,
        **made_with(command),
    }
    (folder / RECORD).write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")


def examples_of(found: Exportable) -> dict[str, list]:
    """The entry ``examples`` of a record, with the outputs of the checkpoint."""
    rows = random_rows(found)
    outputs = answers(found, rows)
    outputs = outputs if found.answers else outputs[:, 0]
    inputs = {name: value.tolist() for name, value in as_inputs(found, rows).items()}
    return inputs | {"outputs": outputs.tolist()}


def read_record(folder: Path) -> dict | None:
    """The record in *folder*; None if there is none.

    Raises:
        LayerdropError: it cannot be read.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    found = read_json(path, "the record of the export")
    wanted = ("engine", "output", "head", "longest", "checkpoint", "task", "examples", "tolerance")
    if not isinstance(found, dict) or found.get("type") != TYPE or any(name not in found for name in wanted):
        raise LayerdropError(f"{path} is not what an export writes: export the checkpoint again")
    return found


def as_described(path: str | os.PathLike, record: dict, file: Path) -> CheckpointRecord:
    """The description of an exported model: that of its checkpoint, with path, hash and size of the *file*."""
    size = file.stat().st_size
    own = {"path": str(path), "sha256": checkpoint.sha256(file), "bytes": size, "weight_bytes": size}
    return record["checkpoint"] | own | {"engine": record["engine"]}


def describe(path: str | os.PathLike) -> tuple[CheckpointRecord, dict[str, Any] | None]:
    """As provenance.describe_checkpoint, of a checkpoint or of an exported folder."""
    place = Path(path)
    if is_exported(place):
        return Ct2Folder.load(place).described()
    folder = place if place.is_dir() else place.parent
    record = None if place.suffix == ".pt" else read_record(folder)
    if record is None:
        return describe_checkpoint(path)
    file = folder / _FILES.get(record["engine"], "")
    if not file.is_file():
        raise LayerdropError(f"{folder} has no {file.name}: export the checkpoint again")
    return as_described(path, record, file), record.get("provenance")


def largest_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference of two arrays of answers, over the largest expected one if that is above 1."""
    scale = max(1.0, float(np.abs(expected).max()))
    return float(np.abs(found - expected).max()) / scale
