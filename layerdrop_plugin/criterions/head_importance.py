"""``--criterion head_importance``: train with any criterion and estimate the importance of the model's parts meanwhile.

Source: Michel, Levy, Neubig 2019, "Are Sixteen Heads Really Better than One?", section 3.2. The gradients of the gates
are recorded in the backward passes of the training, which is not changed.
"""

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional  # fairseq turns these annotations into option types; it does not know "str | None"

import torch
from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from fairseq.distributed.utils import is_master
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig
from torch import Tensor

from .. import checkpoint
from ..base_criterion import BaseCriterion, Wrapper, WrapperConfig, options_of, unwrapped
from ..data_folder import find_split
from ..errors import LayerdropError
from ..importance.additivity import check_additivity
from ..importance.methods import GRADIENTS
from ..importance.recorder import Recorder, num_examples
from ..importance.running_estimate import RunningEstimate, keep_in_checkpoints
from ..provenance import versions


@dataclass
class HeadImportanceConfig(WrapperConfig):
    """Options of ``--criterion head_importance``."""

    importance_per: ChoiceEnum(["example", "token"]) = field(
        default="example", metadata={"help": "take absolute values of each example's gradients, or of each token's"}
    )
    importance_method: ChoiceEnum(list(GRADIENTS)) = field(
        default=GRADIENTS[0], metadata={"help": "how scores are computed from the gradients"}
    )
    importance_file: Optional[str] = field(
        default=None, metadata={"help": "JSON file to write (default: SAVE_DIR/importance.json)"}
    )


class Estimating:
    """Mixin for a subclass of the base criterion, which records the gradients of the model's gates in training.

    Attributes:
        estimate: the run's estimate; an attribute of the class, because ``reduce_metrics`` is a class method.
        recorder: recorder of the model's gradients; None before the first training batch.
        checked: whether the loss has been checked to be a sum over independent examples.
    """

    estimate: RunningEstimate
    recorder: Recorder | None = None
    checked = False

    def forward(self, model: torch.nn.Module, sample: dict, reduce: bool = True) -> tuple[Tensor, int | Tensor, dict]:
        """As the base criterion's; returns loss (a scalar), sample size and logging outputs."""
        if not torch.is_grad_enabled():  # validation
            return super().forward(model, sample, reduce=reduce)
        if self.recorder is None:
            self.recorder = Recorder(model, self.estimate.per == "token")
        self._check_once(model, sample)
        add_batch = self.estimate.start_batch(self.recorder, next(model.parameters()).device)
        batch = self.recorder.start_batch(sample, add_batch)
        loss, sample_size, logging_output = super().forward(model, sample, reduce=reduce)
        return batch.attach(loss), sample_size, logging_output

    def _check_once(self, model, sample) -> None:
        if self.checked or num_examples(sample) == 1:  # a sum over one example cannot be checked
            return
        inner = unwrapped(model)  # DistributedDataParallel would wait for the other workers
        base_forward = super().forward
        padding = self.task.source_dictionary.pad()
        check_additivity(lambda part: base_forward(inner, part)[0], sample, (inner, self), padding)
        self.checked = True

    def train(self, mode: bool = True) -> torch.nn.Module:
        """As torch's. Discards the sums of a failed update: the trainer calls this when it starts or repeats one."""
        self.estimate.discard_update()
        return super().train(mode)

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict]) -> None:
        """As the base criterion's. Adds the update to the estimate: the trainer calls this after a successful one."""
        cls.estimate.add_update()
        super().reduce_metrics(logging_outputs)


@register_criterion("head_importance", dataclass=HeadImportanceConfig)
class HeadImportanceCriterion(Wrapper):
    """The registered criterion, of which no instances exist; the base criterion may be ``pruning_distillation``."""

    may_wrap = ("pruning_distillation",)

    @classmethod
    def mixin(cls, cfg: DictConfig, task: FairseqTask, root: DictConfig, base: BaseCriterion) -> type:
        """:class:`Estimating` with this run's estimate.

        Raises:
            LayerdropError: the file of scores cannot be written.
        """
        return type("Estimating", (Estimating,), {"estimate": _running_estimate(cfg, task, root, base)})


def _running_estimate(cfg, task, root, base: BaseCriterion) -> RunningEstimate:
    file = Path(cfg.importance_file or Path(root.checkpoint.save_dir) / "importance.json")
    master = is_master(root.distributed_training)
    if master and not file.parent.is_dir():
        raise LayerdropError(f"cannot write {file}: the folder {file.parent} does not exist, make it first")
    data = _sha256(options_of(task), root.dataset.train_subset) if master else None
    estimate = RunningEstimate(
        file=file if master else None,
        interval=root.common.log_interval,
        method=str(cfg.importance_method),
        per=str(cfg.importance_per),
        model=getattr(task, "estimated_model", None),
        data=data,
        signature={
            "data_sha256": data,
            "split": root.dataset.train_subset,
            "seed": root.common.seed,
            "versions": versions(),
            "command": shlex.join(sys.argv),
            "criterion": base.plain(),
        },
        resumes=_resumes(root.checkpoint),
    )
    if master:  # only the master saves checkpoints
        keep_in_checkpoints(estimate, task)
    return estimate


def _resumes(options: DictConfig) -> bool:
    """Whether a run with these checkpoint *options* resumes from a checkpoint without resetting its state."""
    reset = any(options.get(f"reset_{state}") for state in ("dataloader", "meters", "optimizer"))
    return checkpoint.restored_file(options) is not None and not reset


def _sha256(options, subset: str) -> str | None:
    """SHA-256 of the split *subset* of the data in the task's *options*; None if the folder's layout is unknown."""
    languages = options.get("source_lang"), options.get("target_lang")
    try:
        return find_split(options.data, subset, languages if all(languages) else None, training=True).sha256()
    except LayerdropError:
        return None
