"""Find and build the criterion whose loss importance is about."""

import difflib
import json
import os
from typing import NamedTuple

from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY, FairseqCriterion
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .. import checkpoint
from ..errors import LayerdropError

WRAPPER = "head_importance"
# Options that fairseq's sentence_prediction task reads from the run's criterion, which is the wrapper.
OF_THE_RUN = ("classification_head_name", "regression_target")


class BaseCriterion(NamedTuple):
    """A criterion of fairseq's and its options.

    Attributes:
        kind: its class.
        cfg: its structured configuration, within the run's.
    """

    kind: type[FairseqCriterion]
    cfg: DictConfig

    def build(self, task, kind: type[FairseqCriterion] | None = None) -> FairseqCriterion:
        """The criterion, or one of a subclass *kind* of it."""
        return (kind or self.kind).build_criterion(self.cfg, task)

    def plain(self) -> dict:
        """Its options as a checkpoint has them."""
        return OmegaConf.to_container(self.cfg, resolve=True, enum_to_str=True)


def base_criterion(name: str, saved: dict, arguments: str | None, root: DictConfig) -> BaseCriterion:
    """The criterion *name* within the configuration *root*.

    Args:
        saved: options that it has unless *arguments* say otherwise, for instance a checkpoint's; those that follow
            other options of the run and those that it does not have are left out.
        arguments: further options as a JSON object.

    Raises:
        LayerdropError: there is no such criterion, or it does not have such an option, or not with such a value.
    """
    cfg = _structured(name)
    for key, value in saved.items():
        if key in cfg and not OmegaConf.is_interpolation(cfg, key):
            _set(cfg, key, value, name)
    for key, value in _parsed(arguments).items():
        if key in OF_THE_RUN:
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


def criterion_of_run(root: DictConfig, task_options) -> dict:
    """The criterion, with its options, in the checkpoint that a run begins with.

    Raises:
        LayerdropError: the run begins with none, or with one of another task, or it names no criterion.
    """
    begin = root.checkpoint
    files = [checkpoint.restored_file(begin), begin.finetune_from_model, task_options.get("prune_from")]
    found = next((file for file in files if file and os.path.isfile(file)), None)
    if found is None:
        raise LayerdropError(f"--criterion {WRAPPER} needs --base-criterion NAME: it begins without a checkpoint")
    cfg = checkpoint.read(found)["cfg"]
    saved = saved_criterion(cfg, found)
    before, now = ((of.get("_name") or "").removeprefix("pruning_") for of in (cfg.get("task") or {}, task_options))
    if before and now and before != now:
        raise LayerdropError(
            f"{found} was trained for {before} with criterion {saved['_name']}: give --base-criterion NAME for {now}"
        )
    return saved


def saved_criterion(cfg: dict, path) -> dict:
    """The criterion in the configuration *cfg* of the checkpoint *path*.

    Raises:
        LayerdropError: it names none.
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
    names = sorted(key for key in cfg if not key.startswith("_") and key not in OF_THE_RUN)
    return ", ".join(names) or "none"
