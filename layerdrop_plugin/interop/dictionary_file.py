"""A model's dict.txt, with a symbol for each row of its embedding, and the same file of the rows that stay."""

from collections.abc import Iterable
from pathlib import Path

from ..errors import LayerdropError
from ..pruning.vocabulary import SPECIAL, symbols_sha256
from .special_tokens import MASK


class DictionaryFile:
    """The file *path* of an embedding with so many *rows*; *option* names the command's option for its folder.

    Attributes:
        symbols: one a row; ``<mask>``, which fairseq's tasks add if the file lacks it, is the last one.

    Raises:
        LayerdropError: it cannot be read, or it is the dictionary of another embedding.
    """

    def __init__(self, path: Path, rows: int, sha256: str | None = None, option: str = "--vocab-from"):
        from fairseq.data import Dictionary

        self.path = path
        try:
            self._dictionary = Dictionary.load(str(path))
        except Exception as error:  # fairseq raises whatever a foreign file makes it hit upon
            raise LayerdropError(f"{path} is no dictionary of fairseq's: {str(error).splitlines()[0]}") from None
        self.symbols = list(self._dictionary.symbols)
        if len(self.symbols) == rows - 1 and MASK not in self._dictionary:
            self.symbols.append(MASK)
        if len(self.symbols) != rows or (sha256 and sha256 != symbols_sha256(self.symbols)):
            other = f"{len(self.symbols):,} symbols" if len(self.symbols) != rows else "other symbols"
            raise LayerdropError(
                f"{path} is another model's dictionary: it has {other}, the embedding {rows:,} rows; name the folder of"
                f" the model's own with {option}"
            )
        # A symbol may stand there twice (#fairseq:overwrite); the last place counts.
        self._row = {symbol: row for row, symbol in enumerate(self.symbols)}

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._row

    def rows(self, symbols: Iterable[str]) -> tuple[int, ...]:
        """The rows of special symbols and those of *symbols* that are there, ascending."""
        found = {self._row[symbol] for symbol in (*symbols, MASK) if symbol in self._row}
        return tuple(sorted(found | set(range(SPECIAL))))

    def pruned(self, rows: Iterable[int]) -> bytes:
        """The file's contents with only these *rows*."""
        lines, before = [], set(self.symbols[:SPECIAL])
        for row in rows:
            if SPECIAL <= row < len(self._dictionary):
                symbol = self.symbols[row]
                again = " #fairseq:overwrite" if symbol in before else ""
                lines.append(f"{symbol} {self._dictionary.count[row]}{again}\n")
                before.add(symbol)
        return "".join(lines).encode()
