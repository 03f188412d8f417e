"""Rows of the embeddings that a child keeps, and the fingerprint of the dictionary that goes with them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import LayerdropError
from .ranges import check_ascending, plain_numbers, read_kept

SIDES = ("source", "target")
SPECIAL = 4  # the first rows of every fairseq dictionary: begin, padding, end, unknown
FINGERPRINTS = {"source": "dictionary_sha256", "target": "target_dictionary_sha256"}  # side -> option of the model


@dataclass(frozen=True)
class VocabularyPlan:
    """Rows kept of the embeddings, ascending, in the parent's numbers; None keeps all.

    Attributes:
        source: of the source side, or of the one vocabulary that a model has.
        target: of a translation's target side; the same rows where both sides share one embedding.
    """

    source: tuple[int, ...] | None = None
    target: tuple[int, ...] | None = None

    def get(self, side: str) -> tuple[int, ...] | None:
        """The rows kept on a *side*, None: all."""
        return getattr(self, side)

    def items(self) -> list[tuple[str, tuple[int, ...]]]:
        """(side, rows kept) of the sides that do not keep all."""
        return [(side, self.get(side)) for side in SIDES if self.get(side) is not None]

    def validate(self, sizes: Mapping[str, int], shared: bool) -> None:
        """Raise LayerdropError unless this can be cut out of embeddings of *sizes*.

        Args:
            sizes: rows by side; a model with one vocabulary has a source side only.
            shared: whether both sides are one embedding.
        """
        for side, rows in self.items():
            if side not in sizes:
                raise LayerdropError(f"the plan names the {side} vocabulary, but the parent has one only: say 'source'")
            check_ascending(rows, sizes[side], "row", f"the {side} vocabulary")
            if rows[:SPECIAL] != tuple(range(SPECIAL)):
                raise LayerdropError(
                    f"the plan must keep rows 0 to {SPECIAL - 1} of the {side} vocabulary, which are special symbols"
                )
        if shared and self.source != self.target:
            raise LayerdropError(
                "source and target share one embedding: the plan must keep the same rows of both vocabularies"
            )

    def after(self, first: "VocabularyPlan") -> "VocabularyPlan":
        """This plan of a child as a plan of the parent from which *first* cut the child."""
        return VocabularyPlan(*(_after(self.get(side), first.get(side)) for side in SIDES))

    def to_dict(self, listed: int) -> dict:
        """Plain form; more than *listed* rows as ranges."""
        return {side: plain_numbers(rows, listed) for side, rows in self.items()}

    @classmethod
    def from_dict(cls, data: object) -> "VocabularyPlan":
        """The reverse of :meth:`to_dict`.

        Raises:
            LayerdropError: *data* is no such thing.
        """
        if not isinstance(data, dict) or not data or not set(data) <= set(SIDES):
            raise LayerdropError(
                'the plan\'s vocabulary must say which rows it keeps, such as {"source": "0-3,7-90"};'
                ' a translation\'s also of its "target"'
            )
        return cls(**{side: read_kept(rows, f"rows of the {side} vocabulary") for side, rows in data.items()})


def _after(mine: tuple[int, ...] | None, first: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if mine is None or first is None:
        return mine if first is None else first
    return tuple(first[row] for row in mine)


@dataclass(frozen=True)
class PrunedVocabulary:
    """A plan for the embeddings, and the symbols of what it leaves.

    Attributes:
        plan: the rows kept.
        symbols: side -> the symbols of the child's rows.
    """

    plan: VocabularyPlan
    symbols: Mapping[str, list[str]]

    @property
    def fingerprints(self) -> dict[str, str]:
        """The model's options that hold the fingerprints of the child's dictionaries."""
        return {FINGERPRINTS[side]: symbols_sha256(symbols) for side, symbols in self.symbols.items()}


def symbols_sha256(symbols: Iterable[str]) -> str:
    """SHA-256 of a dictionary's *symbols*, in their order."""
    return hashlib.sha256("\n".join(symbols).encode()).hexdigest()
