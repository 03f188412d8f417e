"""One evaluated model as a dictionary and a JSON file: what was measured, and on what.

A *result*, which `layerdrop evaluate` and `score` write, and `layerdrop report` and `depth-curve` read:

    type, version    "layerdrop.result", 1
    name, seed       the model's name in the tables, and the seed of its training (null where there is none)
    split, examples  the split's name and its number of examples
    metric           {"name": …, "value": …}; the headline: one of metrics.METRICS (evaluation/), "bleu" or "nll_loss"
    metrics          every metric measured, see evaluation/metrics.py and loss.py for names and units
    interval         95 % interval [low, high] of the headline in its unit, or null where none is known
    loss             as fairseq prints it, in bits (for regressions: the mean divided by ln 2), or null
    checkpoint       see provenance.CheckpointRecord; null where no model is evaluated
    data_sha256      over the split's files and the dictionaries
    plan             what the model keeps of its oldest ancestor, or null for a model that was not pruned
    provenance       all that the checkpoint says about where it came from, or null
    point            where the result belongs in `layerdrop depth-curve`, or null: {"task": "translation" or
                     "masked-lm", "train": the training's name, "seed", "kept": layers, "side": "encoder", "decoder" or
                     "both"}
    versions         python, torch, fairseq (its distribution), numpy, layerdrop_plugin
    command          the command that was evaluated, if the caller told it

and a few more of its kind: `correct` of classifications, `references`, `signatures` and others of translations; perhaps
`answers`, example by example (see evaluation/metrics.py), and what else evaluation.py adds.
"""

import functools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from ..data_folder import Split
from ..errors import LayerdropError
from ..provenance import CheckpointRecord, describe_checkpoint, made_with, who_is
from ..safe_reading import json_file

TYPE = "layerdrop.result"
EVALUATION = "layerdrop.evaluation"  # a file of several results, see evaluation.py
_POINT = {"task": str, "train": str, "seed": int, "kept": int, "side": str}
_TASKS, _SIDES = ("translation", "masked-lm"), ("encoder", "decoder", "both")


@dataclass(frozen=True)
class Subject:
    """Which model was evaluated on what: the part of a result that is not measured."""

    split: Split
    name: str
    seed: int | None = None
    checkpoint: str | None = None
    command: str | None = None
    point: "Point | None" = None

    @functools.cached_property
    def described(self) -> tuple[CheckpointRecord, dict[str, Any] | None] | None:
        """See provenance.describe_checkpoint; None where no model is evaluated.

        Raises:
            LayerdropError: the checkpoint cannot be read.
        """
        return describe_checkpoint(self.checkpoint) if self.checkpoint else None


class Point(TypedDict):
    """Where a result belongs on a depth curve."""

    task: str
    train: str
    seed: int
    kept: int
    side: str


class Result(TypedDict, total=False):
    """A result; its entries are described at the head of this module."""

    type: str
    version: int
    name: str
    seed: int | None
    split: str
    examples: int
    metric: dict[str, Any]
    metrics: dict[str, float]
    interval: list[float] | None
    loss: float | None
    checkpoint: CheckpointRecord | None
    data_sha256: str
    plan: dict[str, Any] | None
    provenance: dict[str, Any] | None
    point: Point | None
    versions: dict[str, str]
    command: str | None


def build(subject: Subject, measured: dict[str, Any]) -> Result:
    """A result.

    Args:
        subject: what was evaluated.
        measured: the entries examples, metric, metrics, interval, loss, and those of its kind.

    Raises:
        LayerdropError: the checkpoint or the data cannot be read.
    """
    described, origin = subject.described or (None, None)
    return {
        "type": TYPE,
        "version": 1,
        "name": subject.name,
        "seed": subject.seed,
        "split": subject.split.name,
        **measured,
        "checkpoint": described,
        "data_sha256": subject.split.sha256(),
        "plan": origin and origin.get("plan"),
        "provenance": origin,
        "point": subject.point,
        **made_with(subject.command),
    }


def parse_point(text: str) -> Point:
    """The point of a curve in the JSON *text*, see the module's docstring.

    Raises:
        LayerdropError: it is none.
    """
    try:
        point = json.loads(text)
        right = {name: type(value) for name, value in point.items()} == _POINT
        right = right and point["task"] in _TASKS and point["side"] in _SIDES and point["kept"] >= 0
    except (ValueError, AttributeError):
        right = False
    if not right:
        example = '{"task": "translation", "train": "p = 0.2", "seed": 1, "kept": 3, "side": "decoder"}'
        raise LayerdropError(f"the point {text} is not like {example}")
    return point


def load(paths: Iterable[str | os.PathLike]) -> list[Result]:
    """Read files of results; folders are searched for `*.json`, and what is no result there is passed over.

    Returns:
        The results in the given order (by path within a folder), each file once.

    Raises:
        LayerdropError: nothing found, or a named file is no result.
    """
    found = {}
    for path in map(Path, paths):
        files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        for file in files:
            content = read_json(file)
            if content.get("type") == TYPE:
                found[file.resolve()] = [content]
            elif content.get("type") == EVALUATION:
                found[file.resolve()] = content["results"]
            elif not path.is_dir():
                raise LayerdropError(f"{file} is no result of `layerdrop evaluate` or `layerdrop score`")
    if not found:
        raise LayerdropError(f"no results of `layerdrop evaluate` or `layerdrop score` in {', '.join(map(str, paths))}")
    return [result for results in found.values() for result in results]


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """The dictionary in the JSON file *path*; an empty one if it holds something else.

    Raises:
        LayerdropError: it is no JSON.
    """
    content = json_file.read_json(path, "the result")
    return content if isinstance(content, dict) else {}


def refuse_other_tests(results: Sequence[Result]) -> None:
    """Raise LayerdropError if numbers of different tests would stand in one table."""
    first = results[0]
    for result in results:
        for field in ("split", "data_sha256", "examples", "references", "references_sha256", "signatures"):
            if result.get(field) != first.get(field):
                raise LayerdropError(f"{who_is(result)} was tested on other data than {first['name']}: {field} differs")
    asked = [result for result in results if result.get("examples_sha256")]  # `layerdrop score` does not know it
    for result in asked:
        if result["examples_sha256"] != asked[0]["examples_sha256"]:
            raise LayerdropError(
                f"{who_is(result)} was tested on other examples of '{result['split']}' than {who_is(asked[0])}, or with"
                " other masks"
            )


def refuse_twins(results: Sequence[Result]) -> None:
    """Raise LayerdropError if one model's number would stand in a table twice."""
    seen = set()
    for result in results:
        if (result["name"], result["seed"]) in seen:
            raise LayerdropError(f"two results are called {who_is(result)}")
        seen.add((result["name"], result["seed"]))


def without_answers(result: Result) -> Result:
    """The *result* as the records of pages hold it."""
    return {name: value for name, value in result.items() if name != "answers"}
