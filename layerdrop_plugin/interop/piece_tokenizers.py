"""The tokenizer beside a model: text to the symbols of its dictionary, and the same tokenizer with fewer pieces."""

import json
from collections.abc import Iterable
from pathlib import Path

from ..errors import LayerdropError
from .libraries import library
from .prune_sentencepiece import BOUNDARY, SentencePieceModel
from .prune_tokenizer import needed, prune_tokenizer
from .special_tokens import ROLES, SPECIAL_TOKENS
from .tokenizer import TOKENIZER, FolderTokenizer

SENTENCEPIECE = "sentencepiece.bpe.model"


class Pieces:
    """No tokenizer: what makes pieces out of text is not known here."""

    name = None

    def needed(self, used: Iterable[str], characters: set[str] | None, symbols: Iterable[str]) -> set[str]:
        """The symbols that must stay so that what *used* make up is tokenised as before, and other text still is.

        Args:
            used: symbols that appear in a text.
            characters: those whose symbols stay, wherever in a word; None: of all.
            symbols: all those of the dictionary.
        """
        short = ((symbol, _bare(symbol)) for symbol in symbols)
        return set(used) | {
            symbol for symbol, bare in short if len(bare) == 1 and (characters is None or bare in characters)
        }


class SentencePiece:
    """The SentencePiece model in the file *path*.

    Raises:
        LayerdropError: it cannot be read.
    """

    name = SENTENCEPIECE

    def __init__(self, path: Path, contents: bytes | None = None):
        self.path = path
        try:
            contents = path.read_bytes() if contents is None else contents
            self._model = SentencePieceModel(contents)
            self._processor = library("sentencepiece").SentencePieceProcessor(model_proto=contents)
        except (OSError, RuntimeError) as error:
            if isinstance(error, LayerdropError):
                raise
            raise LayerdropError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None

    def encode(self, lines: list[str]) -> list[list[str]]:
        """Symbols of each of the *lines*, as fairseq's ``--bpe sentencepiece`` and dictionary make them."""
        return [" ".join(pieces).split() for pieces in self._processor.Encode(lines, out_type=str)]

    @property
    def symbols(self) -> set[str]:
        """Symbols of all pieces."""
        return {piece.text for piece in self._model.pieces}

    def unknown(self, lines: Iterable[str]) -> set[str]:
        """Symbols that decide that words of *lines* are unknown: none."""
        return set()

    def needed(self, used: Iterable[str], characters: set[str] | None, symbols: Iterable[str]) -> set[str]:
        """As :meth:`Pieces.needed`, of the pieces in the model."""
        return self._model.needed(used, characters)

    def pruned(self, kept: set[str]) -> "SentencePiece":
        """The tokenizer with only the *kept* pieces."""
        return SentencePiece(self.path, self._model.pruned(kept))

    def files(self) -> dict[str, bytes]:
        """Name -> contents of the files that a model's folder has of it."""
        return {SENTENCEPIECE: self._model.contents}


class TokenizerJson:
    """The tokenizer.json in *folder*.

    Raises:
        LayerdropError: it cannot be read, or is of a kind that cannot lose pieces.
    """

    name = TOKENIZER

    def __init__(self, folder: Path):
        self._folder = FolderTokenizer.load(folder)
        self._set(json.loads((folder / TOKENIZER).read_text(encoding="utf-8")))

    def _set(self, plain: dict) -> None:
        self._plain = plain
        tokenizer = self._folder.tokenizer
        self._token = {symbol: tokenizer.id_to_token(number) for number, symbol in self._folder.symbols.items()}
        self._symbol = {token: symbol for symbol, token in self._token.items()}

    def encode(self, lines: list[str]) -> list[list[str]]:
        """Symbols of each of the *lines*, as ``--bpe tokenizer_json`` makes them."""
        found = self._folder.tokenizer.encode_batch(lines, add_special_tokens=False)  # faster than one by one
        return [[self._folder.symbols[number] for number in encoding.ids] for encoding in found]

    @property
    def symbols(self) -> set[str]:
        """Symbols of all pieces."""
        return set(self._token)

    def unknown(self, lines: Iterable[str]) -> set[str]:
        """Symbols that decide that words of *lines* are unknown.

        WordPiece gives a word up where nothing fits behind the longest pieces before; without those, others might fit.
        """
        found: set[str] = set()
        if self._plain["model"]["type"] != "WordPiece":
            return found
        for line in lines:
            for word in self._words(line):
                found |= {self._symbol[piece] for piece in self._longest(word)}
        return found

    def _words(self, line: str) -> list[str]:
        tokenizer = self._folder.tokenizer
        text = tokenizer.normalizer.normalize_str(line) if tokenizer.normalizer else line
        return (
            [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)] if tokenizer.pre_tokenizer else [text]
        )

    def _longest(self, word: str) -> list[str]:
        """The pieces that WordPiece takes from the beginning of a *word*, until nothing fits."""
        model, pieces, start = self._plain["model"], [], 0
        if len(word) > model.get("max_input_chars_per_word", 100):
            return pieces
        while start < len(word):
            prefix = (model.get("continuing_subword_prefix") or "") if start else ""
            ends = (end for end in range(len(word), start, -1) if prefix + word[start:end] in model["vocab"])
            end = next(ends, None)
            if end is None:
                return pieces
            pieces.append(prefix + word[start:end])
            start = end
        return pieces

    def needed(self, used: Iterable[str], characters: set[str] | None, symbols: Iterable[str]) -> set[str]:
        """As :meth:`Pieces.needed`, of the pieces in the tokenizer."""
        tokens = {self._token[symbol] for symbol in used if symbol in self._token}
        special = {self._token[symbol] for symbol in ROLES if symbol in self._token}
        stay = needed(self._plain, tokens | special, characters)
        return {self._symbol[token] for token in stay if token in self._symbol}

    def pruned(self, kept: set[str]) -> "TokenizerJson":
        """The tokenizer with only the *kept* pieces."""
        tokens = {self._token[symbol] for symbol in kept if symbol in self._token}
        child = object.__new__(TokenizerJson)
        plain = prune_tokenizer(self._plain, tokens)
        tokenizer = library("tokenizers").Tokenizer.from_str(json.dumps(plain))
        child._folder = FolderTokenizer(tokenizer, self._folder.special, self._folder.path)
        child._set(plain)
        return child

    def files(self) -> dict[str, bytes]:
        """Name -> contents of the files that a model's folder has of it."""
        special = {ROLES[symbol]: token for symbol, token in self._folder.special.items()}
        return {
            TOKENIZER: (json.dumps(self._plain, ensure_ascii=False, indent=2) + "\n").encode(),
            SPECIAL_TOKENS: (json.dumps(special, ensure_ascii=False, indent=2) + "\n").encode(),
        }


def find_tokenizer(folder: Path) -> SentencePiece | TokenizerJson | None:
    """The tokenizer in *folder*, None where there is none.

    Raises:
        LayerdropError: it cannot be read, or there are two.
    """
    found = [name for name in (SENTENCEPIECE, TOKENIZER) if (folder / name).is_file()]
    if len(found) > 1:
        raise LayerdropError(f"{folder} has {' and '.join(found)}: leave only the model's own tokenizer there")
    if not found:
        return None
    return SentencePiece(folder / SENTENCEPIECE) if found[0] == SENTENCEPIECE else TokenizerJson(folder)


def _bare(symbol: str) -> str:
    """*symbol* without the marks that say where in a word it stands."""
    bare = symbol.removeprefix(BOUNDARY).removeprefix("##").removesuffix("@@").removesuffix("</w>")
    return bare or symbol
