"""An exported classifier as a session, so that it is evaluated like a checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...errors import LayerdropError
from ..session import BATCH_SIZE, Session
from . import load
from .exported import Exported

if TYPE_CHECKING:
    from .base import Engine


class EngineModel(nn.Module):
    """An engine with the forward of fairseq's RoBERTa with a classification head."""

    def __init__(self, engine: "Engine"):
        super().__init__()
        self.engine = engine
        self.nothing = nn.Parameter(torch.zeros(0), requires_grad=False)  # which tells the device

    def forward(self, src_tokens: Tensor, **_options) -> tuple[Tensor, dict]:
        """Map *src_tokens* (batch, length) to class scores (batch, classes)."""
        return torch.from_numpy(self.engine.answers({"net_input": {"src_tokens": src_tokens}})), {}

    def max_positions(self) -> int:
        """Maximum number of tokens of an example."""
        return self.engine.longest


@dataclass(frozen=True)
class EngineSession(Session):
    """A session whose model runs in another engine than fairseq, on the CPU."""

    def optimize(self) -> None:
        """Do nothing: it was prepared when it was exported."""


def load_session(
    path: str | Path,
    data: str | Path,
    batch_size: int | None = BATCH_SIZE,
    max_tokens: int | None = None,
    seed: int = 1,
) -> EngineSession:
    """Load what an export wrote, and check that it answers as its checkpoint did.

    Args:
        path, data, batch_size, max_tokens, seed: as of :func:`layerdrop_plugin.evaluation.session.load`.

    Raises:
        LayerdropError: it cannot be read, is no classifier or regression, was changed, or does not fit the data.
    """
    engine = load(path, data, torch.get_num_threads(), 1, torch.float32)
    if not isinstance(engine, Exported):
        raise LayerdropError(f"{path} is no exported classifier: only those are evaluated in their engine")
    engine.check()
    record = engine.record
    return EngineSession(
        path=str(path),
        data=str(data),
        model=EngineModel(engine).eval(),
        task=engine.task,
        cfg={"task": record["task"] | {"_name": "sentence_prediction"}, "common": {"seed": record.get("seed")}},
        kind=record["head"],
        sha256=engine.described["sha256"],
        fingerprint=engine.described["sha256"],
        batch_size=batch_size,
        max_tokens=max_tokens,
        seed=seed,
    )
