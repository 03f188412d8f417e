"""Find and build fairseq's criterion beneath ours: ``--base-criterion`` and ``--base-criterion-args``.

A criterion of ours is a :class:`Wrapper`. What it builds is an instance of a subclass of the base criterion, of that
name, with a mixin. The run's configuration then names the base criterion, and so do checkpoints.
"""

import difflib
import json
import os
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Optional  # fairseq turns these annotations into option types, not "str | None"

import torch
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY, FairseqCriterion
from fairseq.dataclass import FairseqDataclass
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from . import checkpoint
from .errors import LayerdropError

# Options that fairseq's sentence_prediction task reads from the run's criterion, which is ours.
RUN_OPTIONS = ("classification_head_name", "regression_target")


class BaseCriterion(NamedTuple):
    """A fairseq criterion and its options.

    Attributes:
        criterion_class: its class.
        cfg: its structured configuration, a child of the run's.
    """

    criterion_class: type[FairseqCriterion]
    cfg: DictConfig

    def build(self, task: FairseqTask, *mixins: type) -> FairseqCriterion:
        """Build the criterion for *task*; with *mixins* an instance of a subclass of it that has its name.

        Raises:
            LayerdropError: the criterion builds something else than what it is asked for.
        """
        kind = stock = self.criterion_class
        if mixins:
            kind = type(stock.__name__, (*mixins, stock), {"__doc__": stock.__doc__})
        criterion = kind.build_criterion(self.cfg, task)
        if not isinstance(criterion, kind):
            raise LayerdropError(f"--base-criterion {self.cfg._name} builds something else than itself")
        return criterion

    def plain(self) -> dict:
        """Its options as plain containers, as in a checkpoint."""
        return OmegaConf.to_container(self.cfg, resolve=True, enum_to_str=True)


@dataclass
class WrapperConfig(FairseqDataclass):
    """Options of every criterion of ours."""

    base_criterion: Optional[str] = field(
        default=None,
        metadata={"help": "the criterion to train with (default: that of the checkpoint that the run starts from)"},
    )
    base_criterion_args: Optional[str] = field(
        default=None, metadata={"help": "options of the base criterion, a JSON object"}
    )
    classification_head_name: str = field(
        default="sentence_classification_head", metadata={"help": "name of the classification head to use"}
    )
    regression_target: bool = field(default=False, metadata={"help": "sentence_prediction on numbers, not classes"})


class Wrapper(FairseqCriterion):
    """A registered criterion, of which no instances exist: :meth:`build_criterion` wraps the base criterion.

    Attributes:
        may_wrap: names of those of our own criterions that it may wrap.
    """

    may_wrap: tuple[str, ...] = ()

    @classmethod
    def mixin(cls, cfg: DictConfig, task: FairseqTask, root: DictConfig, base: BaseCriterion) -> type:
        """The class that adds to *base* what this criterion is for.

        Args:
            cfg: this criterion's options.
            root: the run's configuration.

        Raises:
            LayerdropError: options that are wrong or do not go with the run.
        """
        raise NotImplementedError

    @classmethod
    def build_criterion(cls, cfg: DictConfig, task: FairseqTask) -> FairseqCriterion:
        """Build an instance of a subclass of the base criterion with :meth:`mixin`.

        Replaces the run's criterion options by those of the base criterion, so that checkpoints name the latter.

        Raises:
            LayerdropError: there is no base criterion, it or one of its options is unknown, or as :meth:`mixin`.
        """
        root = cfg._get_parent() if OmegaConf.is_config(cfg) else None
        if root is None or options_of(task) is None:
            raise LayerdropError(f"--criterion {cfg._name} is for fairseq-train with a task that has a configuration")
        if root.distributed_training.get("ddp_backend") == "fully_sharded":
            raise LayerdropError(f"--criterion {cfg._name} cannot run under --ddp-backend fully_sharded: use another")
        mixins, base = cls._mixins(cfg, task, root)
        criterion = base.build(task, *mixins)
        with open_dict(root):
            root.criterion = base.plain()
            _forget(root, [name for name in cfg if name not in base.cfg])
        return criterion

    @classmethod
    def _mixins(cls, cfg, task, root) -> tuple[list[type], BaseCriterion]:
        """This criterion's mixin and those of our criterions beneath it, and fairseq's at the bottom."""
        name, saved = cfg.base_criterion, {}
        if name is None:
            saved = criterion_of_run(root, options_of(task), cfg._name)
            name = saved["_name"]
        run = {option: cfg[option] for option in RUN_OPTIONS}
        base = base_criterion(name, saved | run, cfg.base_criterion_args, root, cls.may_wrap)
        beneath, bottom = [], base
        if issubclass(base.criterion_class, Wrapper):
            beneath, bottom = base.criterion_class._mixins(base.cfg, task, root)
        return [cls.mixin(cfg, task, root, base), *beneath], bottom


def _forget(root: DictConfig, names: list[str]) -> None:
    """Take the options *names* out of a model's, where fairseq keeps a copy of those of the whole command line."""
    model = root.get("model") or {}
    model = vars(model) if isinstance(model, Namespace) else model
    for name in names:
        model.pop(name, None)
    if "criterion" in model:
        model["criterion"] = root.criterion._name


def options_of(task: FairseqTask) -> DictConfig | None:
    """The configuration of *task*, which fairseq's older tasks call ``args``; None where it has none."""
    found = (getattr(task, name, None) for name in ("cfg", "args"))
    return next((options for options in found if OmegaConf.is_config(options)), None)


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """Remove the wrappers of fairseq's data parallelism from *model*."""
    while isinstance(getattr(model, "module", None), torch.nn.Module):
        model = model.module
    return model


def base_criterion(
    name: str, saved: dict, arguments: str | None, root: DictConfig, may_wrap: tuple[str, ...] = ()
) -> BaseCriterion:
    """Configure the criterion *name*.

    Args:
        name: name of a registered criterion.
        saved: options, for instance those in a checkpoint. Options that the criterion does not have are ignored, and so
            are those that the criterion takes from other options of the run by interpolation.
        arguments: options as a JSON object; they override *saved*.
        root: the run's configuration, which becomes the parent of the criterion's.
        may_wrap: names of those of our own criterions that may be wrapped.

    Raises:
        LayerdropError: an unknown criterion, an unknown option or an invalid value.
    """
    cfg = _structured(name, may_wrap)
    for key, value in saved.items():
        if key in cfg and not OmegaConf.is_interpolation(cfg, key):
            _set(cfg, key, value, name)
    for key, value in _parsed(arguments).items():
        if key in RUN_OPTIONS:
            raise LayerdropError(
                f"{key!r} is an option of the run, as its task needs it too: give --{key.replace('_', '-')}"
                " instead of naming it in --base-criterion-args"
            )
        if key not in cfg or key.startswith("_"):
            raise LayerdropError(f"--base-criterion {name} has no option {key!r}: it has {_options(cfg)}")
        _set(cfg, key, value, name)
    cfg._set_parent(root)
    cfg._name = name
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise LayerdropError(f"--base-criterion {name} needs the option {missing[0]!r} in --base-criterion-args")
    OmegaConf.set_struct(cfg, True)
    return BaseCriterion(CRITERION_REGISTRY[name], cfg)


def first_checkpoint(root: DictConfig, task_options: DictConfig) -> str | None:
    """The checkpoint that a run starts from: one that it resumes, fine-tunes or prunes; None where there is none."""
    options = root.checkpoint
    files = [checkpoint.restored_file(options), options.finetune_from_model, task_options.get("prune_from")]
    return next((file for file in files if file and os.path.isfile(file)), None)


def criterion_of_run(root: DictConfig, task_options: DictConfig, wrapper: str) -> dict:
    """The criterion's options in the checkpoint that a run starts from.

    Args:
        root: the run's configuration.
        task_options: the configuration of its task.
        wrapper: name of the criterion of ours that needs them, for messages.

    Raises:
        LayerdropError: the run starts without a checkpoint, or the checkpoint was trained for another task or names no
            criterion.
    """
    path = first_checkpoint(root, task_options)
    if path is None:
        raise LayerdropError(f"--criterion {wrapper} needs --base-criterion NAME: it begins without a checkpoint")
    cfg = checkpoint.read(path)["cfg"]
    saved = saved_criterion(cfg, path)
    tasks = (cfg.get("task") or {}, task_options)
    before, now = ((options.get("_name") or "").removeprefix("pruning_") for options in tasks)
    if before and now and before != now:
        raise LayerdropError(
            f"{path} was trained for {before} with criterion {saved['_name']}: give --base-criterion NAME for {now}"
        )
    return saved


def saved_criterion(cfg: dict, path: str | Path) -> dict:
    """The criterion's options in the configuration *cfg* of the checkpoint *path*.

    Raises:
        LayerdropError: the configuration names no criterion.
    """
    saved = cfg.get("criterion")
    if not isinstance(saved, dict) or not saved.get("_name"):
        raise LayerdropError(f"{path} does not say with which criterion it was trained: give --base-criterion NAME")
    return saved


def _structured(name: str, may_wrap: tuple[str, ...]) -> DictConfig:
    if issubclass(CRITERION_REGISTRY.get(name, FairseqCriterion), Wrapper) and name not in may_wrap:
        raise LayerdropError(
            f"--base-criterion {name} is a wrapper itself: name the criterion to be wrapped (head_importance may be put"
            " around pruning_distillation)"
        )
    if name not in CRITERION_REGISTRY:
        near = difflib.get_close_matches(name, CRITERION_REGISTRY) or sorted(CRITERION_REGISTRY)
        raise LayerdropError(f"there is no --base-criterion {name!r}: did you mean {' or '.join(near)}?")
    if name not in CRITERION_DATACLASS_REGISTRY:
        raise LayerdropError(f"--base-criterion {name} does not declare its options, so it cannot be wrapped")
    return OmegaConf.structured(CRITERION_DATACLASS_REGISTRY[name]())


def _parsed(arguments: str | None) -> dict:
    try:
        parsed = json.loads(arguments or "{}")
    except ValueError as error:
        raise LayerdropError(f"--base-criterion-args is not JSON ({error}): {arguments}") from None
    if not isinstance(parsed, dict):
        raise LayerdropError(
            f'--base-criterion-args must be a JSON object, such as {{"label_smoothing": 0.1}}, not {arguments}'
        )
    return parsed


def _set(cfg: DictConfig, key: str, value, name: str) -> None:
    try:
        cfg[key] = value
    except OmegaConfBaseException as error:
        line = str(error).splitlines()[0]
        raise LayerdropError(f"the option {key!r} of --base-criterion {name} cannot be {value!r}: {line}") from None


def _options(cfg: DictConfig) -> str:
    names = sorted(key for key in cfg if not key.startswith("_") and key not in RUN_OPTIONS)
    return ", ".join(names) or "none"
