"""The order of the embeddings' rows: a Hugging Face tokenizer's ids, and the rows of a fairseq dictionary."""

from dataclasses import dataclass

from ..errors import LayerdropError
from .special_tokens import MASK, ROLES
from .tokenizer import FolderTokenizer


@dataclass(frozen=True)
class Rows:
    """The rows of an imported model.

    Attributes:
        order: fairseq's row -> the folder's; None for a ``<mask>`` that the folder does not have.
        symbols: fairseq's row -> its symbol.
        surplus: how many are called madeupwordNNNN, as no piece of the tokenizer has them.
    """

    order: tuple[int | None, ...]
    symbols: tuple[str, ...]
    surplus: int


def rows_of(tokenizer: FolderTokenizer, rows: int) -> Rows:
    """The order in which fairseq has the *rows* that belong to the ids of *tokenizer*: special tokens first.

    Raises:
        LayerdropError: the tokenizer has more pieces than there are rows.
    """
    symbols, beyond = dict(tokenizer.symbols), max(tokenizer.symbols, default=0)
    if beyond >= rows:
        raise LayerdropError(
            f"the tokenizer {tokenizer.path} has a piece of number {beyond} ({symbols[beyond]}), the embeddings have"
            f" {rows} rows: they do not belong together"
        )
    first = [tokenizer.ids[symbol] for symbol in list(ROLES)[:4]]
    order: list[int | None] = first + [row for row in range(rows) if row not in first]
    unnamed = [row for row in order if row not in symbols]
    if MASK not in tokenizer.ids:
        if unnamed:
            symbols[unnamed.pop(0)] = MASK
        else:
            order.append(None)
            symbols[None] = MASK
    taken, number = set(symbols.values()), 0
    for row in unnamed:
        while f"madeupword{number:04d}" in taken:
            number += 1
        symbols[row] = f"madeupword{number:04d}"
        number += 1
    return Rows(tuple(order), tuple(symbols[row] for row in order), len(unnamed))
