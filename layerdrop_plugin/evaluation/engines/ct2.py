"""Folders that export-ct2 wrote, in CTranslate2's beam search."""

import os
from pathlib import Path
from typing import Any

import torch

from ... import data_folder
from ...errors import LayerdropError, first_line
from ...interop.ct2_folder import MAX_LEN_A, MAX_LEN_B, Ct2Folder, is_exported
from ...provenance import quiet
from .base import Engine


class CTranslate2(Engine):
    """A translation model in a folder of `layerdrop export-ct2`.

    That it is unchanged is seen by its checksums; its log-probabilities were compared with fairseq's by the export.
    """

    kind = data_folder.TRANSLATION

    def __init__(self, path: str | os.PathLike, data: str | os.PathLike, threads: int, beam: int, dtype: torch.dtype):
        if dtype != torch.float32:
            raise LayerdropError(f"{path} has the precision of its export: leave out --inference-dtype")
        folder = Ct2Folder.load(path)
        self.path, self._beam = str(path), beam
        self.described, _ = folder.described()
        self._translator = folder.translator(threads)
        self.task = self._task(data, folder.path)
        self.longest = self._translator.longest_source
        self.settings = {
            "generation": {
                "beam": beam,
                "nbest": 1,
                "max_len_a": MAX_LEN_A,
                "max_len_b": MAX_LEN_B,
                "min_len": 1,
                "lenpen": 1,
            }
        }

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether export-ct2 wrote the folder *path*."""
        return is_exported(path)

    def _task(self, data: str | os.PathLike, folder: Path) -> Any:
        """fairseq's task for the data folder *data*, whose dictionaries must be the model's."""
        from fairseq.tasks.translation import TranslationConfig, TranslationTask

        source, target = self.described["languages"]
        try:
            with quiet():
                task = TranslationTask.setup_task(
                    TranslationConfig(data=str(data), source_lang=source, target_lang=target)
                )
        except Exception as error:  # fairseq raises whatever its parts raise
            raise LayerdropError(f"cannot read {data} for {self.path}: {first_line(error)}") from error
        for language, words in ((source, task.source_dictionary), (target, task.target_dictionary)):
            own = type(words).load(str(folder / f"dict.{language}.txt"))
            if own.symbols != words.symbols:
                raise LayerdropError(
                    f"{self.path} is of a model with another dictionary than dict.{language}.txt of {data}: binarise"
                    " the data with the model's own"
                )
        return task

    def prepare(self, batch: dict) -> list[list[str]]:
        """The source tokens of each sentence, without padding and end marks."""
        words = self.task.source_dictionary
        left_out = {words.pad(), words.eos()}
        return [
            [words[token] for token in row if token not in left_out]
            for row in batch["net_input"]["src_tokens"].tolist()
        ]

    def run(self, inputs: list[list[str]]) -> list[list[str]]:
        """The best hypothesis' tokens of each sentence, without end marks."""
        return self._translator.translate(inputs, self._beam)

    def count(self, outputs: list[list[str]]) -> int:
        """Target tokens (subwords) of the best hypothesis of every sentence, without end-of-sentence symbols."""
        return sum(map(len, outputs))


ENGINE = CTranslate2
