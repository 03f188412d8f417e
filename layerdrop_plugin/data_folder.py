"""Binarised data folders as fairseq-preprocess leaves them, of three kinds: what a split holds, and its hash.

classification   input0/SPLIT.idx, label/…, each with its dict.txt
translation      SPLIT.SRC-TGT.SRC.idx, SPLIT.SRC-TGT.TGT.idx, dict.SRC.txt, dict.TGT.txt; perhaps the text that was
                 binarised, one sentence a line: SPLIT.SRC, SPLIT.TGT
language-model   SPLIT.idx, dict.txt
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import checkpoint
from .errors import LayerdropError
from .provenance import quiet

CLASSIFICATION, TRANSLATION, LANGUAGE_MODEL = "classification", "translation", "language-model"


@dataclass(frozen=True)
class Split:
    """One split of a data folder; `languages` is (source, target) of a translation, else None."""

    root: Path
    name: str
    kind: str
    languages: tuple[str, str] | None = None

    @property
    def prefix(self) -> Path:
        """Path of the indexed dataset with the inputs, without its suffix."""
        if self.kind == TRANSLATION:
            source, target = self.languages
            return self.root / f"{self.name}.{source}-{target}.{source}"
        return self.root / ("input0" if self.kind == CLASSIFICATION else "") / self.name

    def sizes(self) -> np.ndarray:
        """Number of tokens of every example, shape (examples,): the lines of the binarised text in order.

        Raises:
            LayerdropError: the split is unreadable or empty.
        """
        from fairseq.data import data_utils

        contents = Path(f"{self.prefix}.bin")
        if contents.is_file() and contents.stat().st_size == 0:  # fairseq cannot even open it
            raise LayerdropError(f"the split '{self.name}' in {self.root} has no examples")
        try:
            with quiet():
                dataset = data_utils.load_indexed_dataset(str(self.prefix))
                return np.array(dataset.sizes)  # a copy: fairseq unmaps the file below its array with the dataset
        except Exception as error:  # a foreign or truncated file fails in many ways, all of them the same news
            raise LayerdropError(f"cannot read {self.prefix}.idx: {error}") from error

    def sha256(self) -> str:
        """SHA-256 over the split's files and the dictionaries: names and contents, in name order.

        Two folders have the same hash if and only if a model sees the same test in both.
        """
        digest = hashlib.sha256()
        for path in self._files():
            digest.update(f"{path.relative_to(self.root).as_posix()}\0{checkpoint.sha256(path)}\n".encode())
        return digest.hexdigest()

    def _files(self) -> list[Path]:
        if self.kind == CLASSIFICATION:
            found = [*self.root.glob(f"*/{self.name}.*"), *self.root.glob("*/dict.txt")]
        elif self.kind == TRANSLATION:
            pair = "-".join(self.languages)
            texts = [self.root / f"{self.name}.{language}" for language in self.languages]
            dictionaries = [self.root / f"dict.{language}.txt" for language in self.languages]
            found = [*self.root.glob(f"{self.name}.{pair}.*"), *texts, *dictionaries]
        else:
            found = [self.root / name for name in (f"{self.name}.bin", f"{self.name}.idx", "dict.txt")]
        return sorted(path for path in found if path.is_file())


def find_split(data: str | os.PathLike, split: str) -> Split:
    """The split named *split* of the folder *data*.

    Raises:
        LayerdropError: the folder has none, or the split in more than one language pair.
    """
    root = Path(data)
    if (root / "input0").is_dir():
        found = Split(root, split, CLASSIFICATION)
    elif pairs := {path.name.split(".")[-3] for path in root.glob(f"{split}.*-*.*.idx")}:
        if len(pairs) > 1:
            raise LayerdropError(f"{data} has '{split}' of several language pairs: {', '.join(sorted(pairs))}")
        source, _, target = pairs.pop().partition("-")
        found = Split(root, split, TRANSLATION, (source, target))
    else:
        found = Split(root, split, LANGUAGE_MODEL)
    if not Path(f"{found.prefix}.idx").is_file():
        raise LayerdropError(f"no split '{split}' in {data}: {found.prefix}.idx is missing")
    return found
