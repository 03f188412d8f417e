"""Binarised data folders as fairseq-preprocess leaves them, of three kinds: what a split holds, and its hash.

classification   input0/SPLIT.idx, label/…, each with its dict.txt
translation      SPLIT.SRC-TGT.SRC.idx, SPLIT.SRC-TGT.TGT.idx, dict.SRC.txt, dict.TGT.txt; perhaps the text that was
                 binarised, one sentence a line: SPLIT.SRC, SPLIT.TGT
language-model   SPLIT.idx, dict.txt
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import checkpoint
from ..errors import LayerdropError
from .signature import quiet

CLASSIFICATION, TRANSLATION, LANGUAGE_MODEL = "classification", "translation", "language-model"


@dataclass(frozen=True)
class Split:
    """One split of a data folder: the files that fairseq reads of it.

    Attributes:
        root: the folder.
        name: the split's.
        kind: CLASSIFICATION, TRANSLATION or LANGUAGE_MODEL.
        languages: (source, target) of a translation: what a model reads and what it writes. The files may name them the
            other way round (test.TGT-SRC.SRC.idx). None of the other kinds.
    """

    root: Path
    name: str
    kind: str
    languages: tuple[str, str] | None = None

    @property
    def prefix(self) -> Path:
        """Path of the indexed dataset with the inputs, without its suffix."""
        if self.kind == TRANSLATION:
            source, target = self.languages
            pairs = (f"{source}-{target}", f"{target}-{source}")
            paths = [self.root / f"{self.name}.{pair}.{source}" for pair in pairs]
            return next(filter(_exists, paths), paths[0])  # as fairseq looks for them
        return self.root / ("input0" if self.kind == CLASSIFICATION else "") / self.name

    def text(self, language: str) -> Path:
        """Path of the text of *language* that was binarised; the file may not be there."""
        return self.root / f"{self.name}.{language}"

    def sizes(self):
        """Number of tokens of every example: a line of the text that was binarised, in its order.

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

    def sha256(self):
        """SHA-256 over the split's files and the dictionaries: names and contents, in name order.

        Two folders have the same hash if and only if a model sees the same test in both.
        """
        digest = hashlib.sha256()
        for path in self._files():
            digest.update(f"{path.relative_to(self.root).as_posix()}\0{checkpoint.sha256(path)}\n".encode())
        return digest.hexdigest()

    def _files(self):
        if self.kind == CLASSIFICATION:
            found = [*self.root.glob(f"*/{self.name}.*"), *self.root.glob("*/dict.txt")]
        elif self.kind == TRANSLATION:
            pair = self.prefix.name.removesuffix(f".{self.languages[0]}")
            texts = [self.text(language) for language in self.languages]
            dictionaries = [self.root / f"dict.{language}.txt" for language in self.languages]
            found = [*self.root.glob(f"{pair}.*"), *texts, *dictionaries]
        else:
            found = [self.root / name for name in (f"{self.name}.bin", f"{self.name}.idx", "dict.txt")]
        return sorted(path for path in found if path.is_file())


def find_split(data, split: str, languages: tuple[str, str] | None = None) -> Split:
    """The split named *split* of the folder *data*.

    Args:
        languages: source and target of the model that it is for; by default what the names of the files say.

    Raises:
        LayerdropError: the folder has none, or not in these languages, or in several pairs and none is asked for.
    """
    root = Path(data)
    if (root / "input0").is_dir():
        found = Split(root, split, CLASSIFICATION)
    elif pairs := {path.name.split(".")[-3] for path in root.glob(f"{split}.*-*.*.idx")}:
        found = Split(root, split, TRANSLATION, languages or _only_pair(pairs, data, split))
        if languages and not _exists(found.prefix):
            raise LayerdropError(
                f"{data} has '{split}' of {', '.join(sorted(pairs))}, but the model translates {'-'.join(languages)}"
            )
    else:
        found = Split(root, split, LANGUAGE_MODEL)
    if not _exists(found.prefix):
        raise LayerdropError(f"no split '{split}' in {data}: {found.prefix}.idx is missing")
    return found


def _only_pair(pairs, data, split):
    if len(pairs) > 1:
        raise LayerdropError(f"{data} has '{split}' of several language pairs: {', '.join(sorted(pairs))}")
    source, _, target = next(iter(pairs)).partition("-")
    return source, target


def _exists(prefix):
    return Path(f"{prefix}.idx").is_file()
