"""The interface of an engine."""

import abc
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...provenance import CheckpointRecord


class Engine(abc.ABC):
    """A model in the software that runs it.

    Args:
        path, data, threads, beam, dtype: see :func:`engines.load`.

    Attributes:
        path: as given.
        kind: data_folder.CLASSIFICATION or data_folder.TRANSLATION.
        task: fairseq's task, which reads the data as the model expects it.
        described: description of the model; ``weight_bytes`` is the size of what an export wrote.
        longest: maximum number of (source) tokens of an example.
        settings: entries that the engine adds to a measurement.
    """

    path: str
    kind: str
    task: Any
    described: CheckpointRecord
    longest: int
    settings: dict[str, Any]

    @abc.abstractmethod
    def __init__(
        self, path: str | os.PathLike, data: str | os.PathLike, threads: int, beam: int, dtype: torch.dtype
    ): ...

    @classmethod
    @abc.abstractmethod
    def recognises(cls, path: Path) -> bool:
        """Whether *path* holds a model for this engine. Cheap: looks at names and a record, not at weights."""

    def check(self) -> None:
        """Raise LayerdropError unless it gives the answers of the checkpoint that it was made of."""
        return

    @abc.abstractmethod
    def prepare(self, batch: dict) -> Any:
        """The engine's input for *batch*, a batch of fairseq's collater; this is not timed."""

    @abc.abstractmethod
    def run(self, inputs: Any) -> Any:
        """Answer what :meth:`prepare` made; this is timed."""

    def count(self, _outputs: Any) -> int:
        """The number of target tokens in the outputs of :meth:`run`, without end-of-sentence symbols; 0 for classes."""
        return 0

    def answers(self, batch: dict) -> np.ndarray:
        """Class scores (sentences, classes) of *batch*; classifiers only."""
        return np.asarray(self.run(self.prepare(batch)), dtype=np.float32)

    def peak_bytes(self, _batches: list[Any]) -> int | None:
        """Peak memory of a process of its own that answers prepared *batches*; None if that is not measured."""
        return None
