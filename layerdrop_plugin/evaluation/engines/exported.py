"""Folders that export-hf and export-onnx wrote, and what any engine does with them."""

import abc
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ... import data_folder
from ...errors import LayerdropError, first_line
from ...interop.export_record import RECORD, as_described, largest_difference, read_record
from ...interop.tokenizer import FolderTokenizer
from ...provenance import quiet
from ...pruning.vocabulary import symbols_sha256
from .base import Engine


class Exported(Engine):
    """An exported classifier or regression.

    Attributes:
        engine: as the record has it.
        model_file: name of the file with the weights.
        record: see interop/export_record.py.
    """

    kind = data_folder.CLASSIFICATION
    settings: dict[str, Any] = {}
    engine: str
    model_file: str

    def __init__(self, path: str | os.PathLike, data: str | os.PathLike, threads: int, _beam: int, dtype: torch.dtype):
        self.path, self.folder, self.threads = str(path), _folder(Path(path)), threads
        self.record = read_record(self.folder)
        if self.record["output"] != "logits":
            raise LayerdropError(f"{path} has no classification head, so it does not answer for a sentence")
        if dtype != torch.float32:
            raise LayerdropError(f"{path} has the precision of its export: leave out --inference-dtype")
        self.file = self.folder / self.model_file
        if not self.file.is_file():
            raise LayerdropError(f"{self.folder} has no {self.model_file}: export the checkpoint again")
        self.described = as_described(path, self.record, self.file)
        self.longest = self.record["longest"]
        self.task = self._task(data)
        self._numbers = self._ids()
        self._load()

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether it is such a folder, or a file in one."""
        folder = _folder(path)
        if (folder / RECORD).is_file() and not path.name.endswith(".pt"):
            return (read_record(folder) or {}).get("engine") == cls.engine
        return False

    @abc.abstractmethod
    def _load(self) -> None:
        """Load the model."""

    def _task(self, data: str | os.PathLike) -> Any:
        """fairseq's task with the options of the exported model's."""
        from fairseq import tasks
        from omegaconf import OmegaConf

        options = self.record["task"] | {"_name": "sentence_prediction", "data": str(data)}
        try:
            with quiet():
                config = OmegaConf.create(options)
                task = tasks.setup_task(config)
        except Exception as error:  # fairseq raises whatever its parts raise
            raise LayerdropError(f"cannot read {data} for {self.path}: {first_line(error)}") from error
        if symbols_sha256(task.source_dictionary.symbols) != self.record["dictionary_sha256"]:
            raise LayerdropError(
                f"{self.path} is of a model with another dictionary than that of {data}: binarise the data with the"
                " model's own"
            )
        return task

    def _ids(self) -> torch.Tensor:
        """Row of the dictionary -> id of the exported tokenizer; that of an unknown piece for those that it lacks."""
        ids = FolderTokenizer.load(self.folder).ids
        return torch.tensor([ids.get(symbol, ids["<unk>"]) for symbol in self.task.source_dictionary.symbols])

    def prepare(self, batch: dict) -> dict[str, np.ndarray]:
        """``input_ids`` and ``attention_mask`` (sentences, length), and ``token_type_ids`` if the model has them."""
        rows = batch["net_input"]["src_tokens"]
        inputs = {"input_ids": self._numbers[rows], "attention_mask": rows.ne(self.task.source_dictionary.pad()).long()}
        if self.record["segments"]:
            from ...modules.segments import segments_of

            segments = segments_of(rows, self.task.source_dictionary.eos(), 2)
            inputs["token_type_ids"] = segments * inputs["attention_mask"]
        return {name: value.numpy() for name, value in inputs.items()}

    def check(self) -> None:
        """Raise LayerdropError unless it answers the record's examples as it did when it was exported."""
        examples = dict(self.record["examples"])
        try:
            expected = np.asarray(examples.pop("outputs"), dtype=np.float64)
            inputs = {name: np.asarray(value, dtype=np.int64) for name, value in examples.items()}
        except (TypeError, ValueError, KeyError) as error:
            raise LayerdropError(f"{self.folder / RECORD} has no examples: export the checkpoint again") from error
        try:
            found = np.asarray(self.run(self._given(inputs)))
        except Exception as error:  # whatever an engine raises of a model that was changed
            raise LayerdropError(
                f"{self.path} does not answer ({first_line(error)}): export the checkpoint again"
            ) from error
        difference = largest_difference(found, expected) if found.shape == expected.shape else float("inf")
        if not difference <= self.record["tolerance"]:
            raise LayerdropError(
                f"{self.path} does not answer as it did when it was exported (answers differ by {difference:.2g}): its"
                " files were changed; export the checkpoint again"
            )

    def _given(self, inputs: dict[str, np.ndarray]) -> Any:
        """The engine's form of *inputs*."""
        return inputs


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent
