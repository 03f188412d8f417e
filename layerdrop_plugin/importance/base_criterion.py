"""Find and build the criterion whose loss is differentiated for importance scores."""

import difflib
import json
import os
from pathlib import Path
from typing import NamedTuple

from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY, FairseqCriterion
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .. import checkpoint
from ..errors import LayerdropError

WRAPPER = "head_importance"
# Options that fairseq's sentence_prediction task reads from the run's criterion, which is the wrapper.
RUN_OPTIONS = ("classification_head_name", "regression_target")


class BaseCriterion(NamedTuple):
    """A fairseq criterion and its options.

    Attributes:
        criterion_class: its class.
        cfg: its structured configuration, a child of the run's.
    """

    criterion_class: type[FairseqCriterion]
    cfg: DictConfig

    def build(self, task: FairseqTask, subclass: type[FairseqCriterion] | None = None) -> FairseqCriterion:
        """Build the criterion for *task*, or an instance of a *subclass* of it."""
        return (subclass or self.criterion_class).build_criterion(self.cfg, task)

    def plain(self) -> dict:
        """Its options as plain containers, as in a checkpoint."""
        return OmegaConf.to_container(self.cfg, resolve=True, enum_to_str=True)


def base_criterion(name: str, saved: dict, arguments: str | None, root: DictConfig) -> BaseCriterion:
    """Configure the criterion *name*.

    Args:
        name: name of a registered criterion.
        saved: options, for instance those in a checkpoint. Options that the criterion does not have are ignored, and so
            are those that the criterion takes from other options of the run by interpolation.
        arguments: options as a JSON object; they override *saved*.
        root: the run's configuration, which becomes the parent of the criterion's.

    Raises:
        LayerdropError: an unknown criterion, an unknown option or an invalid value.
    """
    cfg = _structured(name)
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


def criterion_of_run(root: DictConfig, task_options: DictConfig) -> dict:
    """The criterion's options in the checkpoint that a run starts from.

    Args:
        root: the run's configuration.
        task_options: the configuration of its task.

    Raises:
        LayerdropError: the run starts without a checkpoint, or the checkpoint was trained for another task or names no
            criterion.
    """
    options = root.checkpoint
    files = [checkpoint.restored_file(options), options.finetune_from_model, task_options.get("prune_from")]
    path = next((file for file in files if file and os.path.isfile(file)), None)
    if path is None:
        raise LayerdropError(f"--criterion {WRAPPER} needs --base-criterion NAME: it begins without a checkpoint")
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


def _structured(name: str) -> DictConfig:
    if name == WRAPPER:
        raise LayerdropError(f"--base-criterion {WRAPPER} is the wrapper itself: name the criterion to be wrapped")
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
