"""Surgery: a plan applied to a checkpoint's weights and configuration. The child stands alone (law 3)."""

import copy
import os
from dataclasses import replace

from .. import checkpoint
from ..errors import LayerdropError
from .families import OURS, family_of
from .plan import ModelShape, Plan
from .shapes import current_weights, max_positions, shape_of
from .weights import prune_weights

_PRUNING = "pruning_"  # our task is called like the stock one, whose data and loss it shares, behind this
_OUR_OPTIONS = ("encoder_layerdrop_schedule", "decoder_layerdrop_schedule", "layerdrop_warmup_updates")


def stock_config(cfg: dict, shape: ModelShape, positions: int | None) -> dict:
    """A copy of a checkpoint's *cfg* that names stock fairseq's model and task and says the shape itself.

    Nothing in it asks for this plugin: neither ``--user-dir`` nor our options.
    """
    cfg = copy.deepcopy(cfg)
    family = family_of(cfg["model"])
    model = {k: v for k, v in cfg["model"].items() if k not in _OUR_OPTIONS and not k.startswith("prune_")}
    task = {k: v for k, v in cfg["task"].items() if not k.startswith("prune_")}
    task["_name"] = _stock_task(task.get("_name"))
    model |= {"_name": family.stock, "arch": family.stock, "user_dir": None} | dict(family.beside)
    for stack in family.stacks:
        model |= {f"{stack}_layers": getattr(shape, stack).layers, f"{stack}_layers_to_keep": None}
    if "task" in model:
        model["task"] = _stock_task(model["task"])
    if positions is not None:
        model |= {"max_positions": positions, "max_source_positions": positions}
        if "max_positions" in task:
            task["max_positions"] = positions
    cfg["model"], cfg["task"] = model, task
    cfg.setdefault("common", {})["user_dir"] = None
    return cfg


def _stock_task(name):
    return OURS.sub("", name.removeprefix(_PRUNING)) if isinstance(name, str) else name


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
    cfg = stock_config(state["cfg"], child_shape(shape, plan), max_positions(state))
    for stack in family_of(state["cfg"]["model"]).stacks:
        cfg["model"][f"{stack}_layerdrop"] = 0.0
    if plan.decoder and cfg["model"].get("alignment_layer") is not None:
        cfg["model"]["alignment_layer"] = _aligned(cfg["model"]["alignment_layer"], plan)
    cfg[checkpoint.PROVENANCE] = provenance(state, plan, shape, origin)
    return checkpoint.untrained(state, cfg, prune_weights(current_weights(state), plan))


def child_shape(shape: ModelShape, plan: Plan) -> ModelShape:
    """The shape of what *plan* keeps of a parent of *shape*."""
    kept = {stack: getattr(plan, stack) for stack in ("encoder", "decoder") if getattr(plan, stack) is not None}
    return replace(shape, **{s: replace(getattr(shape, s), layers=len(p.layers)) for s, p in kept.items()})


def _aligned(layer: int, plan: Plan) -> int:
    """The number in the child of the decoder layer whose attention was trained to align words."""
    if layer not in plan.decoder.layers:
        raise LayerdropError(
            f"the plan drops decoder layer {layer}, which the parent was trained to align words with: keep it"
        )
    return plan.decoder.layers.index(layer)


def provenance(state: dict, plan: Plan, shape: ModelShape, origin: dict) -> dict:
    """Where a child came from: its ancestors, oldest first, and its plan in the numbers of the oldest one."""
    before = state["cfg"].get(checkpoint.PROVENANCE) or {}
    ancestor = {
        "file": os.path.basename(str(origin.get("file", ""))),
        "sha256": origin.get("sha256"),
        "architecture": state["cfg"]["model"].get("_name") or state["cfg"]["model"].get("arch"),
        **{f"{stack}_layers": getattr(shape, stack).layers for stack in family_of(state["cfg"]["model"]).stacks},
        "plan": plan.to_dict(),
    }
    whole = plan.after(Plan.from_dict(before["plan"])) if before.get("plan") else plan
    return {
        "ancestors": [*before.get("ancestors", []), ancestor],
        "plan": whole.to_dict(),
        "plan_sha256": whole.sha256(),
    }
