"""Byte-pair encoding of one piece: which smaller pieces it is merged from."""

import itertools
from collections.abc import Callable, Iterable


def intermediate_pieces(piece: str, first: Iterable[str], merge: Callable[[str, str], tuple[float, str] | None]) -> set:
    """The pieces that appear while *piece* alone is put together, itself included.

    They are those of a word in which it appears, too: no merge then crosses its ends.

    Args:
        first: the symbols that merging starts from, one for each character.
        merge: of two symbols beside each other their rank, the lowest of which is merged first, and what they become;
            None where they stay apart.

    Returns:
        set: pieces; of one that no sequence of merges makes only what its characters become.
    """
    symbols = list(first)
    seen = {piece, *symbols}
    while True:
        pairs = enumerate(itertools.pairwise(symbols))
        found = [(*made, place) for place, pair in pairs if (made := merge(*pair))]
        if not found:
            return seen
        _, made, place = min(found, key=lambda each: (each[0], each[2]))
        symbols[place : place + 2] = [made]
        seen.add(made)
