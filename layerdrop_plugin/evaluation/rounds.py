"""Rounds of timing, each of which times every model once, and what the ratios of single rounds say together.

The ratio that is reported is the median of the rounds' ratios. Numbers of one round share what else the machine did in
that time; numbers of two rounds do not.
"""

import statistics
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, Protocol, TypedDict

TURN = 32  # sentences after which the next model has its turn
DISAGREE = 0.25  # greatest less least ratio, over the median, beyond which it is not reliable
TELLING = 2  # fewest rounds that can disagree

Seconds = dict[str, dict[Hashable, list[float]]]  # by model, by kind of work, by round
Counts = dict[str, dict[Hashable, int]]  # of one round: by model, by kind of work


class Runs(Protocol):
    """What :func:`time_rounds` times."""

    def run(self, name: str, batches: Sequence[Any]) -> Any:
        """The model *name* on *batches*; this is timed."""

    def count(self, outputs: Any) -> int:
        """What is counted in the *outputs* of :meth:`run`."""


class Spread(TypedDict):
    """How far the ratios of single rounds agree.

    Attributes:
        rounds: the ratios in the order of the rounds.
        least, greatest: of them.
        unreliable: whether least and greatest are further apart than a quarter of the median, or the rounds are too few
            to tell.
    """

    rounds: list[float]
    least: float
    greatest: float
    unreliable: bool


def time_rounds(
    workload: Runs,
    names: Sequence[str],
    work: Mapping[Hashable, Sequence[Sequence[Any]]],
    rounds: int,
    progress: Callable[[], Any] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Seconds, Counts]:
    """Time all models on the same work, in turn.

    Within a round the models take turns after every few batches, so that whatever slows the machine for longer than
    that slows all of them; the model that begins is another at each turn. All kinds of work are part of every round, so
    each is spread over the whole time.

    Args:
        workload: runs the models.
        names: of the models.
        work: by kind of work the batches of every turn.
        rounds: how many count; one more goes before, to warm up allocator, caches and threads.
        progress: called after each turn of a model.
        clock: gives the time in seconds.
    """
    seconds = {name: {kind: [] for kind in work} for name in names}
    counts = {name: {} for name in names}
    for number in range(-1, rounds):
        for kind, turns in work.items():
            taken, counted = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0)
            for turn, batches in enumerate(turns):
                for name in rotated(names, number + turn):
                    start = clock()
                    outputs = workload.run(name, batches)
                    taken[name] += clock() - start
                    counted[name] += workload.count(outputs)
                    if progress:
                        progress()
            for name in names:
                counts[name][kind] = counted[name]
                if number >= 0:
                    seconds[name][kind].append(taken[name])
    return seconds, counts


def rotated(names: Sequence[str], by: int) -> list[str]:
    """*names* rotated to the left by *by* places."""
    first = by % len(names)
    return [*names[first:], *names[:first]]


def spread(ratios: Sequence[float]) -> Spread:
    """How far the *ratios* of single rounds agree."""
    least, greatest = min(ratios), max(ratios)
    apart = greatest - least > DISAGREE * statistics.median(ratios)
    return {
        "rounds": list(ratios),
        "least": least,
        "greatest": greatest,
        "unreliable": apart or len(ratios) < TELLING,
    }


def written(ratio: float, found: Spread | None = None) -> str:
    """A ratio for people: "1.79 (1.71 to 1.85)", with the word unreliable where it is.

    Args:
        ratio: the median of the rounds' ratios.
        found: its :func:`spread`; None of the first model, and in measurements of version 1.
    """
    if found is None:
        return f"{ratio:.2f}"
    between = f"{found['least']:.2f} to {found['greatest']:.2f}" if len(found["rounds"]) >= TELLING else "1 round"
    return f"{ratio:.2f} ({between}{', unreliable' if found['unreliable'] else ''})"


def doubts(times: Mapping[str, Any], sizes: Collection[str] | None = None) -> list[str]:
    """A warning for each ratio that is not reliable.

    Args:
        times: a measurement, see latency.py.
        sizes: batch sizes to warn of; all by default.
    """
    unreliable = [
        (model["name"], size, found)
        for model in times["models"]
        for size, found in model.get("spread", {}).items()
        if found["unreliable"] and (sizes is None or size in sizes)
    ]
    if not unreliable:
        return []
    if times["repeats"] < TELLING:
        return ["Ratios of 1 round are not reliable: nothing tells a disturbance from a difference; time 3 or more."]
    first = times["models"][0]["name"]
    return [
        f"The ratio of '{name}' to '{first}' at batch {size} is not reliable: single rounds say {found['least']:.2f} "
        f"to {found['greatest']:.2f}; time again while the machine does nothing else, or more rounds."
        for name, size, found in unreliable
    ]
