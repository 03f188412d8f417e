"""Surgery: a plan applied to a checkpoint's weights and configuration. The child stands alone (law 3)."""

import copy
import functools
import os
from dataclasses import asdict, replace

from .. import checkpoint
from ..anatomy import FFN_UNITS, HEADS, STACKS, SUBLAYERS, kinds_of_part
from ..errors import LayerdropError
from ..modules.drop_rates import RATES
from ..modules.layer_sizes import format_sizes
from .families import OURS, Family
from .parent import Parent
from .plan import Plan
from .shape import ModelShape, StackShape
from .vocabulary import FINGERPRINTS, PrunedVocabulary
from .weights import prune_rows, prune_weights

TOKENIZER_JSON = "tokenizer_json"  # what --bpe calls the tokenizer of an imported model
_PRUNING = "pruning_"  # our task is called like the stock one, whose data and loss it shares, behind this
_DROPOUT = tuple(f"{stack}_{name}" for stack in STACKS for name in (*RATES, "ffndrop_chunks", "layerdrop_schedule"))
_OUR_OPTIONS = (*_DROPOUT, "layerdrop_warmup_updates")
# Options with which heads, or FFN units, cannot be told apart any more.
FIXED = {
    HEADS: ("quant_noise_pq", "{stack}_xformers_att_config", "scale_heads"),
    FFN_UNITS: ("quant_noise_pq", "scale_fc"),
}


def child_config(cfg: dict, family: Family, shape: ModelShape, positions: int | None) -> dict:
    """A copy of the *cfg* of a model of *family* that says the *shape* itself and names fairseq's own task.

    A model whose layers are all alike names fairseq's own model too, and nothing in it asks for this plugin. Another
    one, of which heads, FFN units or sublayers are gone from some layers, names our model of the family.

    Raises:
        LayerdropError: we have no model for the latter.
    """
    cfg = copy.deepcopy(cfg)
    options = size_options(shape)
    stock = not any(options.values()) and family.is_stock(cfg["model"])
    name = family.stock if stock else our_model(family)
    model = {
        k: v for k, v in cfg["model"].items() if k not in _OUR_OPTIONS and not k.startswith(("prune_", "importance_"))
    }
    task = {k: v for k, v in cfg["task"].items() if not k.startswith(("prune_", "importance_"))}
    task["_name"] = _stock_task(task.get("_name"))
    model |= {"_name": name, "arch": name, "user_dir": None} | dict(family.beside)
    for stack, of in shape.items():
        model |= {f"{stack}_layers": of.layers, f"{stack}_layers_to_keep": None}
    model = {k: v for k, v in model.items() if k not in options} | {k: v for k, v in options.items() if v}
    model |= {f"{stack}_ffn_embed_dim": of.ffn for stack, of in shape.items()}
    if "task" in model:
        model["task"] = _stock_task(model["task"])
    if positions is not None:
        model |= {"max_positions": positions, "max_source_positions": positions}
        if "max_positions" in task:
            task["max_positions"] = positions
    if stock:
        model = {k: v for k, v in model.items() if k not in family.ours}
        if (cfg.get("bpe") or {}).get("_name") == TOKENIZER_JSON:  # which fairseq without this plugin cannot build
            cfg["bpe"]["_name"] = None  # patch_hub_tokenizer finds the file without it
    cfg["model"], cfg["task"] = model, task
    cfg.setdefault("common", {})["user_dir"] = None
    return cfg


def size_options(shape: ModelShape) -> dict[str, str | None]:
    """Our options that say how many heads and FFN units the layers of each stack of *shape* have; None: all whole."""
    return {
        f"{stack}_{SUBLAYERS[kind].size_option}": format_sizes(sizes, of.whole(kind))
        for stack, of in shape.items()
        for kind, sizes in of.sizes.items()
    }


def our_model(family: Family) -> str:
    """The name of our model of *family*, whose layers may differ.

    Raises:
        LayerdropError: there is none.
    """
    from fairseq.models import ARCH_MODEL_REGISTRY

    name = f"layerdrop_{family.stock}"
    if name not in ARCH_MODEL_REGISTRY:
        raise LayerdropError(
            f"of a {family.stock} only whole layers can be pruned: the plan names heads, units or more"
        )
    return name


def _stock_task(name):
    return OURS.sub("", name.removeprefix(_PRUNING)) if isinstance(name, str) else name


def child_state(parent: Parent, plan: Plan, shape: ModelShape, vocabulary: PrunedVocabulary | None = None) -> dict:
    """The child's checkpoint: what a valid *plan* keeps of *parent*, ready for any fairseq command.

    Args:
        shape: the child's, as :func:`child_shape` gives it.
        vocabulary: of a *plan* for the embeddings the symbols that it leaves; without them the child has no
            fingerprints of its dictionaries.

    Returns:
        dict: tensors and plain containers only, without optimizer state, training not yet begun.

    Raises:
        LayerdropError: of such a parent only other parts can be pruned.
    """
    _refuse_fixed_parts(parent.options, plan)
    cfg = child_config(parent.cfg, parent.family, shape, parent.positions)
    for stack, _ in parent.shape.items():
        cfg["model"][f"{stack}_layerdrop"] = 0.0
    if plan.decoder and cfg["model"].get("alignment_layer") is not None:
        cfg["model"]["alignment_layer"] = _aligned(cfg["model"]["alignment_layer"], plan)
    cfg[checkpoint.PROVENANCE] = provenance(parent, plan)
    weights = prune_weights(parent.weights, plan, parent.shape)
    if plan.vocabulary is not None:
        weights = prune_rows(weights, plan.vocabulary, parent.family.one_vocabulary)
        fingerprints = {} if vocabulary is None else vocabulary.fingerprints
        old = {name: value for name, value in cfg["model"].items() if name not in FINGERPRINTS.values()}
        cfg["model"] = old | fingerprints
        if (cfg.get("bpe") or {}).get("sentencepiece_model"):  # no longer the parent's, but the file beside the child
            cfg["bpe"]["sentencepiece_model"] = os.path.basename(cfg["bpe"]["sentencepiece_model"])
    return checkpoint.untrained(parent.state, cfg, weights)


def child_shape(shape: ModelShape, plan: Plan) -> ModelShape:
    """The shape of what *plan* keeps of a parent of *shape*; an FFN's whole is what the widest layer still has."""
    cut = plan.cut(shape)
    widest = {}
    for stack, of in cut.items():
        units = [size for size in of.sizes["ffn"] if size]
        widest[stack] = replace(of, ffn=max(units, default=of.ffn))
    return replace(cut, **widest)


def _refuse_fixed_parts(options: dict, plan: Plan) -> None:
    """Raise LayerdropError where *plan* takes parts out of a sublayer that works with all of them together."""
    for stack, of in plan.items():
        for part, names in FIXED.items():
            cut = any(kept is not None for kind in kinds_of_part(part) for kept in of.kept(kind).values())
            found = next((name for name in names if options.get(name.format(stack=stack))), None)
            if cut and found:
                raise LayerdropError(
                    f"the parent was trained with --{found.format(stack=stack).replace('_', '-')}: of its {stack} only"
                    " whole layers can be pruned"
                )


def _aligned(layer: int, plan: Plan) -> int:
    """The number in the child of the decoder layer whose attention was trained to align words."""
    if layer not in plan.decoder.layers:
        raise LayerdropError(
            f"the plan drops decoder layer {layer}, which the parent was trained to align words with: keep it"
        )
    return plan.decoder.layers.index(layer)


def provenance(parent: Parent, plan: Plan) -> dict:
    """Where a child came from: its ancestors, oldest first, and what its plan in the oldest one's numbers hashes to.

    Each ancestor comes with the plan by which it was pruned; :func:`whole_plan` composes them.
    """
    before = parent.cfg.get(checkpoint.PROVENANCE) or {}
    dictionaries = {name: parent.options[name] for name in FINGERPRINTS.values() if parent.options.get(name)}
    ancestor = {
        "file": os.path.basename(str(parent.path or "")),
        "sha256": parent.sha256,
        "architecture": parent.architecture,
        **{f"{stack}_layers": of.layers for stack, of in parent.shape.items()},
        "shape": asdict(parent.shape),
        **({} if plan.vocabulary is None else {"vocabulary": parent.vocabulary_sizes, "dictionaries": dictionaries}),
        "plan": plan.to_dict(),
    }
    found = {"ancestors": [*before.get("ancestors", []), ancestor]}
    return found | {"plan_sha256": whole_plan(found).sha256()}


def whole_plan(provenance: dict) -> Plan:
    """What a child with this *provenance* keeps of its oldest ancestor."""
    plans = [Plan.from_dict(ancestor["plan"]) for ancestor in provenance["ancestors"]]
    return functools.reduce(lambda first, second: second.after(first), plans)


def origin_of(cfg: dict) -> dict | None:
    """The provenance in a checkpoint's *cfg* and its ``plan`` as a whole, in plain form; None where it has none."""
    found = cfg.get(checkpoint.PROVENANCE)
    return found | {"plan": whole_plan(found).to_dict()} if found else None


def shape_before(origin: dict) -> ModelShape:
    """The shape that the last ancestor in a child's provenance had."""
    plain = origin["ancestors"][-1]["shape"]
    stacks = {stack: of for stack, of in plain.items() if of is not None}
    for stack, of in stacks.items():
        stacks[stack] = StackShape(**of | {"sizes": {kind: tuple(sizes) for kind, sizes in of["sizes"].items()}})
    return ModelShape(**stacks)
