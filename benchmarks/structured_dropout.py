"""What structured dropout, estimating again and importance per token bring to a classifier that loses half its parts.

Fine-tunes PARENT on DATA without structured dropout and with that of heads, of FFN units and of sublayers, for some
seeds each. Of every model this measures the loss on the split `test`: whole; without half of its heads, or of its FFN
units, those with the lowest importance on `train`; without half of its sublayers (attention and FFN of alternate
layers). Half of the heads are also removed step by step, estimated again after each step, and by importance per token.
No times are taken. With the quick start's data and parent:

  python benchmarks/structured_dropout.py quickstart/data/reviews quickstart/pretrained/checkpoint_best.pt --out FILE
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import torch
from scipy.stats import spearmanr
from side_by_side import positive

import layerdrop_plugin
from layerdrop_plugin import checkpoint, provenance
from layerdrop_plugin.data_folder import find_split
from layerdrop_plugin.evaluation.losses import measure_all
from layerdrop_plugin.evaluation.pruning_curve import Sweep
from layerdrop_plugin.evaluation.session import load
from layerdrop_plugin.importance.estimation import estimate
from layerdrop_plugin.pruning.gates import gated, model_shape
from layerdrop_plugin.pruning.plan import Plan, StackPlan

TRAININGS = {"none": None, "heads": "headdrop", "FFN units": "ffndrop", "sublayers": "sublayerdrop"}
STEPS = 4  # in which half of the heads go when they are estimated again
HALF = Fraction(1, 2)


def parse(arguments):
    """The options in *arguments*, by default the command line's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", help="binarised data of a classification")
    parser.add_argument("parent", metavar="PARENT", help="pre-trained layerdrop_roberta checkpoint")
    parser.add_argument("--rate", type=float, default=0.3, help="of structured dropout (default: 0.3)")
    parser.add_argument("--seeds", type=positive, default=3, metavar="N", help="trainings of each kind (default: 3)")
    parser.add_argument("--updates", type=positive, default=300, metavar="N", help="of a training (default: 300)")
    parser.add_argument("--lr", type=float, default=5e-4, help="highest learning rate (default: 5e-4)")
    parser.add_argument("--classes", type=positive, default=2, metavar="N", help="classes of the data (default: 2)")
    parser.add_argument(
        "--examples", type=positive, default=500, metavar="N", help="estimate importance on N examples (default: 500)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all figures there too, as JSON")
    return parser.parse_args(arguments)


def train(args, name, seed, folder):
    """Fine-tune with the structured dropout *name* of TRAININGS; the path of the checkpoint."""
    option = TRAININGS[name]
    command = [
        *("fairseq-train", args.data, "--user-dir", Path(layerdrop_plugin.__file__).parent, "--save-dir", folder),
        *("--task", "pruning_sentence_prediction", "--criterion", "sentence_prediction", "--arch", "layerdrop_roberta"),
        *("--prune-from", args.parent, "--num-classes", args.classes, "--init-token", 0, "--separator-token", 2),
        *("--shorten-method", "truncate", "--batch-size", 32, "--required-batch-size-multiple", 1, "--seed", seed),
        *("--optimizer", "adam", "--clip-norm", 1.0, "--lr", args.lr, "--lr-scheduler", "polynomial_decay"),
        *("--max-update", args.updates, "--total-num-update", args.updates, "--warmup-updates", args.updates // 10),
        *("--dropout", 0.1, "--attention-dropout", 0.1, "--disable-validation", "--no-epoch-checkpoints", "--cpu"),
        *("--num-workers", 0, "--no-progress-bar", *((f"--encoder-{option}", args.rate) if option else ())),
    ]
    command = list(map(str, command))
    print(shlex.join(command), flush=True)
    run(command)
    return folder / "checkpoint_last.pt"


def run(command):
    """Run a fairseq command; its output is shown only if it fails."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode:
        sys.exit(f"{result.stdout[-2000:]}\nstructured_dropout.py: error: {command[0]} failed")


def half_of_sublayers(shape):
    """The plan without the attention of every odd layer and the FFN of every even one."""
    layers = range(shape.encoder.layers)
    return Plan(StackPlan(tuple(layers), dict.fromkeys(layers[1::2]), ffn=dict.fromkeys(layers[::2])))


def half_of(session, part_type, scored, steps=1):
    """The plan without half of the parts, removed in *steps* with the scores that *scored* estimates before each."""
    sweep, shape, plan = Sweep(part_type), model_shape(session.model), Plan()
    for step in range(1, steps + 1):
        with gated(session.model, plan):
            scores = scored()
        plan = sweep.plan(shape, plan, scores, HALF * step / steps)
    return plan


def measure(path, args):
    """Losses (nats per example) of the model *path*, whole and halved, and how alike its two rankings of heads are."""
    session = load(str(path), args.data, batch_size=32, cpu=True)
    batches = session.batches("test")

    def loss(plan):
        with gated(session.model, plan):
            return measure_all(session, batches).loss

    def scored(per="example"):
        return estimate(session, "train", per=per, max_examples=args.examples)

    once, by_token = scored(), scored("token")
    heads = [[score for row in found.scores["encoder.self_attn"] for score in row] for found in (once, by_token)]
    return {
        "whole": loss(Plan()),
        "half the heads": loss(half_of(session, "heads", lambda: once)),
        "half the FFN units": loss(half_of(session, "ffn", lambda: once)),
        "half the sublayers": loss(half_of_sublayers(model_shape(session.model))),
        "half the heads, estimated again": loss(half_of(session, "heads", scored, STEPS)),
        "half the heads, per token": loss(half_of(session, "heads", lambda: by_token)),
        "spearman": float(spearmanr(*heads).statistic),
        "test_examples": len(batches.examples),
    }


def main(arguments=None):
    """Train, measure, print a line for each model, and write the record."""
    args = parse(arguments)
    torch.set_num_threads(1)
    models = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(1, args.seeds + 1):
            for name in TRAININGS:
                path = train(args, name, seed, Path(folder) / f"{name}-{seed}")
                with provenance.quiet():
                    models.append({"dropout": name, "seed": seed} | measure(path, args))
                print(json.dumps(models[-1]), flush=True)
    settings = {name: getattr(args, name) for name in ("rate", "seeds", "updates", "lr", "classes", "examples")}
    options = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
    record = {
        "type": "layerdrop.structured_dropout",
        "version": 1,
        "versions": provenance.versions(),
        "parent_sha256": checkpoint.sha256(args.parent),
        "command": shlex.join(["python", "benchmarks/structured_dropout.py", "DATA", "PARENT", *options]),
        "data_sha256": find_split(args.data, "test").sha256(),
        "settings": settings,
        "models": models,
    }
    if args.out:
        checkpoint.write_text_atomic(args.out, json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
