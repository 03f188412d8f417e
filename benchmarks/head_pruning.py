"""Time of an encoder without half of its heads, or half of its heads and FFN units, compared with other encoders.

These take turns on the same tokens: stock fairseq's roberta; transformers' RobertaModel, its attention on
scaled_dot_product_attention, where transformers is installed; this plugin's layerdrop_roberta whole, whole with
queries, keys and values computed by three matrix products in place of one, and with half the heads, half the heads and
FFN units, half the layers, as `layerdrop prune` makes them. This plugin's models are prepared by
`optimize_for_inference`. A pass gives features, without the language model's head. Ends with status 1 if features are
not stock fairseq's: those of a pruned model, stock fairseq's of a whole model in which the weights that read pruned
parts are 0.
"""

import importlib.metadata
import importlib.util
import statistics
import sys
from dataclasses import dataclass, field

import roberta
import side_by_side
import tabulate
import torch
import translation

from layerdrop_plugin import provenance
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune

TRANSFORMERS = "transformers"
THREE_PRODUCTS = "whole, three products"
TOLERANCE = 1e-4  # of a feature, absolute; a LayerNorm has made features about 1
OPTIONS = {
    "layers": (12, "layers"),
    "width": (384, "width of the model; its FFN is four times as wide"),
    "heads": (12, "attention heads of a layer"),
    "vocabulary": (4000, "types of the dictionary"),
    "batch": (32, "sentences of a batch"),
    "length": (48, "tokens of a batch's longest sentence"),
    "shortest": (48, "tokens of its shortest sentence; where they are fewer, there is padding"),
    "single": (24, "tokens of a sentence that comes alone"),
    "calls": (20, "such sentences in a row"),
    "repeats": (15, "timed rounds"),
}
SMOKE = {"layers": 2, "width": 16, "heads": 2, "vocabulary": 60, "batch": 3, "length": 7, "shortest": 4, "single": 5}
SMOKE |= {"calls": 2, "repeats": 2, "threads": 1}


@dataclass(frozen=True)
class Contestant:
    """A model to time.

    Attributes:
        arch: fairseq's architecture, or TRANSFORMERS.
        halved: kinds of parts of which it keeps every other one: `layers`, `heads`, `units`.
        packed: whether its attention computes queries, keys and values as one matrix product.
        goals: workload -> other contestant -> maximum of its time divided by the other's.
    """

    arch: str
    halved: tuple[str, ...] = ()
    packed: bool = True
    goals: dict[str, dict[str, float]] = field(default_factory=dict)


def goals_of(batch, single):
    """Goals over stock fairseq of a batch and of a single sentence; transformers is not to be faster."""
    return {"batch": {"stock": batch, TRANSFORMERS: 1.0}, "single": {"stock": single, TRANSFORMERS: 1.0}}


CONTESTANTS = {
    "stock": Contestant(roberta.STOCK),
    TRANSFORMERS: Contestant(TRANSFORMERS),
    "whole": Contestant(roberta.OURS, goals=goals_of(0.85, 0.60)),
    THREE_PRODUCTS: Contestant(roberta.OURS, packed=False),
    "half the heads": Contestant(roberta.OURS, ("heads",), goals=goals_of(0.70, 0.50)),
    "half the heads and units": Contestant(roberta.OURS, ("heads", "units"), goals=goals_of(0.45, 0.33)),
    "half the layers": Contestant(roberta.OURS, ("layers",), goals=goals_of(0.43, 0.32)),
}


@dataclass(frozen=True)
class Workload:
    """Work of one turn: *calls* passes over *tokens* (sentences, length)."""

    tokens: torch.Tensor
    calls: int = 1


def make_workloads(args, words):
    """The workloads `batch` and `single`, a single sentence (dict[str, Workload])."""
    batch = roberta.make_sentences(words, args.batch, min(args.shortest, args.length), args.length, args.seed)
    single = roberta.make_sentences(words, 1, args.single, args.single, args.seed)
    return {"batch": Workload(batch.to(args.device)), "single": Workload(single.to(args.device), args.calls)}


def plan_of(halved, args):
    """The plan (StackPlan) that keeps every other part of the kinds *halved*."""
    layers = tuple(range(0, args.layers, 2 if "layers" in halved else 1))
    heads = {layer: tuple(range(0, args.heads, 2)) for layer in layers if "heads" in halved}
    units = {layer: tuple(range(0, 4 * args.width, 2)) for layer in layers if "units" in halved}
    return StackPlan(layers, self_attn=heads, ffn=units)


def child_of(parent, plan):
    """The child's checkpoint that `layerdrop prune` makes of *parent* by *plan*."""
    return prune(Parent(parent), Plan(plan)).state


def prune_by_zeros(parent, plan, args):
    """The checkpoint of a stock model with all heads and units that computes the same as the child of *plan*."""
    child = child_of(parent, StackPlan(plan.layers))
    for number, layer in enumerate(plan.layers):
        name = f"encoder.sentence_encoder.layers.{number}."
        clear(child["model"], name + "self_attn.out_proj.weight", plan.self_attn.get(layer), args.heads)
        clear(child["model"], name + "fc2.weight", plan.ffn.get(layer), 4 * args.width)
    return child


def clear(weights, name, kept, parts):
    """Set to 0 the columns of a projection that read parts, of *parts* in all, that are not *kept* (None: all are)."""
    if kept is not None:
        weights[name] = weights[name].clone()
        weights[name].unflatten(1, (parts, -1))[:, sorted(set(range(parts)) - set(kept))] = 0


def difference(features, reference, workloads, padding):
    """The largest absolute difference of two functions' features, except at the token *padding*."""
    differences = []
    for workload in workloads.values():
        distances = (features(workload.tokens) - reference(workload.tokens)).abs().amax(-1)
        differences.append(distances[workload.tokens.ne(padding)].max().item())
    return max(differences)


def seconds_of(features, device):
    """A function that runs a workload and returns the seconds of a pass."""

    def turn(workload):
        start = side_by_side.now(device)
        for _ in range(workload.calls):
            features(workload.tokens)
        return (side_by_side.now(device) - start) / workload.calls

    return turn


def build(name, parent, task, workloads, args):
    """Build a contestant and compare its features.

    Returns:
        tuple[Callable, dict]: its features (see :func:`roberta.features_of`), and its entry in the record.
    """
    contestant = CONTESTANTS[name]
    plan = plan_of(contestant.halved, args)
    child = child_of(parent, plan)
    if contestant.arch == TRANSFORMERS:
        features = roberta.features_of_transformers(parent, args, args.device)
    else:
        features = roberta.features_of(contestant.arch, child, task, args.device, contestant.packed)
    reference = roberta.features_of(roberta.STOCK, prune_by_zeros(parent, plan, args), task, args.device)
    distance = difference(features, reference, workloads, task.source_dictionary.pad())
    return features, {
        "architecture": contestant.arch,
        "halved": contestant.halved,
        "parameters_of_layers": sum(weight.numel() for key, weight in child["model"].items() if ".layers." in key),
        "difference": distance,
        "same_features": distance <= TOLERANCE,
    }


@torch.no_grad()
def measure(args):
    """Build the models, compare their features with stock fairseq's, and time them in turn; the record."""
    task = translation.make_task(args.vocabulary)
    parent = roberta.make_parent(args, task, max(args.length, args.single))
    workloads, runs, models = make_workloads(args, task.source_dictionary), {}, {}
    for name in contestants():
        features, models[name] = build(name, parent, task, workloads, args)
        runs[name] = seconds_of(features, args.device)
    rounds = side_by_side.take_turns(runs, list(workloads.values()), args.repeats, "head_pruning")
    for place, workload in enumerate(workloads):
        seconds = {name: [turns[place] for turns in series] for name, series in rounds.items()}
        for name, model in models.items():
            model[workload] = speed(name, workload, seconds)
    return side_by_side.record("head_pruning", args, {"transformers": transformers_version(), "models": models})


def contestants():
    """Names of the models that can be built here."""
    return [name for name in CONTESTANTS if name != TRANSFORMERS or transformers_version()]


def transformers_version():
    """transformers' version, or None where it is not installed."""
    return importlib.util.find_spec("transformers") and importlib.metadata.version("transformers")


def speed(name, workload, seconds):
    """A contestant's figures.

    Args:
        name, workload (str): the contestant and the workload.
        seconds (dict[str, list[float]]): of a pass, in each round, of every contestant.

    Returns:
        dict: `ms`: milliseconds of a pass, the median; `over`: contestant -> the time over that one's, as
        :func:`side_by_side.ratio`; `goals`: contestant -> maximum of that ratio; `seconds`.
    """
    beside = [other for other in ("stock", TRANSFORMERS, THREE_PRODUCTS) if other in seconds]
    goals = CONTESTANTS[name].goals.get(workload, {})
    return {
        "ms": 1000 * statistics.median(seconds[name]),
        "over": {other: side_by_side.ratio(seconds[name], seconds[other]) for other in beside},
        "goals": {other: goal for other, goal in goals.items() if other in seconds},
        "seconds": seconds[name],
    }


def table(models, workload):
    """The figures of :func:`measure` for one workload, as a table."""
    rows = []
    for name, model in models.items():
        figures = model[workload]
        row = {
            workload: name,
            "parameters of layers": f"{model['parameters_of_layers']:,}",
            "ms": f"{figures['ms']:.1f}",
        }
        for other, ratio in figures["over"].items():
            row |= {f"of {other}": f"{ratio['median']:.3f}", f"min to max (of {other})": side_by_side.spread(ratio)}
        rows.append(row | {"stock's features": "yes" if model["same_features"] else "NO"})
    return tabulate.tabulate(rows, headers="keys", disable_numparse=True)


def goals(models, workload):
    """A line for each goal of a workload."""
    for name, model in models.items():
        for other, goal in model[workload]["goals"].items():
            ratio = model[workload]["over"][other]
            found = f"{ratio['median']:.3f}, rounds {side_by_side.spread(ratio)}"
            yield f"{side_by_side.verdict(ratio, goal)}: {name}, at most {goal} of {other}: {found}"


def main(arguments=None):
    """Run the benchmark; 1 if features differ where they must not, else 0."""
    args = side_by_side.parse(__file__, __doc__, OPTIONS, SMOKE, arguments)
    torch.set_num_threads(args.threads)
    with provenance.quiet():
        record = measure(args)
    side_by_side.write(record, args.out)
    for workload in ("batch", "single"):
        print(table(record["models"], workload), *goals(record["models"], workload), "", sep="\n")
    different = [name for name, model in record["models"].items() if not model["same_features"]]
    if different:
        print(f"head_pruning.py: error: features are not stock fairseq's: {', '.join(different)}", file=sys.stderr)
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
