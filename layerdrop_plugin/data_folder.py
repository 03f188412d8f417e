"""Binarised data folders as fairseq-preprocess leaves them, of three kinds: what a split holds, and its hash.

classification   input0/SPLIT.idx, label/…, each with its dict.txt
translation      SPLIT.SRC-TGT.SRC.idx, SPLIT.SRC-TGT.TGT.idx, dict.SRC.txt, dict.TGT.txt; perhaps the text that was
                 binarised, one sentence a line: SPLIT.SRC, SPLIT.TGT
language-model   SPLIT.idx, dict.txt
"""

import hashlib
import itertools
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
    """One split of a data folder: the files that fairseq reads of it.

    Attributes:
        roots: the folder; of a training set in several folders all of them.
        name: the split's.
        kind: CLASSIFICATION, TRANSLATION or LANGUAGE_MODEL.
        languages: (source, target) of a translation: what a model reads and what it writes. The files may name them the
            other way round (test.TGT-SRC.SRC.idx). None of the other kinds.
        training: whether it is a training set, which goes on in NAME1, NAME2, ... of the same folder.
    """

    roots: tuple[Path, ...]
    name: str
    kind: str
    languages: tuple[str, str] | None = None
    training: bool = False

    @property
    def root(self) -> Path:
        """The folder, of several the first: fairseq takes the dictionaries from it."""
        return self.roots[0]

    @property
    def prefixes(self) -> list[Path]:
        """Paths of the indexed datasets with the inputs, without their suffixes, in the order that fairseq reads them.

        Raises:
            LayerdropError: a folder has none.
        """
        return [prefix for root in self.roots for prefix in self._prefixes(root)]

    def text(self, language: str) -> Path:
        """Path of the text of *language* that was binarised (of several files the first); it may not be there."""
        return self.root / f"{self.name}.{language}"

    def binarised(self, language: str) -> list[str]:
        """The sentences of *language* of a translation as they were binarised, with spaces between their pieces.

        Raises:
            LayerdropError: they or their dictionary cannot be read.
        """
        from fairseq.data import Dictionary, data_utils

        prefix = str(self.prefixes[0]).removesuffix(self.languages[0]) + language
        try:
            with quiet():
                words = Dictionary.load(str(self.root / f"dict.{language}.txt"))
                return [words.string(sentence) for sentence in data_utils.load_indexed_dataset(prefix, words)]
        except Exception as error:  # as in `_sizes`
            raise LayerdropError(f"cannot read {prefix}.idx with dict.{language}.txt: {error}") from error

    def sizes(self) -> np.ndarray:
        """Number of tokens of every example: a line of the text that was binarised, in its order.

        Raises:
            LayerdropError: the split is unreadable or empty.
        """
        return np.concatenate([self._sizes(prefix) for prefix in self.prefixes])

    def sha256(self) -> str:
        """SHA-256 over the split's files and the dictionaries: names and contents, in name order, folder by folder.

        Two folders have the same hash if and only if a model sees the same test in both.
        """
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
        except Exception as error:  # a foreign or truncated file fails in many ways, all of them the same news
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
    """The split named *split* of the folder *data*.

    Args:
        data: path of the folder, or of several joined with colons, as fairseq takes them: of which each has a part of
            the training set, and the first all else.
        languages: source and target of the model that it is for; by default what the names of the files say.
        training: whether fairseq would train on it: then it may be in several files and folders.

    Raises:
        LayerdropError: the folder has none, or not in these languages, or in several pairs and none is asked for.
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
    found.prefixes  # noqa: B018 (which says so if a folder has none)
    return found


def folders(data: str | os.PathLike) -> list[Path]:
    """The folders that fairseq takes *data* for."""
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
