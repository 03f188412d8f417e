"""Surgery: a plan applied to a checkpoint's weights and configuration. The child stands alone (law 3)."""

import copy
import os
from dataclasses import replace

from ..checkpoint import PROVENANCE
from .plan import ModelShape, Plan
from .shapes import LAYER, STOCK_MODELS, max_positions, model_family, shape_of, upgrade_roberta_keys

# Our task -> the stock one whose data and loss it shares.
STOCK_TASKS = {"pruning_masked_lm": "masked_lm", "pruning_sentence_prediction": "sentence_prediction"}


def prune_weights(weights: dict, plan: Plan) -> dict:
    """The *weights* (name -> tensor) that *plan* keeps, layers renumbered from 0; tensors are shared, not copied."""
    child = {}
    for key, value in weights.items():
        match = LAYER.match(key)
        stack_plan = getattr(plan, match["stack"]) if match else None
        if stack_plan is None:
            child[key] = value
        elif int(match["number"]) in stack_plan.layers:
            number = stack_plan.layers.index(int(match["number"]))
            child[f"{match['stack']}{match['inner'] or ''}.layers.{number}.{match['rest']}"] = value
    return child


def stock_config(cfg: dict, shape: ModelShape, positions: int) -> dict:
    """A copy of a checkpoint's *cfg* that names stock fairseq's model and task and says the shape itself.

    Nothing in it asks for this plugin: neither ``--user-dir`` nor our options.
    """
    cfg = copy.deepcopy(cfg)
    stock = STOCK_MODELS[model_family(cfg["model"])]
    ours = ("encoder_layerdrop_schedule", "layerdrop_warmup_updates")
    model = {k: v for k, v in cfg["model"].items() if k not in ours and not k.startswith("prune_")}
    task = {k: v for k, v in cfg["task"].items() if not k.startswith("prune_")}
    task["_name"] = STOCK_TASKS.get(task.get("_name"), task.get("_name"))
    model |= {
        "_name": stock,
        "arch": stock,
        "encoder_layers": shape.encoder.layers,
        "encoder_layers_to_keep": None,
        "max_positions": positions,
        "max_source_positions": positions,
        "user_dir": None,
        "load_checkpoint_heads": False,  # from_pretrained overrides it, so it has to be there
    }
    if "task" in model:
        model["task"] = STOCK_TASKS.get(model["task"], model["task"])
    if "max_positions" in task:
        task["max_positions"] = positions
    cfg["model"], cfg["task"] = model, task
    cfg.setdefault("common", {})["user_dir"] = None
    return cfg


def prune_state(state: dict, plan: Plan, origin: dict) -> dict:
    """The child's checkpoint: what *plan* keeps of the parent *state*, ready for any fairseq command.

    Args:
        state: the parent, as :func:`layerdrop_plugin.checkpoint.read` gives it; not changed.
        plan: what to keep.
        origin: how to name the parent in the child, such as ``{"file": ..., "sha256": ...}``.

    Returns:
        dict: tensors and plain containers only, without optimizer state, training not yet begun.

    Raises:
        LayerdropError: the parent cannot be pruned, or not by this plan.
    """
    shape = shape_of(state)
    plan.validate(shape)
    layers = len(plan.encoder.layers) if plan.encoder else shape.encoder.layers
    child_shape = ModelShape(encoder=replace(shape.encoder, layers=layers))
    cfg = stock_config(state["cfg"], child_shape, max_positions(state))
    cfg["model"]["encoder_layerdrop"] = 0.0
    cfg[PROVENANCE] = provenance(state, plan, shape, origin)
    history = (state.get("optimizer_history") or [{}])[-1]
    return {
        "args": None,
        "cfg": cfg,
        "model": prune_weights(upgrade_roberta_keys(state["model"]), plan),
        "criterion": None,
        "optimizer_history": [
            {
                "criterion_name": history.get("criterion_name", ""),
                "optimizer_name": history.get("optimizer_name", ""),
                "lr_scheduler_state": {"best": None},
                "num_updates": 0,
            }
        ],
        "task_state": {},
        "extra_state": {"train_iterator": {"version": 2, "epoch": 1, "iterations_in_epoch": 0, "shuffle": True}},
    }


def provenance(state: dict, plan: Plan, shape: ModelShape, origin: dict) -> dict:
    """Where a child came from: its ancestors, oldest first, and its plan in the numbers of the oldest one."""
    before = state["cfg"].get(PROVENANCE) or {}
    ancestor = {
        "file": os.path.basename(str(origin.get("file", ""))),
        "sha256": origin.get("sha256"),
        "architecture": state["cfg"]["model"].get("_name") or state["cfg"]["model"].get("arch"),
        "encoder_layers": shape.encoder.layers,
        "plan": plan.to_dict(),
    }
    whole = plan.after(Plan.from_dict(before["plan"])) if before else plan
    return {
        "ancestors": [*before.get("ancestors", []), ancestor],
        "plan": whole.to_dict(),
        "plan_sha256": whole.sha256(),
    }
