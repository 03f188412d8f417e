"""The estimate that a training run keeps beside it, and the file that it writes now and then."""

import logging
from collections.abc import Callable
from multiprocessing.util import Finalize
from pathlib import Path

import torch
from fairseq.distributed import utils as distributed
from torch import Tensor

from ..pruning.baselines import METHODS
from ..pruning.importance import Importance
from .recorder import Recorder, Sums

logger = logging.getLogger(__name__)


class RunningEstimate:
    """Sums over the updates of a run, over all workers; the master writes the file.

    Fairseq may throw an update away: where loss scaling overflows, or memory runs out. What its batches gave is kept
    apart until the update has succeeded.

    Args:
        file: where to, None on workers other than the master.
        interval: updates from one writing to the next, at least; and at least a tenth more than at the one before, as
            a large model's file takes a while and a long run's estimate hardly moves.
        method: one of ``baselines.GRADIENTS``.
        per: ``example`` or ``token``.
        model, data, signature: as :class:`Importance` has them.
    """

    def __init__(self, *, file: Path | None, interval: int, method: str, per: str, model, data, signature: dict):
        self.file, self.interval, self.method, self.per = file, interval, method, per
        self.described = {"model": model, "data": data, "signature": signature}
        self.sums: Sums | None = None
        self.updates = self._written = 0  # so far, and when the file was written last
        self.counted = True  # whether the latest batch's gradients were finite; a tensor once there is one
        self._update: Tensor | None = None
        if file is not None:  # fairseq-train has no hook at its end; this one works in spawned workers, too
            self.at_exit = Finalize(None, self._end, exitpriority=10)

    def begin(self, recorder: Recorder, device: torch.device) -> Callable[[Tensor], None]:
        """A batch of an update begins; give the function that its sums are to be told to."""
        if self.sums is None:
            self.sums = recorder.sums()
        if self._update is None:
            self._update = torch.zeros(self.sums.length, dtype=torch.float64, device=device)
        return self._take

    def _take(self, values: Tensor) -> None:
        self.counted = values[0] > 0
        self._update += values

    def forget(self) -> None:
        """What is left of the latest update was thrown away."""
        self._update = None

    def add_update(self) -> None:
        """The update has succeeded: add what all workers have of it. Does nothing after a validation."""
        if self._update is None:
            return
        if distributed.get_data_parallel_world_size() > 1:
            distributed.all_reduce(self._update, group=distributed.get_data_parallel_group())
        self.sums.add(self._update)
        self._update = None
        self.updates += 1
        if self.updates % self.interval == 0 and 10 * self.updates >= 11 * self._written:
            self._written = self.updates
            self.write()

    def write(self) -> None:
        """Write the file, if there is anything to write."""
        if self.file is None or self.sums is None or self.sums.examples == 0:
            return
        scores, errors = METHODS[self.method](None, self.sums)
        found = {"examples": self.sums.examples, "loss": self.sums.loss, "per": self.per, "method": self.method}
        Importance.of(scores, errors, **found, **self.described).save(self.file)

    def _end(self) -> None:
        self.write()
        if self.sums is None or self.sums.examples == 0:
            logger.warning(f"no batch gave finite gradients: {self.file} was not written")
        else:
            logger.info(f"{self.method} of {self.sums.examples:,} examples: {self.file}")
