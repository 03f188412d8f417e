"""The estimate that a training run keeps beside it, and the file that it writes now and then."""

import logging
from collections.abc import Callable
from multiprocessing.util import Finalize
from pathlib import Path

import torch
from fairseq.distributed import utils as distributed
from torch import Tensor

from ..pruning.scores import Importance
from .methods import METHODS
from .recorder import Recorder, Sums

logger = logging.getLogger(__name__)
STATE = "head_importance"  # what a checkpoint calls the estimate


def keep_in_checkpoints(estimate: "RunningEstimate", task) -> None:
    """Let *estimate* travel in the checkpoints of a run of *task*, by the hooks that fairseq offers to tasks.

    fairseq calls ``set_checkpoint_dict`` where the run goes on at its place in the data, and only there.
    """
    name = type(task).__name__
    others, take_others = getattr(task, "get_checkpoint_dict", dict), getattr(task, "set_checkpoint_dict", None)

    def get_checkpoint_dict() -> dict:
        kept, state = others(), estimate.state_dict()
        return kept | {name: kept.get(name, {}) | {STATE: state}} if state else kept

    def set_checkpoint_dict(kept: dict) -> None:
        if estimate.resumes and STATE in kept:
            estimate.load_state_dict(kept[STATE])
        if take_others is not None:
            take_others({key: value for key, value in kept.items() if key != STATE})

    task.get_checkpoint_dict, task.set_checkpoint_dict = get_checkpoint_dict, set_checkpoint_dict


class RunningEstimate:
    """Sums over the updates of a run, over all workers; the master writes the file.

    Fairseq may throw an update away: where loss scaling overflows, or memory runs out. What its batches gave is kept
    apart until the update has succeeded. The sums travel in the run's checkpoints (see :func:`keep_in_checkpoints`), so
    that an interrupted run goes on with those of the updates that it does not repeat.

    Args:
        file: where to, None on workers other than the master.
        interval: updates from one writing to the next, at least; and at least a tenth more than at the one before, as
            a large model's file takes a while and a long run's estimate hardly moves.
        method: one of ``methods.GRADIENTS``.
        per: ``example`` or ``token``.
        model, data, signature: as :class:`Importance` has them.
        resumes: whether the run goes on from a checkpoint, and with its sums.

    Attributes:
        updates: those whose sums these are.
        since_update: updates that the model had had before the first of them.
    """

    def __init__(
        self, *, file: Path | None, interval: int, method: str, per: str, model, data, signature: dict, resumes=False
    ):
        self.file, self.interval, self.method, self.per = file, interval, method, per
        self.described = {"model": model, "data": data, "signature": signature}
        self.sums: Sums | None = None
        self.updates = self.since_update = self._written = 0  # the last: when the file was written last
        self.resumes = resumes
        self._anew = "the checkpoint has no sums of importance" if resumes else None  # why they begin at zero
        self.counted = True  # whether the latest batch's gradients were finite; a tensor once there is one
        self._update: Tensor | None = None
        if file is not None:  # fairseq-train has no hook at its end; this one works in spawned workers, too
            self.at_exit = Finalize(None, self._end, exitpriority=10)

    def begin(self, recorder: Recorder, device: torch.device) -> Callable[[Tensor], None]:
        """A batch of an update begins; give the function that its sums are to be told to."""
        if self.sums is not None and self.sums.sizes != recorder.sizes:
            self.sums, self._anew = None, "the checkpoint's sums of importance are of other parts"
        if self.sums is None:
            self.sums, self.updates, self.since_update, self._written = recorder.sums(), 0, recorder.update, 0
            if self._anew and self.file is not None:
                logger.warning(f"{self._anew}: the estimate begins anew after {recorder.update} updates")
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
        signature = self.described["signature"] | {"updates": self.updates, "since_update": self.since_update}
        Importance.of(scores, errors, **found, **self.described | {"signature": signature}).save(self.file)

    def state_dict(self) -> dict:
        """What a checkpoint keeps of it: plain containers and tensors; empty before the first update."""
        if self.sums is None:
            return {}
        counts = {"updates": self.updates, "since_update": self.since_update, "model": self.described["model"]}
        return counts | {"sums": self.sums.state_dict(), "of": self._of()}

    def load_state_dict(self, state: dict) -> None:
        """Go on with what a checkpoint kept, unless that is an estimate of something else."""
        of, mine = state["of"], self._of()
        other = next((name for name in mine if of.get(name) != mine[name]), None)
        if other:
            self._anew = f"the checkpoint's sums of importance are of another {other}"
            return
        self.sums = Sums.from_state_dict(state["sums"])
        self.updates, self.since_update = state["updates"], state["since_update"]
        self._written = self.updates
        self.described["model"] = state["model"]  # in half precision a checkpoint's weights are not quite the same

    def _of(self) -> dict:
        """What only sums of the same can be added to."""
        signature, kind = self.described["signature"], "estimate" if self.described["model"] else "training"
        named = {"criterion": signature["criterion"], "split": signature["split"], "data": self.described["data"]}
        return named | {"unit": self.per, "kind of run": kind}

    def _end(self) -> None:
        self.write()
        if self.sums is None or self.sums.examples == 0:
            logger.warning(f"no batch gave finite gradients: {self.file} was not written")
        else:
            logger.info(f"{self.method} of {self.sums.examples:,} examples: {self.file}")
