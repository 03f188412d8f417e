"""Where the time of a recipe went: what its commands took, and its own share.

The recipes keep a file (recipes/lib/times.sh) of three columns between tabs: start and end in seconds since 1970, and
the command. Two lines say something else: ``[start]`` begins a run; ``[skipped] WHAT``: it was there, or a part of it.
Commands may overlap; so seconds are those of the union of intervals.
"""

import math
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import LayerdropError
from .page import Section, Table

_START, _SKIPPED = "[start]", "[skipped] "
_OWN = "the recipe itself"
_KINDS = {
    "fairseq-train": "train",
    "torchrun": "train",
    "fairseq-generate": "evaluate",
    "fairseq-validate": "evaluate",
    "score": "evaluate",
}


class Event(NamedTuple):
    """A line of the file: seconds since 1970, and a command or what else happened."""

    start: float
    end: float
    what: str


@dataclass(frozen=True)
class Times:
    """What a folder took.

    Attributes:
        kinds: kind of command -> (commands, seconds), the longest first.
        whole: seconds from the start of each run to the end of its last command that ended.
        own: seconds of them outside all commands.
        runs: of the recipe.
        skipped: steps that were done before, or trainings that were resumed.
    """

    kinds: dict[str, tuple[int, float]]
    whole: float
    own: float
    runs: int
    skipped: int

    def record(self) -> dict[str, Any]:
        """For JSON; seconds."""
        kinds = {kind: {"commands": count, "seconds": seconds} for kind, (count, seconds) in self.kinds.items()}
        return {"kinds": kinds, "own": self.own, "whole": self.whole, "runs": self.runs, "skipped": self.skipped}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Times":
        """The times of a :meth:`record`."""
        kinds = {kind: (found["commands"], found["seconds"]) for kind, found in record["kinds"].items()}
        return cls(kinds, *(record[name] for name in ("whole", "own", "runs", "skipped")))

    def section(self) -> Section:
        """The section of a page."""
        rows = [*((kind, str(count), seconds) for kind, (count, seconds) in self.kinds.items()), (_OWN, "", self.own)]
        rows.append(("the whole", "", self.whole))
        cells = [
            [kind, count, f"{seconds:.1f}", f"{100 * seconds / (self.whole or 1):.1f} %"]
            for kind, count, seconds in rows
        ]
        notes = [f"{_OWN}: spent outside the commands, such as on starting shells and asking what is done."]
        if self.runs > 1:
            notes.append(f"Together for {self.runs} runs of the recipe; up to the last command that ended in each.")
        if self.skipped:
            notes.append(
                f"{self.skipped} times a step was skipped that was finished before, or a training resumed: what they"
                " had taken is counted only as far as one of these runs did it."
            )
        return Section("Where the time went", Table(["commands", "number", "seconds", "share"], cells), notes)


def union(intervals: Iterable[tuple[float, float]]) -> float:
    """The length of the union of *intervals*, (start, end) each."""
    length, reached = 0.0, -math.inf
    for start, end in sorted(intervals):
        length += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return length


def kind_of(command: str) -> str | None:
    """What a command, as it can be pasted into a shell, does; None: it is a recipe, whose commands count themselves."""
    words = shlex.split(command)
    program = os.path.basename(words[0])
    if program == "bash":
        return None
    name = words[1] if program == "layerdrop" and len(words) > 1 else program
    if name in _KINDS or program == "layerdrop":
        return _KINDS.get(name, name)
    if any(word.startswith("layerdrop_plugin.reports.") for word in words):
        return "report"
    if any(os.path.basename(word) == "download.py" for word in words[:2]):
        return "download"
    return "install" if {"pip", "venv"} & set(words[:3]) else "prepare data"


def times_of(events: Sequence[Event]) -> Times:
    """The sums over all *events* of a file."""
    runs: list[list[Event]] = []
    for event in events:
        if event.what == _START or not runs:
            runs.append([])
        runs[-1].append(event)
    commands = [(event, kind_of(event.what)) for event in events if not event.what.startswith((_START, _SKIPPED))]
    by_kind: dict[str, list[tuple[float, float]]] = {}
    for event, kind in commands:
        if kind:
            by_kind.setdefault(kind, []).append(event[:2])
    seconds = {kind: (len(found), union(found)) for kind, found in by_kind.items()}
    whole = sum(max(event.end for event in run) - min(event.start for event in run) for run in runs)
    return Times(
        kinds=dict(sorted(seconds.items(), key=lambda item: -item[1][1])),
        whole=whole,
        own=whole - union(interval for found in by_kind.values() for interval in found),
        runs=len(runs),
        skipped=sum(event.what.startswith(_SKIPPED) for event in events),
    )


def load(path: str | os.PathLike) -> Times:
    """Read a recipe's file.

    Raises:
        LayerdropError: it is not there, or a line is not what it should be.
    """
    events, number = [], 0
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                number += 1
                start, end, what = line.rstrip("\n").split("\t")
                events.append(Event(float(start), float(end), what))
                if not what.startswith("["):
                    kind_of(what)
    except OSError as error:
        raise LayerdropError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, IndexError) as error:
        raise LayerdropError(f"{path}, line {number}: this is no interval of a recipe's command") from error
    if not events:
        raise LayerdropError(f"{path} is empty: no times of a recipe's commands")
    return times_of(events)
