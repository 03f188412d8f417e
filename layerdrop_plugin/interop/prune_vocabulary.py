"""A corpus, or a plan, to the rows of the embeddings that stay, and the dictionaries and tokenizer of them."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import LayerdropError
from ..pruning.parent import Parent
from ..pruning.vocabulary import FINGERPRINTS, SPECIAL, PrunedVocabulary, VocabularyPlan
from .dictionary_file import DictionaryFile
from .piece_tokenizers import Pieces, SentencePiece, TokenizerJson, find_tokenizer

CHARACTERS = ("corpus", "all")
FORMATS = ("text", "pieces")
_LINES = 1000  # tokenised at once
_MARKS = ("\N{LOWER ONE EIGHTH BLOCK}", "##", "\u0120")  # that pieces begin with and words of a text do not


@dataclass(frozen=True)
class VocabularyRules:
    """What to keep of a model's vocabularies.

    Attributes:
        files: side (``source``, ``target``) -> files of text or pieces; of a side that is not named all stays.
        folder: holds the parent's dictionaries and its tokenizer.
        characters: one of CHARACTERS: keep the single characters of the corpus, or every one.
        format: one of FORMATS; None: text if there is a tokenizer.
    """

    files: Mapping[str, list[str]]
    folder: Path
    characters: str = CHARACTERS[0]
    format: str | None = None


@dataclass(frozen=True)
class RewrittenVocabulary:
    """What :func:`prune_vocabulary` makes.

    Attributes:
        vocabulary: the rows that stay and their symbols.
        files: name, in the child's folder -> contents.
        notes: lines that say what was found.
    """

    vocabulary: PrunedVocabulary
    files: dict[str, bytes]
    notes: list[str] = field(default_factory=list)


def prune_vocabulary(parent: Parent, rules: VocabularyRules, plan: VocabularyPlan | None = None) -> RewrittenVocabulary:
    """Choose the rows that stay, unless a *plan* says them, and rewrite dictionaries and tokenizer.

    Raises:
        LayerdropError: files that are missing, unreadable or not the parent's; a corpus that keeps nothing; sides that
            cannot be pruned alone.
    """
    dictionaries = _dictionaries(parent, rules.folder)
    tokenizer = find_tokenizer(rules.folder)
    notes = [f"tokenizer: {rules.folder / tokenizer.name}" if tokenizer else f"no tokenizer in {rules.folder}"]
    if plan is None:
        plan, kept = _by_corpora(parent, rules, dictionaries, tokenizer, notes)
    else:
        plan.validate(parent.vocabulary_sizes, parent.shares_vocabulary)
        _refuse_half(tokenizer, dictionaries, dict(plan.items()))
        kept = set() if tokenizer is None else _needed_by_plan(plan, dictionaries, tokenizer)
    files = _dictionary_files(parent, rules.folder, dictionaries, plan)
    if tokenizer is not None:
        child = tokenizer.pruned(kept)
        _check_texts(tokenizer, child, rules)
        files |= child.files()
    symbols = {side: _left(of, plan.get(side)) for side, of in dictionaries.items()}
    return RewrittenVocabulary(PrunedVocabulary(plan, symbols), files, notes)


def _by_corpora(
    parent: Parent,
    rules: VocabularyRules,
    dictionaries: Mapping[str, DictionaryFile],
    tokenizer: SentencePiece | TokenizerJson | None,
    notes: list[str],
) -> tuple[VocabularyPlan, set[str]]:
    """The plan, and the symbols that the tokenizer keeps; appends to *notes*."""
    corpora = {side: list(files) for side, files in rules.files.items() if files}
    missing = next((side for side in corpora if side not in dictionaries), None)
    if missing:
        raise LayerdropError(f"the parent has no {missing} vocabulary of its own: give all files with --vocab")
    if parent.shares_vocabulary:
        corpora = dict.fromkeys(dictionaries, [file for files in corpora.values() for file in files])
    else:
        _refuse_half(tokenizer, dictionaries, corpora)
    found: dict[str, set[str]] = {}
    for side, files in corpora.items():
        if parent.shares_vocabulary and found:
            found[side] = next(iter(found.values()))
        else:
            found[side] = _needed(files, rules, dictionaries[side], tokenizer, notes)
    both = set().union(*found.values())  # one tokenizer writes what both sides read
    kept = dict.fromkeys(found, both) if tokenizer else found
    return VocabularyPlan(**{side: dictionaries[side].rows(kept[side]) for side in found}), both


def _needed_by_plan(plan: VocabularyPlan, dictionaries: Mapping[str, DictionaryFile], tokenizer) -> set[str]:
    """The pieces that the tokenizer keeps: what those of a *plan* need, and those without a row, which cost nothing."""
    kept = {dictionaries[side].symbols[row] for side, rows in plan.items() for row in rows}
    without = {symbol for symbol in tokenizer.symbols if not any(symbol in of for of in dictionaries.values())}
    return tokenizer.needed(kept | without, set(), ())


def _refuse_half(tokenizer, dictionaries: Mapping, named: Mapping) -> None:
    if tokenizer is not None and set(named) != set(dictionaries):
        other = next(side for side in dictionaries if side not in named)
        raise LayerdropError(
            f"{tokenizer.name} makes the pieces of both sides: say what to keep of the {other} vocabulary too"
            " (--vocab, --target-vocab)"
        )


def _needed(files, rules: VocabularyRules, dictionary: DictionaryFile, tokenizer, notes: list[str]) -> set[str]:
    """The symbols that the *files* use, and those that tokenising needs beside them."""
    used, letters, unknown = _used(files, _format(files, rules, dictionary, tokenizer), dictionary, tokenizer)
    if not any(symbol in dictionary for symbol in used - set(dictionary.symbols[:SPECIAL])):
        raise LayerdropError(
            f"{', '.join(files)}: nothing in it is in {dictionary.path}, so no row would be kept; is it text, or are"
            " these pieces (--vocab-format) of this model?"
        )
    if unknown:
        notes.append(f"not in {dictionary.path.name}, so unknown as before: {len(unknown):,}, such as {min(unknown)!r}")
    characters = None if rules.characters == "all" else letters
    return used | (tokenizer or Pieces()).needed(used, characters, dictionary.symbols)


def _format(files, rules: VocabularyRules, dictionary: DictionaryFile, tokenizer) -> str:
    """How to read the *files*: as text or as pieces."""
    if tokenizer is None and rules.format == "text":
        raise LayerdropError(
            f"{rules.folder} has no tokenizer (sentencepiece.bpe.model or tokenizer.json) to tokenise text with:"
            " put it there, name its folder with --vocab-from, or give a corpus of pieces"
        )
    if rules.format or tokenizer is None:
        return rules.format or "pieces"
    words = set(itertools.islice((word for line in _lines(files) for word in line.split()), 10**5))
    if all(word in dictionary for word in words) and any(word.startswith(_MARKS) and len(word) > 1 for word in words):
        raise LayerdropError(
            f"{', '.join(files)} looks like pieces, not like text to tokenise: give --vocab-format pieces (or text)"
        )
    return "text"


def _used(files, form: str, dictionary: DictionaryFile, tokenizer) -> tuple[set[str], set[str], set[str]]:
    """What appears in the *files*: symbols, characters, and symbols that the *dictionary* has not."""
    used: set[str] = set()
    letters: set[str] = set()
    lines = _lines(files)
    while batch := list(itertools.islice(lines, _LINES)):
        if form == "pieces":
            used.update(symbol for line in batch for symbol in line.split())
        else:
            encoded = tokenizer.encode(batch)
            used.update(symbol for symbols in encoded for symbol in symbols)
            gap = dictionary.symbols[SPECIAL - 1]
            used |= tokenizer.unknown(line for line, symbols in zip(batch, encoded, strict=True) if gap in symbols)
        letters.update(*batch)
    letters.update(*used)
    return used, letters, {symbol for symbol in used if symbol not in dictionary}


def _check_texts(before, after, rules: VocabularyRules) -> None:
    """Raise LayerdropError unless the rewritten tokenizer splits the text as the one *before* does."""
    if rules.format == "pieces":
        return
    lines = _lines([file for files in rules.files.values() for file in files])
    for number in itertools.count(step=_LINES):
        batch = list(itertools.islice(lines, _LINES))
        if not batch:
            return
        for line, (one, other) in enumerate(zip(before.encode(batch), after.encode(batch), strict=True)):
            if one != other:
                raise LayerdropError(
                    f"line {number + line + 1} of the corpus would be tokenised otherwise than before: {before.name} is"
                    " of a kind that cannot lose pieces; nothing was written"
                )


def _lines(files: Iterable[str]) -> Iterator[str]:
    """The lines of text files.

    Raises:
        LayerdropError: one cannot be read, or is no UTF-8.
    """
    for file in files:
        try:
            with open(file, encoding="utf-8", newline="\n") as opened:
                for line in opened:
                    yield line.rstrip("\r\n")
        except OSError as error:
            raise LayerdropError(f"cannot read the vocabulary file {file}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise LayerdropError(f"the vocabulary file {file} is no UTF-8 text ({error.reason})") from None


def _dictionaries(parent: Parent, folder: Path) -> dict[str, DictionaryFile]:
    """Side -> the parent's dictionary in *folder*."""
    sizes = parent.vocabulary_sizes
    names = {side: _names(parent, side) for side in sizes}
    found: dict[str, DictionaryFile] = {}
    for side, size in sizes.items():
        path = next((folder / name for name in names[side] if (folder / name).is_file()), None)
        if path is None:
            raise LayerdropError(
                f"there is no {' or '.join(names[side])} in {folder}, which says what the rows of the embedding are:"
                " name the folder that has it with --vocab-from"
            )
        found[side] = DictionaryFile(path, size, parent.options.get(FINGERPRINTS[side]))
    if parent.shares_vocabulary and len({tuple(of.symbols) for of in found.values()}) > 1:
        raise LayerdropError(f"source and target share one embedding, but {folder} has a dictionary for each")
    return found


def _names(parent: Parent, side: str) -> list[str]:
    """Names that a *side*'s dictionary may have in a folder, all of which a child's folder gets."""
    if parent.family.one_vocabulary:
        return ["dict.txt", "input0/dict.txt"] if parent.family.stock == "roberta" else ["dict.txt"]
    language = (parent.cfg.get("task") or {}).get(f"{side}_lang")
    if not language:
        raise LayerdropError(f"the parent does not say its {side} language, so its dictionary cannot be found")
    return [f"dict.{language}.txt"]


def _dictionary_files(parent: Parent, folder: Path, dictionaries, plan: VocabularyPlan) -> dict[str, bytes]:
    files = {}
    for side, of in dictionaries.items():
        rows = plan.get(side)
        contents = of.path.read_bytes() if rows is None else of.pruned(rows)
        files |= dict.fromkeys(_names(parent, side), contents)
    labels = folder / "label" / "dict.txt"
    return files | ({"label/dict.txt": labels.read_bytes()} if labels.is_file() else {})


def _left(dictionary: DictionaryFile, rows: tuple[int, ...] | None) -> list[str]:
    return dictionary.symbols if rows is None else [dictionary.symbols[row] for row in rows]
