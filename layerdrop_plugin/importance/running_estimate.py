"""Importance scores estimated during a training run, and written to a file at intervals."""

import logging
from collections.abc import Callable
from multiprocessing.util import Finalize
from pathlib import Path

import torch
from fairseq.distributed import utils as distributed
from fairseq.tasks import FairseqTask
from torch import Tensor

from ..pruning.scores import Scores
from .methods import METHODS
from .recorder import GradientSums, Recorder

logger = logging.getLogger(__name__)
STATE = "head_importance"  # key in a checkpoint


def keep_in_checkpoints(estimate: "RunningEstimate", task: FairseqTask) -> None:
    """Save *estimate* in the checkpoints of a run of *task* and restore it from them.

    Replaces the hooks ``get_checkpoint_dict`` and ``set_checkpoint_dict`` of *task*. fairseq calls the latter only if
    the run resumes at its position in the data.
    """
    name = type(task).__name__
    get_others, set_others = getattr(task, "get_checkpoint_dict", dict), getattr(task, "set_checkpoint_dict", None)

    def get_checkpoint_dict() -> dict:
        saved, state = get_others(), estimate.state_dict()
        return saved | {name: saved.get(name, {}) | {STATE: state}} if state else saved

    def set_checkpoint_dict(saved: dict) -> None:
        if estimate.resumes and STATE in saved:
            estimate.load_state_dict(saved[STATE])
        if set_others is not None:
            set_others({key: value for key, value in saved.items() if key != STATE})

    task.get_checkpoint_dict, task.set_checkpoint_dict = get_checkpoint_dict, set_checkpoint_dict


class RunningEstimate:
    """Sums of gradients over the updates of a run and over all workers; the master writes the file.

    fairseq discards an update if loss scaling overflows or memory runs out. The sums of an update's batches are
    therefore kept apart until the update has succeeded. The sums are saved in the run's checkpoints (see
    :func:`keep_in_checkpoints`), so that a resumed run continues them.

    Args:
        file: JSON file to write; None on workers other than the master.
        interval: minimum number of updates between two writes. The number of updates must also grow by at least a
            tenth, because writing takes long for large models and the estimate of a long run hardly changes.
        method: one of ``methods.GRADIENTS``.
        per: ``example`` or ``token``.
        model, data, signature: see :class:`Scores`.
        resumes: whether the run resumes from a checkpoint, whose sums are continued.

    Attributes:
        updates: number of updates in the sums.
        since_update: number of updates of the model before the first one in the sums.
        counted: whether the gradients of the latest batch were finite; a boolean tensor after the first batch.
    """

    def __init__(
        self,
        *,
        file: Path | None,
        interval: int,
        method: str,
        per: str,
        model: str | None,
        data: str | None,
        signature: dict,
        resumes: bool = False,
    ):
        self.file, self.interval, self.method, self.per = file, interval, method, per
        self.described = {"model": model, "data": data, "signature": signature}
        self.sums: GradientSums | None = None
        self.updates = self.since_update = 0
        self._written = 0  # number of updates in the file
        self.resumes = resumes
        self._restart_reason = "the checkpoint has no sums of importance" if resumes else None  # if the sums start at 0
        self.counted: bool | Tensor = True
        self._update: Tensor | None = None  # sums of the update that has not succeeded yet
        if file is not None:  # fairseq-train has no hook at its end; unlike atexit, Finalize runs in spawned workers
            self.at_exit = Finalize(None, self._write_at_exit, exitpriority=10)

    def start_batch(self, recorder: Recorder, device: torch.device) -> Callable[[Tensor], None]:
        """Start a batch of an update; returns the callback for :meth:`Recorder.start_batch`."""
        if self.sums is not None and self.sums.sizes != recorder.sizes:
            self.sums, self._restart_reason = None, "the checkpoint's sums of importance are of other parts"
        if self.sums is None:
            self.sums, self.updates, self.since_update, self._written = recorder.sums(), 0, recorder.num_updates, 0
            if self._restart_reason and self.file is not None:
                logger.warning(f"{self._restart_reason}: the estimate begins anew after {recorder.num_updates} updates")
        if self._update is None:
            self._update = torch.zeros(self.sums.length, dtype=torch.float64, device=device)
        return self._add_batch

    def _add_batch(self, values: Tensor) -> None:
        self.counted = values[0] > 0
        self._update += values

    def discard_update(self) -> None:
        """Discard the sums of an update that has not succeeded."""
        self._update = None

    def add_update(self) -> None:
        """Add the sums of a successful update, over all workers. Does nothing after a validation."""
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
        """Write the file, on the master only, if there are any examples."""
        if self.file is None or self.sums is None or self.sums.examples == 0:
            return
        scores, errors = METHODS[self.method](None, self.sums)
        estimated = {"examples": self.sums.examples, "loss": self.sums.loss, "per": self.per, "method": self.method}
        signature = self.described["signature"] | {"updates": self.updates, "since_update": self.since_update}
        Scores.of(scores, errors, **estimated, **self.described | {"signature": signature}).save(self.file)

    def state_dict(self) -> dict:
        """State for a checkpoint: plain containers and tensors; empty before the first update."""
        if self.sums is None:
            return {}
        counts = {"updates": self.updates, "since_update": self.since_update, "model": self.described["model"]}
        return counts | {"sums": self.sums.state_dict(), "of": self._identity()}

    def load_state_dict(self, state: dict) -> None:
        """Continue the sums of a checkpoint, unless their settings (see :meth:`_identity`) differ from this run's."""
        saved, current = state["of"], self._identity()
        other = next((name for name in current if saved.get(name) != current[name]), None)
        if other:
            self._restart_reason = f"the checkpoint's sums of importance are of another {other}"
            return
        self.sums = GradientSums.from_state_dict(state["sums"])
        self.updates, self.since_update = state["updates"], state["since_update"]
        self._written = self.updates
        self.described["model"] = state["model"]  # half-precision weights change slightly when saved

    def _identity(self) -> dict:
        """Settings that must be equal for sums to be added."""
        signature, run = self.described["signature"], "estimate" if self.described["model"] else "training"
        identity = {"criterion": signature["criterion"], "split": signature["split"], "data": self.described["data"]}
        return identity | {"unit": self.per, "kind of run": run}

    def _write_at_exit(self) -> None:
        self.write()
        if self.sums is None or self.sums.examples == 0:
            logger.warning(f"no batch gave finite gradients: {self.file} was not written")
        else:
            logger.info(f"{self.method} of {self.sums.examples:,} examples: {self.file}")
