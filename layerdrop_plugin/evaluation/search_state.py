"""The state of a search in a JSON file that is rewritten after every batch, so that a search can be resumed.

A stage is a dictionary with the sums over the batches that are done:

    size, subsets       number of layers kept, and of subsets compared
    batches             number of batches done
    losses, correct     for each subset the sum of the losses, and of correct answers (null but for classifiers)
    tokens, examples    how many were measured
    evaluations         number of layers that ran in a batch for all subsets together
    timed               over some of the batches: seconds of all subsets (``shared``), and of one subset run by itself
                        times their number (``alone``)
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .. import checkpoint
from ..errors import LayerdropError
from .points import read_settled

if TYPE_CHECKING:
    from .layer_search import Question
    from .session import Session

TYPE = "layerdrop.search.state"
PARTS = {"size", "subsets", "batches", "losses", "correct", "tokens", "examples", "evaluations", "timed"}


class SearchState:
    """The stages of a search that was begun with the same *settings*, in the file *path*.

    Args:
        path: path of the JSON file; it is created after the first batch if it does not exist.
        settings: everything that the sums depend on.

    Raises:
        LayerdropError: the file is not such a state, or of other settings.
    """

    def __init__(self, path: str | os.PathLike, settings: dict):
        self.path = Path(path)
        self.record = {"type": TYPE, "version": 1, "settings": settings, "stages": []}
        if self.path.exists():
            stages = read_settled(self.path, TYPE, "search", settings, "stages")
            if not all(isinstance(stage, dict) and set(stage) >= PARTS for stage in stages):
                parts = ", ".join(sorted(PARTS))
                raise LayerdropError(f"{self.path} has a stage without {parts}: delete the file to start again")
            self.record["stages"] = stages

    @property
    def stages(self) -> list[dict]:
        """The stages begun so far."""
        return self.record["stages"]

    @property
    def batches(self) -> int:
        """Number of batches done, of all stages together."""
        return sum(stage["batches"] for stage in self.stages)

    def stage(self, size: int, subsets: int) -> dict:
        """The stage of *size*, which is begun if it is not there."""
        found = next((stage for stage in self.stages if (stage["size"], stage["subsets"]) == (size, subsets)), None)
        if found is None:
            found = {"size": size, "subsets": subsets, "batches": 0, "losses": [0.0] * subsets, "correct": None}
            found |= {"tokens": 0, "examples": 0, "evaluations": 0, "timed": {"shared": 0.0, "alone": 0.0}}
            self.stages.append(found)
        return found

    def save(self) -> None:
        """Rewrite the file."""
        checkpoint.write_text_atomic(self.path, json.dumps(self.record) + "\n")


def settings_of(session: "Session", subset: str, max_examples: int | None, asked: "Question") -> dict:
    """What the sums in the state of the search that is *asked* on *subset* depend on."""
    return {
        "checkpoint": session.sha256,
        "data": session.split(subset).sha256(),
        "subset": subset,
        "max_examples": max_examples,
        "batch_size": session.batch_size,
        "max_tokens": session.max_tokens,
        "seed": session.seed,
        "inference_dtype": str(session.dtype),
        "stack": asked.stack,
        "keep": asked.keep,
        "method": asked.method,
        "beam": asked.width,
        "compared_by": asked.compared_by,
    }
