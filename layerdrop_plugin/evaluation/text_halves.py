"""Split the examples of a subset at random into two parts that share no text: to fit or choose on, and to test on."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import LayerdropError
from .batches import Batches
from .losses import numbers_of
from .session import ANSWERS, Session
from .significance import LEAST


class Halves(NamedTuple):
    """Ascending indices of the examples of both halves: ``chosen_on`` and ``tested_on``, each (examples,)."""

    chosen_on: np.ndarray
    tested_on: np.ndarray


def text_halves(session: Session, batches: Batches) -> Halves:
    """Split the examples of *batches* by the session's seed, see :func:`split`.

    The text of an example is its source; labels are those of classifiers and of regression.

    Raises:
        LayerdropError: there are too few examples, or too few that differ.
    """
    numbers, texts, labels = [], [], []
    for sample in batches:
        numbers.extend(numbers_of(sample).tolist())
        texts.extend(texts_of(session, sample))
        if session.kind in ANSWERS:
            labels.extend(sample["target"].view(len(sample["id"]), -1)[:, 0].tolist())
    order = np.argsort(numbers)
    stratum = [labels[place] for place in order] if session.kind == "classification" else None
    if session.kind == "regression":
        stratum = _fifths(np.array(labels)[order])
    halves = split([texts[place] for place in order], stratum, session.seed)
    if min(map(len, halves)) < LEAST:
        raise LayerdropError(
            f"{len(numbers)} examples are too few to choose layers on one half and test them on the other: at least"
            f" {2 * LEAST} with different texts are needed"
        )
    return Halves(*(np.array(numbers)[order][half] for half in halves))


def split(texts: Sequence[Hashable], labels: Sequence[Hashable] | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split examples into random halves with equal numbers of each label.

    Args:
        texts: the text of each example; examples with equal texts are in one half.
        labels: the label of each example, or None; examples with equal texts count as the first one's.
        seed: seed of the draw.

    Returns:
        Ascending positions of the examples in each half.
    """
    drawn = _drawn(texts, seed)
    halves: tuple[list[int], list[int]] = [], []
    counts: dict[Hashable, list[int]] = {}
    for group in sorted(drawn, key=len, reverse=True):  # large groups first, as small ones balance the halves
        of_label = counts.setdefault(labels[group[0]] if labels else None, [0, 0])
        side = min((0, 1), key=lambda side: (of_label[side], len(halves[side])))
        of_label[side] += len(group)
        halves[side].extend(group)
    return np.sort(np.array(halves[0], dtype=int)), np.sort(np.array(halves[1], dtype=int))


def hold_out(texts: Sequence[Hashable], share: float, seed: int) -> list[int]:
    """Ascending positions of about a *share* of the examples, drawn at random; equal texts are all in it or all out.

    Args:
        texts: the text of each example.
        share: between 0 and 1.
        seed: seed of the draw.

    Raises:
        LayerdropError: there are fewer than two different texts.
    """
    drawn = _drawn(texts, seed)
    if len(drawn) < 2:
        raise LayerdropError(f"{len(texts)} examples with one text are too few: some have to be held out")
    held: list[int] = []
    for group in drawn[:-1]:
        if held and len(held) + len(group) / 2 > share * len(texts):
            break
        held += group
    return sorted(held)


def _drawn(texts: Sequence[Hashable], seed: int) -> list[list[int]]:
    """The positions of each distinct text, in random order."""
    groups: dict[Hashable, list[int]] = {}
    for place, text in enumerate(texts):
        groups.setdefault(text, []).append(place)
    drawn = list(groups.values())
    return [drawn[place] for place in np.random.default_rng(seed).permutation(len(drawn))]


def texts_of(session: Session, sample: dict) -> list[tuple[int, ...]]:
    """The source tokens of each example of *sample*, without padding and masks."""
    tokens, padding = sample["net_input"]["src_tokens"], session.task.source_dictionary.pad()
    if session.kind == "masked_lm":  # the targets are the words behind the masks, and padding elsewhere
        tokens = tokens.where(sample["target"].eq(padding), sample["target"])
    return [tuple(row[row.ne(padding)].tolist()) for row in tokens]


def _fifths(targets: np.ndarray) -> list[int]:
    """For each of *targets* (examples,) the fifth of their range of ranks that it is in, from 0 to 4."""
    ranks = np.argsort(np.argsort(targets, kind="stable"), kind="stable")
    return (ranks * 5 // len(targets)).tolist()
