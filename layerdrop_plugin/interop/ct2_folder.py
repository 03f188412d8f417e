"""A folder that `layerdrop export-ct2` wrote: what it was made of, and the model in it, run by CTranslate2.

model.bin, config.json     CTranslate2's model, and its vocabularies: shared_vocabulary.json, or source_ and
                           target_vocabulary.json; vocabulary.json of a language model
dict.SRC.txt, dict.TGT.txt, sentencepiece.bpe.model    the checkpoint's, where it has them
layerdrop.json             type, version: ORIGIN_TYPE, 1
                           checkpoint: description of the checkpoint, see provenance.CheckpointRecord
                           provenance: its ancestors and plan, see pruning/surgery.py; null if it was not pruned
                           engine, quantization: CTranslate2's version, and the type of the weights
                           longest: tokens of the longest source and target; of a language model one number
                           sha256: of each other file
                           versions, command: see provenance.py
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import checkpoint
from ..errors import LayerdropError
from ..provenance import CheckpointRecord
from ..safe_reading import json_file
from .libraries import library

ORIGIN, ORIGIN_TYPE = "layerdrop.json", "layerdrop.ctranslate2"
MODEL = "model.bin"
# Limit of a translation's length, as in translations.translator: this much of the source's, and so many tokens more.
MAX_LEN_A, MAX_LEN_B = 1.2, 10


@dataclass(frozen=True)
class Ct2Folder:
    """An exported model that is whole and unchanged.

    Attributes:
        path: the folder.
        origin: contents of its ``layerdrop.json``.
    """

    path: Path
    origin: dict[str, Any]

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Ct2Folder":
        """Read the folder *path*, or that of the ``model.bin`` *path*.

        Raises:
            LayerdropError: `layerdrop export-ct2` did not write it, or a file was changed or removed since.
        """
        folder = _folder(path)
        if not is_exported(folder):
            raise LayerdropError(f"{folder} is no folder of `layerdrop export-ct2`: it has no {ORIGIN} that says so")
        origin = json_file.read_json(folder / ORIGIN, "the export")
        for name, digest in origin["sha256"].items():
            if not (folder / name).is_file():
                raise LayerdropError(f"{folder / name} is missing: export the checkpoint again")
            if checkpoint.sha256(folder / name) != digest:
                raise LayerdropError(f"{folder / name} was changed since the export: export the checkpoint again")
        return cls(folder, origin)

    def described(self) -> tuple[CheckpointRecord, dict[str, Any] | None]:
        """As ``provenance.describe_checkpoint``: shape and parameters are the checkpoint's, sizes the folder's.

        The description says in ``engine`` what computes the answers, and the SHA-256 of the checkpoint.
        """
        made = self.origin["checkpoint"]
        engine = {name: self.origin[name] for name in ("engine", "quantization")}
        described = made | {
            "path": str(self.path),
            "sha256": self.origin["sha256"][MODEL],
            "bytes": sum(file.stat().st_size for file in self.path.iterdir() if file.is_file()),
            "weight_bytes": (self.path / MODEL).stat().st_size,
            "engine": engine | {"checkpoint_sha256": made["sha256"]},
        }
        return described, self.origin["provenance"]

    def translator(self, threads: int = 0) -> "Translator":
        """The model of a translation, on the CPU.

        Args:
            threads: number of threads of a translation; 0 is CTranslate2's default.

        Raises:
            LayerdropError: it is a language model, or CTranslate2 is not installed.
        """
        if self.origin["checkpoint"]["encoder_layers"] is None:
            raise LayerdropError(f"{self.path} is a language model: it does not translate")
        model = library("ctranslate2").Translator(str(self.path), device="cpu", intra_threads=threads)
        return Translator(model, *self.origin["longest"])


@dataclass(frozen=True)
class Translator:
    """A translation model in CTranslate2.

    Attributes:
        model: the ``ctranslate2.Translator``.
        longest_source, longest_target: most tokens of a sentence, end mark included.
    """

    model: Any
    longest_source: int
    longest_target: int

    def translate(self, sentences: Sequence[Sequence[str]], beam: int) -> list[list[str]]:
        """Translate a batch as fairseq's beam search does.

        Hypotheses are ranked by the mean log-probability of their tokens, end mark included, and limited by the longest
        source sentence of the batch. They differ from fairseq's where two of them have scores that are equal but for
        rounding, at the limit, where fairseq adds the log-probability of an end mark, and where a hypothesis could be
        empty, which fairseq forbids after normalising the probabilities and CTranslate2 before.

        Args:
            sentences: source tokens of each sentence, without an end mark.
            beam: beam size.

        Returns:
            The best hypothesis' tokens of each sentence, without the end mark.

        Raises:
            LayerdropError: a sentence is longer than the model can read.
        """
        longest = max(map(len, sentences)) + 1
        if longest > self.longest_source:
            raise LayerdropError(f"a sentence has {longest} tokens, and the model reads {self.longest_source} at most")
        found = self.model.translate_batch(
            sentences,
            beam_size=beam,
            length_penalty=1,
            return_end_token=True,  # which is then counted in the length, as fairseq does
            max_decoding_length=min(int(MAX_LEN_A * longest + MAX_LEN_B) + 1, self.longest_target),
            max_input_length=0,
        )
        # The last token is the end mark, or at the limit what stands where fairseq puts one.
        return [result.hypotheses[0][:-1] for result in found]


def is_exported(path: str | os.PathLike) -> bool:
    """Whether *path* is a folder that `layerdrop export-ct2` wrote, or the ``model.bin`` in one."""
    file = _folder(path) / ORIGIN
    if not file.is_file():
        return False
    content = json_file.read_json(file, "the export")
    return isinstance(content, dict) and content.get("type") == ORIGIN_TYPE


def _folder(path: str | os.PathLike) -> Path:
    path = Path(path)
    return path.parent if path.name == MODEL else path
