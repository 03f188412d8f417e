"""``--criterion head_importance``: any criterion, with an estimate of what each part of the model is worth beside it.

Source: Michel, Levy, Neubig 2019, "Are Sixteen Heads Really Better than One?", section 3.2. The gradients of the gates
are read in the backward pass that training runs anyway, so training goes on as it would without.
"""

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional  # fairseq turns these annotations into option types; it does not know "str | None"

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.distributed.utils import is_master
from omegaconf import OmegaConf, open_dict

from .. import checkpoint
from ..data_folder import find_split
from ..errors import LayerdropError
from ..importance.additivity import check_additivity
from ..importance.base_criterion import OF_THE_RUN, WRAPPER, BaseCriterion, base_criterion, criterion_of_run
from ..importance.methods import GRADIENTS
from ..importance.recorder import Recorder, rows_of
from ..importance.running_estimate import RunningEstimate, keep_in_checkpoints
from ..provenance import versions


@dataclass
class HeadImportanceConfig(FairseqDataclass):
    """Options of ``--criterion head_importance``."""

    base_criterion: Optional[str] = field(
        default=None,
        metadata={"help": "the criterion to train with (default: that of the checkpoint the run begins with)"},
    )
    base_criterion_args: Optional[str] = field(default=None, metadata={"help": "its options as a JSON object"})
    importance_per: ChoiceEnum(["example", "token"]) = field(
        default="example", metadata={"help": "take absolute values of each example's gradients, or of each token's"}
    )
    importance_method: ChoiceEnum(list(GRADIENTS)) = field(
        default=GRADIENTS[0], metadata={"help": "what to make of the gradients"}
    )
    importance_file: Optional[str] = field(
        default=None, metadata={"help": "JSON file to write (default: SAVE_DIR/importance.json)"}
    )
    classification_head_name: str = field(
        default="sentence_classification_head", metadata={"help": "name of the classification head to use"}
    )
    regression_target: bool = field(default=False, metadata={"help": "sentence_prediction on numbers, not classes"})


class Estimating:
    """Mixed into a subclass of the base criterion: what that does, and the gradients of the model's gates are recorded.

    Attributes:
        estimate: of this run. It belongs to the class, because fairseq reduces metrics on the class.
        recorder, independent: of the model; made with the first training batch.
    """

    estimate: RunningEstimate
    recorder: Recorder | None = None
    independent = False

    def forward(self, model, sample, reduce=True):
        """The base criterion's loss, sample size and logging outputs."""
        if not torch.is_grad_enabled():  # validation
            return super().forward(model, sample, reduce=reduce)
        if self.recorder is None:
            self.recorder = Recorder(model, self.estimate.per == "token")
        self._check_once(model, sample)
        batch = self.recorder.begin(sample, self.estimate.begin(self.recorder, next(model.parameters()).device))
        loss, sample_size, logging_output = super().forward(model, sample, reduce=reduce)
        return batch.watch(loss), sample_size, logging_output

    def _check_once(self, model, sample) -> None:
        if self.independent or rows_of(sample) == 1:  # one example says nothing about sums
            return
        inner = unwrapped(model)  # what wraps it would wait for the other workers
        loss_of = super().forward
        padding = self.task.source_dictionary.pad()
        check_additivity(lambda part: loss_of(inner, part)[0], sample, (inner, self), padding)
        self.independent = True

    def train(self, mode=True):
        """As torch's; the trainer calls it when it begins an update, tries one again or validates."""
        self.estimate.forget()
        return super().train(mode)

    @classmethod
    def reduce_metrics(cls, logging_outputs) -> None:
        """The base criterion's metrics. The trainer comes here when an update has succeeded, on every worker."""
        cls.estimate.add_update()
        super().reduce_metrics(logging_outputs)


@register_criterion(WRAPPER, dataclass=HeadImportanceConfig)
class HeadImportanceCriterion(FairseqCriterion):
    """The name on the command line. What it builds is a subclass of the base criterion, named as that."""

    @classmethod
    def build_criterion(cls, cfg, task):
        """The base criterion with an estimate beside it. The run goes on, and saves, as one with the base alone.

        Raises:
            LayerdropError: no base criterion, an unknown one, or options that it does not have; or a run that cannot
                estimate anything.
        """
        root = cfg._get_parent() if OmegaConf.is_config(cfg) else None
        if root is None or getattr(task, "cfg", None) is None:
            raise LayerdropError(f"--criterion {WRAPPER} is for fairseq-train with a task that has a configuration")
        if root.distributed_training.get("ddp_backend") == "fully_sharded":
            raise LayerdropError(f"--criterion {WRAPPER} cannot run under --ddp-backend fully_sharded: use another")
        base = _base_criterion(cfg, task, root)
        kind = type(base.kind.__name__, (Estimating, base.kind), {"__doc__": base.kind.__doc__})
        criterion = base.build(task, kind)
        if not isinstance(criterion, kind):
            raise LayerdropError(f"--base-criterion {base.cfg._name} builds something else than itself")
        kind.estimate = _running_estimate(cfg, task, root, base)
        with open_dict(root):
            root.criterion = base.plain()
        return criterion


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model within the wrappers of fairseq's data parallelism."""
    while isinstance(getattr(model, "module", None), torch.nn.Module):
        model = model.module
    return model


def _base_criterion(cfg, task, root) -> BaseCriterion:
    name, saved = cfg.base_criterion, {}
    if name is None:
        saved = criterion_of_run(root, task.cfg)
        name = saved["_name"]
    return base_criterion(name, saved | {option: cfg[option] for option in OF_THE_RUN}, cfg.base_criterion_args, root)


def _running_estimate(cfg, task, root, base: BaseCriterion) -> RunningEstimate:
    file = Path(cfg.importance_file or Path(root.checkpoint.save_dir) / "importance.json")
    master = is_master(root.distributed_training)
    if master and not file.parent.is_dir():
        raise LayerdropError(f"cannot write {file}: the folder {file.parent} does not exist, make it first")
    data = _sha256(task.cfg, root.dataset.train_subset) if master else None
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
    if master:  # the others' sums are written nowhere
        keep_in_checkpoints(estimate, task)
    return estimate


def _resumes(begin) -> bool:
    """Whether the run goes on from a checkpoint, and with what was counted before."""
    reset = any(begin.get(f"reset_{what}") for what in ("dataloader", "meters", "optimizer"))
    return checkpoint.restored_file(begin) is not None and not reset


def _sha256(options, subset: str) -> str | None:
    """SHA-256 of the data that the run trains on; None where it lies in other ways than we know."""
    languages = options.get("source_lang"), options.get("target_lang")
    try:
        return find_split(options.data, subset, languages if all(languages) else None, training=True).sha256()
    except LayerdropError:
        return None
