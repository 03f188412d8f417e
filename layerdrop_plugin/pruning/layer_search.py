"""Search for the best layers of a stack to keep: which subsets of the layers are compared; how is the caller's matter.

A subset is a tuple of layers, ascending. The exhaustive search compares all subsets of a size. The greedy search begins
with all layers and repeatedly removes the one whose removal leaves the best subset. The beam search keeps several of
the best subsets of each size, the greedy one always among them, so that it never ends with a worse one.
"""

import itertools
import math
from collections.abc import Callable, Iterable

from ..errors import LayerdropError
from .layer_rules import even

Subset = tuple[int, ...]
Rank = Callable[[list[Subset]], list[Subset]]  # subsets of one size -> the same, the best first

METHODS = ("exhaustive", "greedy", "beam")
BEAM = 8  # default number of subsets of each size that a beam search keeps


def check_keep(keep: int, layers: int, stack: str) -> None:
    """Raise LayerdropError if there is nothing to choose for *keep* layers of a *stack* that has *layers*."""
    if not 1 <= keep < layers:
        fits = f"keep between 1 and {layers - 1}" if layers > 1 else "there is nothing to choose"
        raise LayerdropError(f"cannot choose {keep} layers to keep: the {stack} has {layers}, so {fits}")


def search(layers: int, keep: int, width: int | None, rank: Rank) -> dict[int, list[Subset]]:
    """Search the subsets of *keep* of *layers* layers.

    Args:
        layers, keep: number of layers of the stack, and of those to keep.
        width: number of subsets of each size whose removals are tried: 1 is the greedy search; None compares all
            subsets of *keep* layers instead.
        rank: compares subsets of one size.

    Returns:
        number of layers kept -> the subsets of this size that were compared, the best first. There is an entry for
        each size from ``layers - 1`` down to *keep*, in this order; without *width* for *keep* only.
    """
    if width is None:
        return {keep: rank(list(itertools.combinations(range(layers), keep)))}
    greedy = tuple(range(layers))
    ranked, found = [greedy], {}
    for size in range(layers - 1, keep - 1, -1):
        ranked = rank(without_one([*ranked[:width], greedy]))
        after_greedy = set(without_one([greedy]))
        greedy = next(subset for subset in ranked if subset in after_greedy)
        found[size] = ranked
    return found


def without_one(subsets: Iterable[Subset]) -> list[Subset]:
    """The distinct subsets with one layer less than one of *subsets*, sorted."""
    return sorted({subset[:place] + subset[place + 1 :] for subset in subsets for place in range(len(subset))})


def every_other(layers: int, keep: int) -> Subset:
    """The *keep* evenly spaced layers that a search is compared with: every other one if half of them are kept."""
    return tuple(even(layers, str(keep)))


def layer_evaluations(subsets: Iterable[Subset]) -> int:
    """Number of times a layer runs if each prefix that *subsets* share is computed once.

    For all subsets of k of L layers that is C(L + 1, k) - 1, against k C(L, k) of subsets that are run by themselves.
    """
    return len({subset[: place + 1] for subset in subsets for place in range(len(subset))})


def work(layers: int, keep: int, width: int | None) -> dict[int, tuple[int, int]]:
    """How much a :func:`search` computes for each batch, without making a list of the subsets.

    Returns:
        size -> number of subsets compared and :func:`layer_evaluations`, upper bounds in a search with *width*.
    """
    if width is None:
        return {keep: _all(layers, keep)}
    found = {}
    for size in range(layers - 1, keep - 1, -1):
        before = min(math.comb(layers, size + 1), width + (width > 1))
        of_one = size + size * (size + 1) // 2  # the subset's own layers but the last; what follows each removal
        most = _all(layers, size)
        found[size] = min(before * (size + 1), most[0]), min(before * of_one, most[1])
    return found


def _all(layers: int, size: int) -> tuple[int, int]:
    return math.comb(layers, size), math.comb(layers + 1, size) - 1
