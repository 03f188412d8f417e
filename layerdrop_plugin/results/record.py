"""Results: the record of one evaluated model, as a dictionary and a JSON file.

A *result*, which `layerdrop evaluate` and `score` write, and `layerdrop report` and `depth-curve` read:

    type, version    "layerdrop.result", 1
    name, seed       the model's name in the tables, and the seed of its training (null if unknown)
    split, examples  the split's name and its number of examples
    metric           {"name", "value"} of the headline, one of HEADLINES in evaluation/metrics.py
    metrics          name -> value of every metric, see evaluation/metrics.py and loss.py for names and units
    interval         95 % interval [low, high] of the headline in its unit, or null
    loss             as fairseq prints it, in bits (for regression: mean squared error divided by ln 2), or null
    checkpoint       see provenance.CheckpointRecord; null if no model was evaluated
    data_sha256      SHA-256 of the split's files and the dictionaries
    plan             which layers and parts the model keeps of its oldest ancestor; null if it was not pruned
    provenance       the ancestors and plan that the checkpoint records, see pruning/surgery.py, or null
    point            position of the result on a depth curve, or null: {"task": "translation" or "masked-lm", "train":
                     name of the training, "seed", "kept": number of layers, "side": "encoder", "decoder" or "both"}
    versions         python, torch, fairseq (with the name of its distribution), numpy, layerdrop_plugin
    command          the command that was evaluated, or null

Classifiers have `correct`, the number of correct answers. translation.py lists the entries of translation models, and
reports/evaluation.py those that `layerdrop evaluate` adds, such as `answers`.
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
from ..provenance import CheckpointRecord, made_with, who_is
from ..safe_reading import json_file

TYPE = "layerdrop.result"
EVALUATION = "layerdrop.evaluation"  # type of a file with several results, see reports/evaluation.py
_LONG, _SHOWN = 200, 40  # longest text in a page's plans, and what is shown of a longer one
_POINT = {"task": str, "train": str, "seed": int, "kept": int, "side": str}
_TASKS, _SIDES = ("translation", "masked-lm"), ("encoder", "decoder", "both")


@dataclass(frozen=True)
class Subject:
    """The model and the data of a result.

    Attributes:
        split: the evaluated split.
        name: the model's name in the tables.
        seed: seed of its training.
        checkpoint: path of its checkpoint, or of the folder that it was exported to; None if no model was evaluated.
        command: the command that was evaluated.
        point: position on a depth curve.
    """

    split: Split
    name: str
    seed: int | None = None
    checkpoint: str | None = None
    command: str | None = None
    point: "Point | None" = None

    @functools.cached_property
    def described(self) -> tuple[CheckpointRecord, dict[str, Any] | None] | None:
        """The description of the checkpoint or exported folder, see ``provenance.describe_checkpoint``; None if no
        model was evaluated.

        Raises:
            LayerdropError: the checkpoint cannot be read.
        """
        from ..interop.export_record import describe  # which imports fairseq

        return describe(self.checkpoint) if self.checkpoint else None


class Point(TypedDict):
    """Position of a result on a depth curve, see the module's docstring."""

    task: str
    train: str
    seed: int
    kept: int
    side: str


class Result(TypedDict, total=False):
    """A result, see the module's docstring."""

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
    """Build a result.

    Args:
        subject: the model and the data.
        measured: the entries examples, metric, metrics, interval and loss, and further entries.

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
    """Parse the JSON *text* of a point, see the module's docstring.

    Raises:
        LayerdropError: *text* is not JSON, or has other entries.
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
    """Read results.

    Args:
        paths: paths of files and folders. Folders are searched recursively for `*.json`; files in them that are no
            results are ignored.

    Returns:
        The results in the order of *paths*, by path within a folder; each file is read once.

    Raises:
        LayerdropError: there are no results, or a file in *paths* holds no result.
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
    """Read the JSON object in the file *path*; an empty one if the file holds another JSON value.

    Raises:
        LayerdropError: the file cannot be read or is not JSON.
    """
    content = json_file.read_json(path, "the result")
    return content if isinstance(content, dict) else {}


def refuse_other_tests(results: Sequence[Result]) -> None:
    """Raise LayerdropError if *results* were measured on different data, so that one table cannot compare them."""
    first = results[0]
    for result in results:
        for field in ("split", "data_sha256", "examples", "references", "references_sha256", "signatures"):
            if result.get(field) != first.get(field):
                raise LayerdropError(f"{who_is(result)} was tested on other data than {first['name']}: {field} differs")
    asked = [result for result in results if result.get("examples_sha256")]  # `layerdrop score` leaves it out
    for result in asked:
        if result["examples_sha256"] != asked[0]["examples_sha256"]:
            raise LayerdropError(
                f"{who_is(result)} was tested on other examples of '{result['split']}' than {who_is(asked[0])}, or with"
                " other masks"
            )


def refuse_twins(results: Sequence[Result]) -> None:
    """Raise LayerdropError if two *results* have the same name and seed."""
    seen = set()
    for result in results:
        if (result["name"], result["seed"]) in seen:
            raise LayerdropError(f"two results are called {who_is(result)}")
        seen.add((result["name"], result["seed"]))


def for_page(result: Result) -> Result:
    """A copy of *result* for the JSON files of pages: without its ``answers``, and long rows of its plans shortened.

    Those are rows of a vocabulary or numbers of FFN units, which may be megabytes; the checkpoint has all of them.
    """
    short = {name: _shortened(result.get(name)) for name in ("plan", "provenance") if name in result}
    return {name: value for name, value in result.items() if name != "answers"} | short


def _shortened(value: Any) -> Any:
    """*value* with long texts in it cut."""
    if isinstance(value, dict):
        return {name: _shortened(found) for name, found in value.items()}
    if isinstance(value, list):
        return [_shortened(found) for found in value]
    if isinstance(value, str) and len(value) > _LONG:
        return f"{value[:_SHOWN]}... ({len(value):,} characters, whole in the checkpoint)"
    return value
