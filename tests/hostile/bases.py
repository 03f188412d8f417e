"""Good checkpoints that the trials change, and values that belong into none."""

import io
import random
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from harness import MARKER

HOSTILE_TEXT = (
    f"open('{MARKER}','w')",
    f"__import__('os').system('touch {MARKER}')",
    f"[open('{MARKER}','w')]",
    "${oc.env:MY_TOKEN}",
    "${env:MY_TOKEN}",
    "${common.seed}",
    "9" * 5000,
    "[" * 300,
    "[[1]*99999]*99999",
    "9**9**9**9",
    "\0",
    "\ud800",
    "a\nb",
    "'",
    "",
    "%s%n{0.__class__}",
)
HOSTILE_VALUES = (
    *HOSTILE_TEXT,
    *(-1, 0, 1, 10**9, 10**18, 10**30, -(2**63), 1.5, 1e308, float("nan"), float("inf"), True, None),
    *([], {}, [1, 2], {"a": 1}, [[[]]], ["x"] * 1000, (), b"bytes", {1: 2}, {None: 3}, {"_name": "x"}),
)


class Base:
    """A good checkpoint: its bytes, its state, and the command line that prunes it."""

    def __init__(self, path: str, kind: str, data: Path, folder: str):
        self.path, self.kind, self.bytes = Path(path), kind, Path(path).read_bytes()
        self.state = torch.load(path, weights_only=False)
        self.stack = stack = "decoder" if kind == "language_modeling" else "encoder"
        self.prune = ["layerdrop", "prune", "parent.pt", "child.pt", f"--{stack}-layers", "keep:1"]
        self.data = str(data / folder)

    @cached_property
    def legacy_bytes(self) -> bytes:
        """The file in the format before 2020."""
        buffer = io.BytesIO()
        torch.save(self.state, buffer, _use_new_zipfile_serialization=False)
        return buffer.getvalue()

    def is_pruned_alike(self, folder: Path) -> bool:
        """Whether the child in *folder* has the weights and options of the one of the unchanged parent."""
        child = torch.load(folder / "child.pt", weights_only=True)["model"]
        before = {
            name: value
            for name, value in self.state["model"].items()
            if not re.match(rf"{self.stack}\..*layers\.0\.", name)
        }
        before = {re.sub(rf"^({self.stack}\..*layers)\.1\.", r"\1.0.", name): value for name, value in before.items()}
        return child.keys() == before.keys() and all(torch.equal(child[name], before[name]) for name in child)

    def commands(self, rng: random.Random) -> list[str]:
        """One of the commands that read a checkpoint."""
        return rng.choice(
            [
                self.prune,
                self.prune,
                self.prune,
                ["layerdrop", "inspect", "--json", "parent.pt"],
                ["layerdrop", "average", "parent.pt", "--out", "child.pt"],
                ["load", "parent.pt"],
                ["load", "parent.pt"],
            ]
        )


def saved(state: object, **options: object) -> Callable[[Path], None]:
    return lambda folder: torch.save(state, folder / "parent.pt", **options)


def written(content: bytes, name: str = "parent.pt") -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content)


def nested(depth: int) -> list:
    return [nested(depth - 1)] if depth else []


def shared(depth: int) -> list:
    """2 ** depth values in a few hundred bytes."""
    value: list = [1]
    for _ in range(depth):
        value = [value, value]
    return value
