"""Time of an encoder and its children in the software that people serve with, compared with stock fairseq.

These take turns on the same tokens: stock fairseq's roberta, whole; transformers' RobertaModel, its attention on
scaled_dot_product_attention, where transformers is installed; and of the whole model, its child of four layers (of
twelve; else of a third) and that of half the heads and FFN units: this plugin's model, prepared by
`optimize_for_inference`, and what `layerdrop export-onnx` makes of it, in single precision and in 8 bits. A pass gives
features, without a head. Ends with status 1 if features in single precision are not stock fairseq's: those of a child,
stock fairseq's of a whole model in which the weights that read pruned parts are 0. For 8 bits the largest difference is
printed.
"""

import json
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import head_pruning
import numpy as np
import roberta
import side_by_side
import tabulate
import torch
import translation

from layerdrop_plugin import checkpoint, provenance
from layerdrop_plugin.interop.export_onnx import export_folder
from layerdrop_plugin.interop.onnx_session import MODEL, start
from layerdrop_plugin.pruning.plan import StackPlan

STOCK, TRANSFORMERS, OURS, ONNX, INT8 = "stock fairseq", "transformers", "ours", "ONNX Runtime", "ONNX Runtime int8"
CHILDREN = ("whole", "a third of the layers", "half of heads and units")
OPTIONS = head_pruning.OPTIONS
SMOKE = head_pruning.SMOKE | {"layers": 3}
WORKLOADS = ("batch", "single")
# (child, engine) -> workload -> maximum of its time divided by that of stock fairseq's whole model
GOALS = {
    ("a third of the layers", INT8): {"single": 0.07},
    ("a third of the layers", ONNX): {"single": 0.15},
    ("half of heads and units", ONNX): {"single": 0.30},
}


@dataclass
class Contestant:
    """A model to time.

    Attributes:
        child, engine: what it is, and what it runs in.
        run: tokens (sentences, length) -> features (sentences, length, width), a tensor or an array.
        weight_bytes: bytes of its layers' weights, or of its file.
        difference: the largest difference of its features from stock fairseq's.
        workloads: workload -> figures.
    """

    child: str
    engine: str
    run: object
    weight_bytes: int
    difference: float = 0.0
    workloads: dict = field(default_factory=dict)

    @property
    def name(self):
        """The row's name."""
        return f"{self.child}, {self.engine}"

    @property
    def same_features(self):
        """Whether its features are stock fairseq's; 8 bits are not held against that."""
        return self.engine == INT8 or self.difference <= head_pruning.TOLERANCE


def plans(args):
    """What each child keeps (dict[str, StackPlan])."""
    count = max(1, round(args.layers / 3))
    layers = [round(number * (args.layers - 1) / max(1, count - 1)) for number in range(count)]
    return dict(
        zip(
            CHILDREN,
            (
                head_pruning.plan_of((), args),
                StackPlan(tuple(layers)),
                head_pruning.plan_of(("heads", "units"), args),
            ),
            strict=True,
        )
    )


def write_model(child, task, folder):
    """Write a checkpoint, its dictionary, and a tokenizer.json whose ids are its rows; returns its path."""
    from tokenizers import Tokenizer, models, processors

    folder.mkdir()
    words = task.source_dictionary
    made = Tokenizer(models.WordLevel({symbol: row for row, symbol in enumerate(words.symbols)}, unk_token="<unk>"))
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    made.save(str(folder / "tokenizer.json"))
    (folder / "dict.txt").write_text("".join(f"{symbol} 1\n" for symbol in words.symbols[words.nspecial :]))
    checkpoint.write(child, folder / "child.pt")
    return folder / "child.pt"


def run_onnx(folder, threads):
    """A function of tokens: the features that ONNX Runtime gives."""
    session = start(folder / MODEL, threads)

    def run(tokens):
        mask = tokens.ne(1).long()  # fairseq computes it in every pass, too
        return session.run(None, {"input_ids": tokens.numpy(), "attention_mask": mask.numpy()})[0]

    return run


def contestants(parent, task, args, scratch):
    """Yield all contestants with what their features are compared with: (Contestant, Callable)."""
    whole = head_pruning.child_of(parent, plans(args)["whole"])
    size = weight_bytes(whole)
    stock = roberta.features_of(roberta.STOCK, whole, task, args.device)
    yield Contestant("whole", STOCK, stock, size), stock
    if head_pruning.transformers_version():
        run = roberta.features_of_transformers(parent, args, args.device)
        yield Contestant("whole", TRANSFORMERS, run, size), stock
    for number, (child, plan) in enumerate(plans(args).items()):
        state = head_pruning.child_of(parent, plan)
        zeros = head_pruning.prune_by_zeros(parent, plan, args)
        reference = roberta.features_of(roberta.STOCK, zeros, task, args.device)
        run = roberta.features_of(roberta.OURS, state, task, args.device)
        yield Contestant(child, OURS, run, weight_bytes(state)), reference
        path = write_model(state, task, scratch / str(number))
        for engine, int8 in ((ONNX, False), (INT8, True)):
            folder = scratch / f"{number}-{engine}"
            for line in export_folder(path, folder, int8=int8):
                print(f"  {child}, {engine}: {line}", file=sys.stderr)
            yield Contestant(child, engine, run_onnx(folder, args.threads), (folder / MODEL).stat().st_size), reference


def weight_bytes(state):
    """Bytes of the weights of a checkpoint's encoder."""
    return sum(4 * weight.numel() for name, weight in state["model"].items() if "sentence_encoder." in name)


@torch.no_grad()
def measure(args):
    """Build the models, compare their features with stock fairseq's, and time them in turn; the record."""
    task = translation.make_task(args.vocabulary - 1)
    task.source_dictionary.add_symbol("<mask>")
    parent = roberta.make_parent(args, task, max(args.length, args.single))
    parent["cfg"]["task"] |= {"data": "", "tokens_per_sample": max(args.length, args.single)}
    workloads = head_pruning.make_workloads(args, task.source_dictionary)
    models = {}
    with tempfile.TemporaryDirectory() as scratch:
        for model, reference in contestants(parent, task, args, Path(scratch)):
            padding = task.source_dictionary.pad()
            run = lambda tokens, run=model.run: torch.as_tensor(np.asarray(run(tokens)))  # noqa: E731
            model.difference = head_pruning.difference(run, reference, workloads, padding)
            models[model.name] = model
        runs = {name: head_pruning.seconds_of(model.run, args.device) for name, model in models.items()}
        rounds = side_by_side.take_turns(runs, list(workloads.values()), args.repeats, "serving")
    base = next(iter(models))
    for place, workload in enumerate(workloads):
        seconds = {name: [turns[place] for turns in series] for name, series in rounds.items()}
        for name, model in models.items():
            goal = GOALS.get((model.child, model.engine), {}).get(workload)
            ratio = side_by_side.ratio(seconds[name], seconds[base])
            ms = 1000 * statistics.median(seconds[name])
            model.workloads[workload] = {"ms": ms, "over_stock": ratio, "goal": goal, "seconds": seconds[name]}
    versions = {"transformers": head_pruning.transformers_version(), "onnxruntime": onnxruntime_version()}
    return side_by_side.record("serving", args, versions | {"models": {name: plain(m) for name, m in models.items()}})


def onnxruntime_version():
    """ONNX Runtime's version."""
    import onnxruntime

    return onnxruntime.__version__


def plain(model):
    """A contestant's entry in the record."""
    found = {name: getattr(model, name) for name in ("child", "engine", "weight_bytes", "difference", "same_features")}
    return found | model.workloads


def table(models, workload):
    """The figures of :func:`measure` for one workload, as a table."""
    rows = [
        {
            workload: name,
            "MB": f"{model['weight_bytes'] / 1e6:.1f}",
            "ms": f"{model[workload]['ms']:.2f}",
            "of stock": f"{model[workload]['over_stock']['median']:.3f}",
            "min to max": side_by_side.spread(model[workload]["over_stock"]),
            "features differ by": f"{model['difference']:.1g}",
        }
        for name, model in models.items()
    ]
    return tabulate.tabulate(rows, headers="keys", disable_numparse=True)


def goals(models, workload):
    """A line for each goal of a workload."""
    for name, model in models.items():
        goal, ratio = model[workload]["goal"], model[workload]["over_stock"]
        if goal is not None:
            found = f"{ratio['median']:.3f}, rounds {side_by_side.spread(ratio)}"
            yield f"{side_by_side.verdict(ratio, goal)}: {name}, at most {goal} of stock fairseq whole: {found}"


def main(arguments=None):
    """Run the benchmark; 1 if features differ where they must not, else 0."""
    args = side_by_side.parse(
        __file__, __doc__, OPTIONS, SMOKE, arguments, sizes={"layers": 12, "width": 384, "heads": 12}
    )
    torch.set_num_threads(args.threads)
    with provenance.quiet():
        record = json.loads(json.dumps(measure(args)))
    side_by_side.write(record, args.out)
    for workload in WORKLOADS:
        print(table(record["models"], workload), *goals(record["models"], workload), "", sep="\n")
    different = [name for name, model in record["models"].items() if not model["same_features"]]
    if different:
        print(f"serving.py: error: features are not stock fairseq's: {'; '.join(different)}", file=sys.stderr)
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
