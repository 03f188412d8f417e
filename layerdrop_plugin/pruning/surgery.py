"""Surgery: a plan applied to a checkpoint's weights and configuration. The child stands alone (law 3)."""

import copy
import os
import re

from ..checkpoint import PROVENANCE
from ..errors import LayerdropError
from .plan import ModelShape, Plan, StackShape

# Our model (or task) -> the stock one that a child of whole layers is, weight by weight.
STOCK_MODELS = {"layerdrop_roberta": "roberta", "roberta": "roberta"}
STOCK_TASKS = {"pruning_masked_lm": "masked_lm", "pruning_sentence_prediction": "sentence_prediction"}

# Options of a RoBERTa's configuration that its weights depend on or that change what they compute: a child takes
# them from its parent, all others (dropout, learning rate, ...) from the run.
SHAPE_OPTIONS = (
    "encoder_layers",
    "encoder_embed_dim",
    "encoder_ffn_embed_dim",
    "encoder_attention_heads",
    "encoder_normalize_before",
    "encoder_learned_pos",
    "activation_fn",
    "pooler_activation_fn",
    "layernorm_embedding",
    "no_scale_embedding",
    "no_token_positional_embeddings",
    "untie_weights_roberta",
    "max_positions",
    "max_source_positions",
    "spectral_norm_classification_head",
    "dictionary_sha256",
)

_LAYER = re.compile(
    r"^(?P<stack>encoder|decoder)(?P<inner>\.sentence_encoder)?\.layers\.(?P<number>\d+)\.(?P<rest>.*)$"
)
_EMBEDDING = "encoder.sentence_encoder.embed_tokens.weight"
_LM_HEAD = "encoder.lm_head.weight"
# What fairseq registers as buffers: a format number and a device probe.
_BUFFERS = {"version", "_float_tensor"}
_POSITIONS = "encoder.sentence_encoder.embed_positions.weight"


def model_family(cfg_model: dict) -> str:
    """The registered model that a checkpoint's ``cfg.model`` belongs to, whatever its architecture's name.

    Raises:
        LayerdropError: a model that cannot be pruned, or an architecture that nobody registered.
    """
    from fairseq.models import ARCH_MODEL_NAME_REGISTRY

    arch = cfg_model.get("_name") or cfg_model.get("arch")
    family = ARCH_MODEL_NAME_REGISTRY.get(arch, arch)
    if family not in STOCK_MODELS:
        raise LayerdropError(
            f"the architecture {arch!r} cannot be pruned: the parent must be one of {', '.join(sorted(STOCK_MODELS))}"
        )
    return family


def upgrade_roberta_keys(weights: dict) -> dict:
    """Weights of RoBERTa checkpoints under today's names (early ones say ``decoder`` and ``emb_layer_norm``)."""

    def today(key):
        key = re.sub(r"^decoder\.", "encoder.", key)
        return key.replace(".emb_layer_norm.", ".layernorm_embedding.")

    return {today(key): value for key, value in weights.items()}


def shape_of(state: dict) -> ModelShape:
    """Shape of the model in a checkpoint *state*, as :func:`layerdrop_plugin.checkpoint.read` gives it.

    Raises:
        LayerdropError: another kind of model, or weights that the configuration does not describe.
    """
    model_family(state["cfg"]["model"])
    weights, options = upgrade_roberta_keys(state["model"]), state["cfg"]["model"]
    numbers = {int(match["number"]) for match in map(_LAYER.match, weights) if match}
    if numbers != set(range(len(numbers))) or not numbers or _EMBEDDING not in weights:
        raise LayerdropError(
            "the checkpoint's weights are not those of a RoBERTa: its layers or embeddings are missing"
        )
    first_fc = weights.get("encoder.sentence_encoder.layers.0.fc1.weight")
    if first_fc is None:
        raise LayerdropError("the checkpoint's layers have no fc1.weight: they are not Transformer layers")
    return ModelShape(
        encoder=StackShape(
            layers=len(numbers),
            heads=int(options.get("encoder_attention_heads") or 12),
            ffn=first_fc.shape[0],
            embed_dim=weights[_EMBEDDING].shape[1],
        )
    )


def vocabulary_size(state: dict) -> int:
    """Number of symbols that the model in *state* embeds."""
    return upgrade_roberta_keys(state["model"])[_EMBEDDING].shape[0]


def max_positions(state: dict) -> int:
    """Longest input, in tokens, of the model in *state*: rows of its position table less the two unused ones."""
    positions = upgrade_roberta_keys(state["model"]).get(_POSITIONS)
    if positions is None:
        return int(state["cfg"]["model"].get("max_positions") or 512)
    return positions.shape[0] - 2


def prune_weights(weights: dict, plan: Plan) -> dict:
    """The *weights* (name -> tensor) that *plan* keeps, layers renumbered from 0; tensors are shared, not copied."""
    child = {}
    for key, value in weights.items():
        match = _LAYER.match(key)
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
    child_shape = ModelShape(
        encoder=StackShape(layers, shape.encoder.heads, shape.encoder.ffn, shape.encoder.embed_dim)
    )
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


def plan_from_options(shape: ModelShape, specs: dict[str, str | None], plan_file: str | None) -> Plan:
    """The plan that a command's options ask for: a rule per stack (see strategies), or a plan's file.

    Raises:
        LayerdropError: both or neither where one is needed, or what they say cannot be cut out of *shape*.
    """
    from .strategies import stack_plan

    specs = {stack: spec for stack, spec in specs.items() if spec}
    if plan_file and specs:
        raise LayerdropError("give either a plan's file or rules for the layers, not both")
    if plan_file:
        plan = Plan.load(plan_file)
    else:
        for stack in specs:
            if getattr(shape, stack) is None:
                raise LayerdropError(f"the parent has no {stack} to prune")
        plan = Plan(**{stack: stack_plan(spec, getattr(shape, stack), stack) for stack, spec in specs.items()})
    plan.validate(shape)
    return plan


def learned_weights(state: dict) -> dict:
    """The learned tensors in *state*, each once: no buffers, and no LM head's weight that is the embedding's own."""
    weights = {
        key: value
        for key, value in upgrade_roberta_keys(state["model"]).items()
        if key.rsplit(".", 1)[-1] not in _BUFFERS
    }
    head = weights.get(_LM_HEAD)
    if head is not None and head.equal(weights[_EMBEDDING]):
        del weights[_LM_HEAD]
    return weights


def count_parameters(state: dict) -> int:
    """Parameters of the model in *state*."""
    return sum(weight.numel() for weight in learned_weights(state).values())
