"""A model's own tokenizer.json, its pieces under the names that the model's fairseq dictionary has for them."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoint import write_text_atomic
from ..errors import LayerdropError
from .libraries import library
from .special_tokens import ROLES, special_tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class PairFormat:
    """How a tokenizer puts two sentences together.

    Attributes:
        separators: how many ``</s>`` stand between them, 1 or 2.
        segments: whether the second one's segment is 1; otherwise everything is segment 0.
    """

    separators: int
    segments: bool

    @property
    def options(self) -> dict[str, int]:
        """fairseq's options for sentence_prediction whose inputs look like this; single sentences, too."""
        return {"init-token": 0} | ({"separator-token": 2} if self.separators == 2 else {})


ROBERTA = PairFormat(2, segments=False)  # fairseq's own: what holds where a tokenizer does not say


class FolderTokenizer:
    """The tokenizer of a folder: text to the symbols of a fairseq dictionary, and back.

    Args:
        tokenizer: of the library ``tokenizers``; what it says of truncation and padding is not used.
        special: fairseq's symbol -> the tokenizer's token, see special_tokens.py.
        path: for messages.
    """

    def __init__(self, tokenizer: "Tokenizer", special: dict[str, str], path: Path):
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer, self.special, self.path = tokenizer, special, path

    @classmethod
    def load(cls, folder: Path) -> "FolderTokenizer":
        """Read tokenizer.json and special_tokens_map.json of *folder*.

        Raises:
            LayerdropError: there is no readable tokenizer, or it lacks special tokens that fairseq needs; the library
                ``tokenizers`` is not installed.
        """
        path = Path(folder) / TOKENIZER
        if not path.is_file():
            raise LayerdropError(f"{path} does not exist, from which text is tokenised: copy the model's own there")
        try:
            tokenizer = library("tokenizers").Tokenizer.from_file(str(path))
        except LayerdropError:
            raise
        except Exception as error:  # the library raises no other class
            raise LayerdropError(f"{path} is no tokenizer: {str(error).splitlines()[0]}") from None
        return cls(tokenizer, special_tokens(path.parent, tokenizer.get_vocab()), path)

    @cached_property
    def symbols(self) -> dict[int, str]:
        """The tokenizer's id -> the symbol in fairseq's dictionary.

        Raises:
            LayerdropError: two tokens would have one symbol.
        """
        role = {token: symbol for symbol, token in self.special.items()}
        vocabulary = self.tokenizer.get_vocab()
        found = {number: role.get(token) or symbol_of(token) for token, number in vocabulary.items()}
        if len(set(found.values())) < len(vocabulary):
            seen = set()
            twice = next(symbol for symbol in found.values() if symbol in seen or seen.add(symbol))
            raise LayerdropError(f"{self.path}: two of its tokens would be {twice} in fairseq's dictionary")
        return found

    @cached_property
    def ids(self) -> dict[str, int]:
        """The reverse of ``symbols``."""
        return {symbol: number for number, symbol in self.symbols.items()}

    def encode(self, text: str) -> list[str]:
        """The symbols of the pieces of *text*, without the special tokens around a sentence."""
        return [self.symbols[number] for number in self.tokenizer.encode(text, add_special_tokens=False).ids]

    def decode(self, symbols: Iterable[str]) -> str:
        """The text of pieces; symbols that are not the tokenizer's are left out."""
        numbers = [self.ids[symbol] for symbol in symbols if symbol in self.ids]
        return self.tokenizer.decode(numbers, skip_special_tokens=False)

    def begins_word(self, symbol: str) -> bool:
        """Whether a word begins with the piece *symbol*."""
        if symbol in ROLES:
            return True
        prefix = getattr(self.tokenizer.model, "continuing_subword_prefix", None)
        return not symbol.startswith(prefix) if prefix else symbol.startswith(("\u2581", "\u0120"))

    @cached_property
    def pair_format(self) -> PairFormat | None:
        """How it puts two sentences together; None where it puts no special tokens around sentences at all.

        Raises:
            LayerdropError: it does so in a way that fairseq's data and this plugin's segments do not have.
        """
        begin, end = (self.tokenizer.token_to_id(self.special[symbol]) for symbol in ("<s>", "</s>"))
        bare = self.tokenizer.encode("a", add_special_tokens=False).ids
        single, pair = self.tokenizer.encode("a"), self.tokenizer.encode("a", "a")
        if single.ids == bare:
            return None
        length = len(bare)
        for separators in (1, 2):
            if single.ids == [begin, *bare, end] and pair.ids == [begin, *bare, *[end] * separators, *bare, end]:
                first = length + 2
                if not any(single.type_ids) and not any(pair.type_ids):
                    return PairFormat(separators, segments=False)
                if separators == 1 and pair.type_ids == [0] * first + [1] * (length + 1) and not any(single.type_ids):
                    return PairFormat(1, segments=True)
        raise LayerdropError(
            f"{self.path} makes {' '.join(pair.tokens)} with segments {' '.join(map(str, pair.type_ids))} of a pair:"
            " supported are CLS a SEP b SEP and CLS a SEP SEP b SEP, with segments 0 and 1 (one SEP) or 0 alone"
        )


def encode_file(tokenizer: FolderTokenizer, path: str | os.PathLike) -> int:
    """Write the pieces of every line of the file *path* to *path*.pieces; returns how many lines it has.

    Raises:
        LayerdropError: it cannot be read, or of a line nothing is left.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LayerdropError(f"{path} cannot be read as UTF-8 text: {error}") from None
    lines = [tokenizer.encode(line) for line in text.removesuffix("\n").split("\n")]
    empty = next((number for number, pieces in enumerate(lines, 1) if not pieces), None)
    if empty:
        raise LayerdropError(f"{path}, line {empty}: nothing is left of it after tokenization")
    write_text_atomic(f"{path}.pieces", "".join(f"{' '.join(pieces)}\n" for pieces in lines))
    return len(lines)


def symbol_of(token: str) -> str:
    """The symbol of a *token* that is not special: itself, or a spelling that text files keep apart.

    White space in it is written as its code, and so is the first character of a token that looks like one of fairseq's
    special symbols.
    """
    if not token or token in ROLES:
        token, rest = token[:1], token[1:]
        return (_code(token) if token else "<empty>") + rest
    return "".join(_code(letter) if letter.isspace() else letter for letter in token)


def _code(letter: str) -> str:
    return f"<U+{ord(letter):04X}>"
