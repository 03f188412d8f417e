"""The measured points of a curve in a JSON file that is rewritten after every point, so that a curve can be resumed."""

import json
import os
from pathlib import Path

from .. import checkpoint
from ..errors import LayerdropError
from ..safe_reading.json_file import read_json

TYPE = "layerdrop.curve"
PARTS = {"method", "seed", "rate", "removed", "parts", "loss", "accuracy", "bleu", "plan"}  # see pruning_curve.py


class Points:
    """Points that were measured with the same *settings*, in the file *path*.

    The file is read once and rewritten after every point, so only one process may use it (see output_folder.py).

    Args:
        path: path of the JSON file. Points in it are kept; it is created with the first point if it does not exist.
        settings: everything that a point depends on, beside its own method, seed and rate.

    Raises:
        LayerdropError: the file is not a curve, or was measured with other settings.
    """

    def __init__(self, path: str | os.PathLike, settings: dict):
        self.path = Path(path)
        self.record = {"type": TYPE, "version": 1, "settings": settings, "points": []}
        if self.path.exists():
            self.record["points"] = _points_in(self.path, settings)

    def find(self, method: str | None, seed: int | None, rate: float) -> dict | None:
        """The measured point of *method* (None for the whole model) with *seed* at *rate*; None if there is none."""
        place = (method, seed, rate)
        found = (point for point in self.record["points"] if (point["method"], point["seed"], point["rate"]) == place)
        return next(found, None)

    def add(self, point: dict) -> None:
        """Add a *point* (see pruning_curve.py) and rewrite the file."""
        self.record["points"].append(point)
        checkpoint.write_text_atomic(self.path, json.dumps(self.record) + "\n")


def _points_in(path: Path, settings: dict) -> list[dict]:
    points = read_settled(path, TYPE, "curve", settings, "points")
    if not all(isinstance(point, dict) and set(point) >= PARTS for point in points):
        raise LayerdropError(f"{path} has a point without {', '.join(sorted(PARTS))}: delete the file to start again")
    return points


def read_settled(path: Path, kind: str, name: str, settings: dict, rows: str) -> list[dict]:
    """The list *rows* in the JSON file *path*, if it was made with the same *settings*.

    Args:
        path: path of the file.
        kind: its ``type``.
        name: what it is called in messages.
        settings: the settings.
        rows: key of the list.

    Raises:
        LayerdropError: the file cannot be read, is of another type, or was made with other settings.
    """
    found = read_json(path, f"the {name}")
    if not isinstance(found, dict) or found.get("type") != kind or not isinstance(found.get(rows), list):
        raise LayerdropError(f"{path} is no {name} of ours: choose another --out")
    before = found.get("settings") or {}
    other = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
    if other:
        raise LayerdropError(
            f"{path} is a {name} of other settings ({', '.join(other)}): choose another --out, or delete it to start"
            " again"
        )
    return found[rows]
