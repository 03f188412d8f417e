"""Apply a plan to a checkpoint's weights and configuration; the child is independent of its parent (law 3)."""

import copy
import functools
import os
from dataclasses import asdict, replace

from .. import checkpoint
from ..anatomy import FFN_UNITS, HEADS, STACKS, SUBLAYERS, kinds_of_part
from ..errors import LayerdropError
from ..modules.drop_rates import RATES
from ..modules.layer_sizes import format_sizes
from ..modules.learned_rates import NAMES as LEARNED_RATES
from .families import OURS, Family
from .parent import Parent
from .plan import Plan
from .shape import ModelShape, StackShape
from .vocabulary import FINGERPRINTS, PrunedVocabulary
from .weights import prune_rows, prune_weights

TOKENIZER_JSON = "tokenizer_json"  # name in --bpe of the tokenizer of an imported model
_TASK_OPTIONS = ("prune_", "importance_", "group_by_length")  # beginnings of the options that our tasks add
_PRUNING = "pruning_"  # prefix of the names of our tasks, before that of the stock task
_DROPOUT = tuple(f"{stack}_{name}" for stack in STACKS for name in (*RATES, "ffndrop_chunks", "layerdrop_schedule"))
_OUR_OPTIONS = (*_DROPOUT, "layerdrop_warmup_updates", "learn_layerdrop", "learn_layerdrop_lr")
# Options of models from which single heads, or FFN units, cannot be removed.
FIXED = {
    HEADS: ("quant_noise_pq", "{stack}_xformers_att_config", "scale_heads"),
    FFN_UNITS: ("quant_noise_pq", "scale_fc"),
}


def child_config(cfg: dict, family: Family, shape: ModelShape, positions: int | None) -> dict:
    """Make the configuration of a child.

    Its task is fairseq's own. If all layers are whole, so is its model, and it loads without this plugin. If layers
    have lost heads, FFN units or sublayers, its model is this plugin's model of the family.

    Args:
        cfg: configuration of the parent, which is copied.
        family: the parent's family.
        shape: shape of the child.
        positions: maximum number of tokens of the input, see ``Parent.positions``.

    Raises:
        LayerdropError: this plugin has no model of the family, and not all layers are whole.
    """
    cfg = copy.deepcopy(cfg)
    options = size_options(shape)
    stock = not any(options.values()) and family.is_stock(cfg["model"])
    name = family.stock if stock else our_model(family)
    model = {
        k: v for k, v in cfg["model"].items() if k not in _OUR_OPTIONS and not k.startswith(("prune_", "importance_"))
    }
    task = {k: v for k, v in cfg["task"].items() if not k.startswith(_TASK_OPTIONS)}
    task["_name"] = stock_task(task.get("_name"))
    model |= {"_name": name, "arch": name, "user_dir": None} | dict(family.beside)
    for stack, of in shape.items():
        model |= {f"{stack}_layers": of.layers, f"{stack}_layers_to_keep": None}
    model = {k: v for k, v in model.items() if k not in options} | {k: v for k, v in options.items() if v}
    model |= {f"{stack}_ffn_embed_dim": of.ffn for stack, of in shape.items()}
    if "task" in model:
        model["task"] = stock_task(model["task"])
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
    """This plugin's options for the sizes of layers, such as ``encoder_self_attn_heads``.

    Returns:
        option -> value for a model of *shape*; None if all such sublayers are whole.
    """
    return {
        f"{stack}_{SUBLAYERS[kind].size_option}": format_sizes(sizes, of.whole(kind))
        for stack, of in shape.items()
        for kind, sizes in of.sizes.items()
    }


def our_model(family: Family) -> str:
    """The name of this plugin's model of *family*, whose layers may have different sizes.

    Raises:
        LayerdropError: there is no such model.
    """
    from fairseq.models import ARCH_MODEL_REGISTRY

    name = f"layerdrop_{family.stock}"
    if name not in ARCH_MODEL_REGISTRY:
        raise LayerdropError(
            f"of a {family.stock} only whole layers can be pruned: the plan names heads, units or more"
        )
    return name


def stock_task(name: str | None) -> str | None:
    """The name of fairseq's task that our task *name* is based on; other names are returned as they are."""
    return OURS.sub("", name.removeprefix(_PRUNING)) if isinstance(name, str) else name


def child_state(parent: Parent, plan: Plan, shape: ModelShape, vocabulary: PrunedVocabulary | None = None) -> dict:
    """Make the child's checkpoint.

    Args:
        parent: the parent.
        plan: a plan that fits the parent's shape.
        shape: shape of the child, as :func:`child_shape` returns it.
        vocabulary: if the plan names embedding rows: the symbols that it keeps; without them the child has no
            fingerprints of its dictionaries.

    Returns:
        The checkpoint: tensors and plain containers only, without optimizer state, with 0 updates.

    Raises:
        LayerdropError: the plan removes parts that cannot be removed from such a parent.
    """
    _refuse_fixed_parts(parent.options, plan)
    cfg = child_config(parent.cfg, parent.family, shape, parent.positions)
    for stack, _ in parent.shape.items():
        cfg["model"][f"{stack}_layerdrop"] = 0.0
    if plan.decoder and cfg["model"].get("alignment_layer") is not None:
        cfg["model"]["alignment_layer"] = _aligned(cfg["model"]["alignment_layer"], plan)
    cfg[checkpoint.PROVENANCE] = provenance(parent, plan)
    weights = {name: value for name, value in parent.weights.items() if not LEARNED_RATES.match(name)}
    weights = prune_weights(weights, plan, parent.shape)
    if plan.vocabulary is not None:
        weights = prune_rows(weights, plan.vocabulary, parent.family.one_vocabulary)
        fingerprints = {} if vocabulary is None else vocabulary.fingerprints
        old = {name: value for name, value in cfg["model"].items() if name not in FINGERPRINTS.values()}
        cfg["model"] = old | fingerprints
        if (cfg.get("bpe") or {}).get("sentencepiece_model"):  # no longer the parent's, but the file beside the child
            cfg["bpe"]["sentencepiece_model"] = os.path.basename(cfg["bpe"]["sentencepiece_model"])
    return checkpoint.untrained(parent.state, cfg, weights)


def child_shape(shape: ModelShape, plan: Plan) -> ModelShape:
    """The shape of the child of a parent of *shape*; a whole FFN of the child has the units of its widest layer."""
    cut = plan.cut(shape)
    widest = {}
    for stack, of in cut.items():
        units = [size for size in of.sizes["ffn"] if size]
        widest[stack] = replace(of, ffn=max(units, default=of.ffn))
    return replace(cut, **widest)


def _refuse_fixed_parts(options: dict, plan: Plan) -> None:
    """Raise LayerdropError if *plan* removes heads or units that the parent's *options* make inseparable, see FIXED."""
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
    """The child's number of the decoder *layer* whose attention was trained to align words.

    Raises:
        LayerdropError: the plan drops this layer.
    """
    if layer not in plan.decoder.layers:
        raise LayerdropError(
            f"the plan drops decoder layer {layer}, which the parent was trained to align words with: keep it"
        )
    return plan.decoder.layers.index(layer)


def provenance(parent: Parent, plan: Plan) -> dict:
    """The provenance of a child of *parent* by *plan*.

    Returns:
        ``ancestors``: a record of each ancestor, oldest first, with the plan by which it was pruned; ``plan_sha256``:
        SHA-256 of their composition, see :func:`whole_plan`.
    """
    before = parent.cfg.get(checkpoint.PROVENANCE) or {}
    rates = {stack: list(of) for stack, of in parent.learned_rates.items()}
    dictionaries = {name: parent.options[name] for name in FINGERPRINTS.values() if parent.options.get(name)}
    ancestor = {
        "file": os.path.basename(str(parent.path or "")),
        "sha256": parent.sha256,
        "architecture": parent.architecture,
        **{f"{stack}_layers": of.layers for stack, of in parent.shape.items()},
        "shape": asdict(parent.shape),
        **({"learned_rates": rates} if rates else {}),
        **({} if plan.vocabulary is None else {"vocabulary": parent.vocabulary_sizes, "dictionaries": dictionaries}),
        "plan": plan.to_dict(),
    }
    found = {"ancestors": [*before.get("ancestors", []), ancestor]}
    return found | {"plan_sha256": whole_plan(found).sha256()}


def reconstructed(cfg: dict, how: dict) -> dict:
    """The configuration *cfg* of a child, with its provenance saying *how* its weights were refitted.

    Args:
        cfg: the configuration, which is not changed.
        how: ``by``, ``projections``, ``examples``, ``split``, ``data_sha256``, ``seed``; the record of the last
            ancestor gets it as ``reconstruction``.
    """
    before = cfg[checkpoint.PROVENANCE]
    *older, last = before["ancestors"]
    ancestors = [*older, last | {"reconstruction": dict(how)}]
    return cfg | {checkpoint.PROVENANCE: before | {"ancestors": ancestors}}


def reconstruction_of(ancestor: dict) -> str | None:
    """In words, how the child of *ancestor*, a record in a provenance, was reconstructed; None if it was not."""
    how = ancestor.get("reconstruction")
    if how is None:
        return None
    return f"{how['projections']:,d} projections refitted ({how['by']:s}) on {how['examples']:,d} examples of its data"


def whole_plan(provenance: dict) -> Plan:
    """The composition of all plans in a child's *provenance*: what it keeps of its oldest ancestor."""
    plans = [Plan.from_dict(ancestor["plan"]) for ancestor in provenance["ancestors"]]
    return functools.reduce(lambda first, second: second.after(first), plans)


def origin_of(cfg: dict) -> dict | None:
    """The provenance in a checkpoint's *cfg*, with :func:`whole_plan` as its ``plan``; None if it was not pruned."""
    found = cfg.get(checkpoint.PROVENANCE)
    return found | {"plan": whole_plan(found).to_dict()} if found else None


def rates_before(origin: dict) -> dict[str, tuple[float, ...]]:
    """The learned drop rates of the parent in *origin*, a child's provenance, as ``Parent.learned_rates``."""
    found = origin["ancestors"][-1].get("learned_rates") or {}
    return {stack: tuple(float(rate) for rate in rates) for stack, rates in found.items()}


def shape_before(origin: dict) -> ModelShape:
    """The shape of the parent in *origin*, a child's provenance."""
    plain = origin["ancestors"][-1]["shape"]
    stacks = {stack: of for stack, of in plain.items() if of is not None}
    for stack, of in stacks.items():
        stacks[stack] = StackShape(**of | {"sizes": {kind: tuple(sizes) for kind, sizes in of["sizes"].items()}})
    return ModelShape(**stacks)
