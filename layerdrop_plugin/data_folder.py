"""Binarised data folders of fairseq-preprocess: the files, sizes, text and hash of their splits.

There are three kinds of folders:

classification   input0/SPLIT.idx, label/…, each with its dict.txt
translation      SPLIT.SRC-TGT.SRC.idx, SPLIT.SRC-TGT.TGT.idx, dict.SRC.txt, dict.TGT.txt; optionally the original text
                 with one sentence in each line: SPLIT.SRC, SPLIT.TGT
language-model   SPLIT.idx, dict.txt
"""

import hashlib
import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import checkpoint
from .errors import LayerdropError
from .provenance import quiet

if TYPE_CHECKING:
    from fairseq.data import Dictionary

CLASSIFICATION, TRANSLATION, LANGUAGE_MODEL = "classification", "translation", "language-model"


@dataclass(frozen=True)
class Split:
    """One split of a data folder, with the files that fairseq reads.

    Attributes:
        roots: paths of its folders; only a training set can have several.
        name: name of the split.
        kind: CLASSIFICATION, TRANSLATION or LANGUAGE_MODEL.
        languages: (source, target) language of the model for a translation, else None. The names of the files may have
            them reversed (test.TGT-SRC.SRC.idx).
        training: whether it is a training set, which may continue in NAME1, NAME2, ... of the same folder.
    """

    roots: tuple[Path, ...]
    name: str
    kind: str
    languages: tuple[str, str] | None = None
    training: bool = False

    @property
    def root(self) -> Path:
        """The first folder, from which fairseq reads the dictionaries."""
        return self.roots[0]

    @property
    def prefixes(self) -> list[Path]:
        """Paths of the indexed datasets with the inputs, without suffixes, in the order in which fairseq reads them.

        Raises:
            LayerdropError: a folder has no such files.
        """
        return [prefix for root in self.roots for prefix in self._prefixes(root)]

    def text(self, language: str) -> Path:
        """Path of the original text of *language* (of the first file if there are several); it may not exist."""
        return self.root / f"{self.name}.{language}"

    def binarised(self, language: str) -> list[str]:
        """Read the sentences of *language* of a translation, as subwords with spaces between them.

        Raises:
            LayerdropError: the data or its dictionary cannot be read.
        """
        from fairseq.data import data_utils

        prefix = str(self.prefixes[0]).removesuffix(self.languages[0]) + language
        try:
            with quiet():
                words = self.dictionary(language)
                return [words.string(sentence) for sentence in data_utils.load_indexed_dataset(prefix, words)]
        except Exception as error:  # as in `_sizes`
            raise LayerdropError(f"cannot read {prefix}.idx with dict.{language}.txt: {error}") from error

    def dictionary(self, language: str) -> "Dictionary":
        """The dictionary of *language* of a translation."""
        from fairseq.data import Dictionary

        return Dictionary.load(str(self.root / f"dict.{language}.txt"))

    def sizes(self) -> np.ndarray:
        """Number of tokens of every example (examples,), in the order of the original text.

        Raises:
            LayerdropError: the split cannot be read or is empty.
        """
        return np.concatenate([self._sizes(prefix) for prefix in self.prefixes])

    def sha256(self) -> str:
        """SHA-256 of names and contents of the split's files and of the dictionaries, sorted by name in each folder."""
        digest = hashlib.sha256()
        for root in self.roots:
            for path in self._files(root):
                digest.update(f"{path.relative_to(root).as_posix()}\0{checkpoint.sha256(path)}\n".encode())
        return digest.hexdigest()

    def _prefixes(self, root):
        paths = (self._prefix(root, f"{self.name}{number or ''}") for number in itertools.count())
        found = list(itertools.takewhile(_exists, paths if self.training else [next(paths)]))
        if not found:
            raise LayerdropError(f"no split '{self.name}' in {root}: {self._prefix(root, self.name)}.idx is missing")
        return found

    def _prefix(self, root, name):
        if self.kind == TRANSLATION:
            source, target = self.languages
            pairs = (f"{source}-{target}", f"{target}-{source}")
            paths = [root / f"{name}.{pair}.{source}" for pair in pairs]
            return next(filter(_exists, paths), paths[0])  # as fairseq looks for them
        return root / ("input0" if self.kind == CLASSIFICATION else "") / name

    def _sizes(self, prefix):
        from fairseq.data import data_utils

        contents = Path(f"{prefix}.bin")
        if contents.is_file() and contents.stat().st_size == 0:  # fairseq cannot even open it
            raise LayerdropError(f"the split '{self.name}' in {self.root} has no examples: {contents} is empty")
        try:
            with quiet():
                dataset = data_utils.load_indexed_dataset(str(prefix))
                return np.array(dataset.sizes)  # a copy: fairseq unmaps the file below its array with the dataset
        except Exception as error:  # a foreign or truncated file fails with many types of errors
            raise LayerdropError(f"cannot read {prefix}.idx: {error}") from error

    def _files(self, root):
        names = [prefix.name for prefix in self._prefixes(root)]
        if self.kind == CLASSIFICATION:
            found, dictionaries = [f"*/{name}.*" for name in names], ["*/dict.txt"]
        elif self.kind == TRANSLATION:
            pairs = [name.removesuffix(f".{self.languages[0]}") for name in names]  # train.de-en, train1.de-en, ...
            texts = [f"{pair.rpartition('.')[0]}.{language}" for pair in pairs for language in self.languages]
            found = [*(f"{pair}.*" for pair in pairs), *texts]
            dictionaries = [f"dict.{language}.txt" for language in self.languages]
        else:
            found, dictionaries = [f"{name}.{suffix}" for name in names for suffix in ("bin", "idx")], ["dict.txt"]
        patterns = found + (dictionaries if root == self.root else [])
        return sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()})


def find_split(
    data: str | os.PathLike, split: str, languages: tuple[str, str] | None = None, training: bool = False
) -> Split:
    """Find a split.

    Args:
        data: path of the data folder, or of several folders joined with colons as for fairseq. Each of them has a part
            of the training set; the other splits are in the first.
        split: name of the split.
        languages: source and target language of the model; by default those in the names of the files.
        training: whether it is the training set, which may be in several files and folders.

    Raises:
        LayerdropError: there is no such split, it is not in these languages, or it is in several pairs of languages and
            *languages* is None.
    """
    roots = folders(data)
    root = roots[0]
    if (root / "input0").is_dir():
        kind, languages = CLASSIFICATION, None
    elif pairs := {path.name.split(".")[-3] for path in root.glob(f"{split}.*-*.*.idx")}:
        if languages and not {"-".join(languages), "-".join(languages[::-1])} & pairs:
            raise LayerdropError(
                f"{root} has '{split}' of {', '.join(sorted(pairs))}, but the model translates {'-'.join(languages)}"
            )
        kind, languages = TRANSLATION, tuple(languages or _only_pair(pairs, root, split))
    else:
        kind, languages = LANGUAGE_MODEL, None
    found = Split(tuple(roots if training else roots[:1]), split, kind, languages, training)
    found.prefixes  # noqa: B018 (raises LayerdropError if a folder has none)
    return found


def folders(data: str | os.PathLike) -> list[Path]:
    """The paths of the folders in *data*, which fairseq splits at colons."""
    from fairseq.utils import split_paths

    return [Path(folder) for folder in split_paths(str(data))]


def read_sentences(path: Path, count: int) -> list[str]:
    """The lines of the text file *path* of a data folder, one sentence a line.

    Raises:
        LayerdropError: the file cannot be read, or does not have *count* lines.
    """
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise LayerdropError(f"cannot read {path}: {error}") from error
    if len(lines) != count:
        raise LayerdropError(f"{path} has {len(lines)} lines, but the data folder has {count} sentences")
    return lines


def _only_pair(pairs, root, split):
    if len(pairs) > 1:
        raise LayerdropError(f"{root} has '{split}' of several language pairs: {', '.join(sorted(pairs))}")
    return next(iter(pairs)).split("-", 1)


def _exists(prefix):
    return Path(f"{prefix}.idx").is_file()
