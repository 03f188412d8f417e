"""Software that a model runs in, for `layerdrop latency` and `layerdrop evaluate`: a class for each, a file for each.

An engine is a subclass of :class:`base.Engine`, called ``ENGINE`` in its file; the file's name stands in
:data:`_FILES`. The first whose ``recognises`` accepts a path takes it; what none accepts is a checkpoint of fairseq's.
"""

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import LayerdropError

if TYPE_CHECKING:
    import torch

    from .base import Engine

_FILES = ("ct2", "onnx_runtime", "hugging_face")
_CHECKPOINTS = "fairseq_checkpoint"


def engine_of(path: str | os.PathLike) -> "type[Engine]":
    """The engine that runs what *path* holds.

    Raises:
        LayerdropError: it is a model for another engine that no export of ours wrote, or its record cannot be read.
    """
    place = Path(path)
    classes = (importlib.import_module(f".{name}", __package__).ENGINE for name in (*_FILES, _CHECKPOINTS))
    found = next(engine for engine in classes if engine.recognises(place))
    foreign = place.suffix == ".onnx" or any((place / name).is_file() for name in ("model.onnx", "config.json"))
    if foreign and found.__module__.endswith(_CHECKPOINTS):
        raise LayerdropError(
            f"{path} has no layerdrop.json beside it, which says what it was made of: name a checkpoint, or what"
            " export-hf or export-onnx wrote"
        )
    return found


def load(path: str | os.PathLike, data: str | os.PathLike, threads: int, beam: int, dtype: "torch.dtype") -> "Engine":
    """Load what *path* holds.

    Args:
        path: a checkpoint, or a folder (or a file in it) that an export wrote.
        data: the data folder that it will read.
        threads: threads within one operation; torch's must be set to this number, too.
        beam: beam size, for translation models.
        dtype: precision of the products of this plugin's models.

    Raises:
        LayerdropError: it cannot be read, does not fit the data, or the engine is not installed.
    """
    return engine_of(path)(path, data, threads, beam, dtype)


def is_exported(path: str | os.PathLike) -> bool:
    """Whether *path* is something else than a checkpoint of fairseq's."""
    return engine_of(path).__module__.rpartition(".")[2] != _CHECKPOINTS
