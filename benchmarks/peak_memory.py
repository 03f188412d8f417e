"""Peak memory of a process that loads a model and answers, with packed weights and without.

An encoder that gives features, and a translation model, whose output layer shares its weights with the embeddings and
is copied. Each process loads the same checkpoint; with LAYERDROP_PACK=1 every layer is packed, with 0 none is.
"""

import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import generate
import roberta
import side_by_side
import tabulate
import torch
import translation

from layerdrop_plugin import provenance

GOAL = 1.05  # maximum of the peak with packed weights divided by that without
OPTIONS = {"repeats": (3, "processes of each kind")}
SMOKE = {"layers": 2, "width": 16, "heads": 2, "vocabulary": 60, "repeats": 1, "threads": 1}


def parents(args, task):
    """The checkpoints: name -> state. The encoder has the sizes of head_pruning.py."""
    large = args if args.smoke else Namespace(**vars(args) | {"layers": 12, "width": 384, "heads": 12})
    yield "encoder", roberta.make_parent(large, task, 64)
    yield "translation", generate.make_parent(args, task)


def peak(path, pack, args):
    """Most bytes that a process held which answered with the checkpoint *path*."""
    script = Path(__file__).with_name("answer.py")
    command = [sys.executable, str(script), str(path), str(args.vocabulary), str(args.threads)]
    env = os.environ | {"LAYERDROP_PACK": str(int(pack)), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.split()[-1])


def measure(args):
    """Run the processes in turn; the record."""
    task, models = translation.make_task(args.vocabulary), {}
    with tempfile.TemporaryDirectory() as folder:
        for name, state in parents(args, task):
            path = Path(folder) / f"{name}.pt"
            torch.save(state, path)
            pairs = [[peak(path, pack, args) for pack in (True, False)] for _ in range(args.repeats)]
            packed, plain = map(list, zip(*pairs, strict=True))
            ratio = side_by_side.ratio(packed, plain)
            models[name] = {"packed_bytes": packed, "plain_bytes": plain, "goal": GOAL, "over_plain": ratio}
    return side_by_side.record("peak_memory", args, {"models": models})


def table(models):
    """The figures of :func:`measure` as a table."""
    rows = [
        {
            "model": name,
            "packed, MB": f"{min(model['packed_bytes']) / 1e6:.0f}",
            "not packed, MB": f"{min(model['plain_bytes']) / 1e6:.0f}",
            "ratio": f"{model['over_plain']['median']:.3f}",
            "min to max (middle half)": side_by_side.spread(model["over_plain"]),
            "goal": f"at most {GOAL}: {side_by_side.verdict(model['over_plain'], GOAL)}",
        }
        for name, model in models.items()
    ]
    return tabulate.tabulate(rows, headers="keys", disable_numparse=True)


def main(arguments=None):
    """Run the benchmark."""
    args = side_by_side.parse(__file__, __doc__, OPTIONS, SMOKE, arguments)
    with provenance.quiet():
        record = measure(args)
    side_by_side.write(record, args.out)
    print(table(record["models"]))


if __name__ == "__main__":
    sys.exit(main())
