"""A checkpoint's configuration changed so that fairseq builds this plugin's model of it, whose parts can be gated."""

import os

from ..data_folder import CLASSIFICATION, LANGUAGE_MODEL, TRANSLATION
from ..errors import LayerdropError
from ..pruning.parent import Parent

# fairseq's task -> (kind of model, kind of data folder that the task reads)
TASKS = {
    "sentence_prediction": ("classification", CLASSIFICATION),
    "masked_lm": ("masked_lm", LANGUAGE_MODEL),
    "translation": ("translation", TRANSLATION),
    "language_modeling": ("language_modeling", LANGUAGE_MODEL),
}


def with_plugin_classes(parent: Parent, data: str | os.PathLike, seed: int) -> dict:
    """The parent's configuration with this plugin's architecture, all drop rates 0 and the data folder *data*.

    Raises:
        LayerdropError: the architecture or the task is not supported.
    """
    from fairseq.models import MODEL_REGISTRY

    cfg, path, architecture = parent.cfg, parent.path, f"layerdrop_{parent.family.stock}"
    if architecture not in MODEL_REGISTRY:
        raise LayerdropError(f"{path} is a {parent.family.stock}, whose parts cannot be gated")
    name = str((cfg.get("task") or {}).get("_name")).removeprefix("pruning_")
    if name not in TASKS:
        raise LayerdropError(f"{path} was trained for the task {name!r}: it must be one of {', '.join(TASKS)}")
    task = cfg["task"] | {"_name": name, "data": str(data), "seed": seed}
    if "eval_bleu" in task:
        task["eval_bleu"] = False  # it would load tokenizers that only validation during training needs
    if task.get("upsample_primary") == -1:  # fairseq's default, with which it cannot read a second file
        task["upsample_primary"] = 1
    rates = {key: 0.0 for key in cfg["model"] if key.endswith(("_layerdrop", "_headdrop", "_ffndrop", "_sublayerdrop"))}
    rates |= {"learn_layerdrop": False, "learn_layerdrop_lr": None}  # nothing is dropped, so nothing is learned
    return cfg | {"model": cfg["model"] | {"_name": architecture, "arch": architecture} | rates, "task": task}


def model_kind(cfg: dict, weights: dict, path: str | os.PathLike) -> str:
    """The kind of the model with these options and weights: a task's in TASKS, or ``regression``.

    Raises:
        LayerdropError: a classifier has no classification head.
    """
    kind = TASKS[cfg["task"]["_name"]][0]
    if kind != "classification":
        return kind
    head = cfg["task"].get("classification_head_name", "sentence_classification_head")
    if f"classification_heads.{head}.out_proj.weight" not in weights:  # fairseq would initialise it at random
        raise LayerdropError(f"{path} has no classification head '{head}': fine-tune it first")
    return "regression" if cfg["task"].get("regression_target") else "classification"


def loadable(state: dict, cfg: dict) -> dict:
    """*state*, a checkpoint as :func:`layerdrop_plugin.checkpoint.read` returns it, with the configuration *cfg* as
    fairseq wants it.
    """
    from omegaconf import OmegaConf

    return state | {"args": None, "cfg": OmegaConf.create(cfg, flags={"allow_objects": True})}
