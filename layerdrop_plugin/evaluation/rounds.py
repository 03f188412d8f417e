"""Timing in rounds, each of which times every model once, and the spread of the ratios over rounds.

The reported ratio of two models is the median of the rounds' ratios. Other load on the machine slows all models of a
round alike and cancels in their ratio; between two rounds it may differ.
"""

import statistics
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, Protocol, TypedDict

TURN = 32  # number of sentences that a model runs on before the next model takes its turn
DISAGREE = 0.25  # a ratio is unreliable if (greatest - least) / median over rounds is larger than this
TELLING = 2  # minimum number of rounds to judge reliability

Seconds = dict[str, dict[Hashable, list[float]]]  # model -> kind of work -> seconds of each round
Counts = dict[str, dict[Hashable, int]]  # model -> kind of work -> count of one round


class Runs(Protocol):
    """The interface of a workload for :func:`time_rounds`."""

    def run(self, name: str, batches: Sequence[Any]) -> Any:
        """Run the model *name* on *batches* and return its outputs; this call is timed."""

    def count(self, name: str, outputs: Any) -> int:
        """The amount of work in the *outputs* of :meth:`run` of the model *name*, such as generated tokens."""


class Spread(TypedDict):
    """Spread of a ratio over rounds.

    Attributes:
        rounds: the ratio of each round.
        least, greatest: their minimum and maximum.
        unreliable: whether they differ by more than DISAGREE of the median, or there are fewer than TELLING rounds.
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

    Within a round the models take turns after every few batches, so that other load on the machine slows all of them
    alike. Each turn begins with another model. Every round includes all kinds of work.

    Args:
        workload: runs the models.
        names: names of the models.
        work: kind of work (a batch size) -> the batches of each turn.
        rounds: number of timed rounds; one warm-up round runs before them.
        progress: called after each turn of a model.
        clock: returns the time in seconds.

    Returns:
        Seconds of each timed round, and the counts of one round.
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
                    counted[name] += workload.count(name, outputs)
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
    """The spread of *ratios*, one for each round."""
    least, greatest = min(ratios), max(ratios)
    apart = greatest - least > DISAGREE * statistics.median(ratios)
    return {
        "rounds": list(ratios),
        "least": least,
        "greatest": greatest,
        "unreliable": apart or len(ratios) < TELLING,
    }


def written(ratio: float, found: Spread | None = None) -> str:
    """Format a ratio: "1.79 (1.71 to 1.85)", or "1.79 (1.71 to 1.85, unreliable)".

    Args:
        ratio: median of the rounds' ratios.
        found: its spread over rounds; None for the first model, and in measurements of version 1.
    """
    if found is None:
        return f"{ratio:.2f}"
    between = f"{found['least']:.2f} to {found['greatest']:.2f}" if len(found["rounds"]) >= TELLING else "1 round"
    return f"{ratio:.2f} ({between}{', unreliable' if found['unreliable'] else ''})"


def doubts(times: Mapping[str, Any], sizes: Collection[str] | None = None) -> list[str]:
    """Return a warning for each unreliable ratio.

    Args:
        times: a measurement, see :class:`latency.Latency`.
        sizes: batch sizes to check; all by default.
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
