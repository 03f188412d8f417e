"""Time to read a checkpoint with all its checks, over torch.load of the same file.

`torch.load` reads without comparing checksums. *loading* is what replaces it in fairseq's commands; *reading* is what
`layerdrop prune` and `inspect` do, which leave the weights in the file until they are used. The file is in the disk
cache, where checksums cost most in comparison.
"""

import os
import sys
import tempfile
from pathlib import Path

import roberta
import side_by_side
import tabulate
import torch
import translation

from layerdrop_plugin import checkpoint, provenance, register

GOAL = 1.3  # maximum of the time over that of torch.load
OPTIONS = {"repeats": (5, "timed rounds after one to warm up")}
SIZES = {"layers": 24, "width": 1024, "heads": 16, "vocabulary": 50000}  # 1.4 GB, as RoBERTa large
SMOKE = {"layers": 2, "width": 16, "heads": 2, "vocabulary": 60, "repeats": 1, "threads": 1}


def timed(load):
    """A function of a path that returns the seconds that *load* takes for it."""

    def run(path):
        start = side_by_side.now(torch.device("cpu"))
        state = load(path)
        seconds = side_by_side.now(torch.device("cpu")) - start
        assert "model" in state
        return seconds

    return run


RUNS = {
    "torch.load": lambda path: torch.load(path, map_location="cpu", weights_only=True),
    "loading": checkpoint.load,
    "reading": checkpoint.read,
}


def measure(args):
    """Load one file in turn; the record."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        parent = roberta.make_parent(args, translation.make_task(args.vocabulary), 512)
        torch.save(checkpoint.untrained({}, parent["cfg"], parent["model"]), path)
        del parent
        size = os.path.getsize(path)
        runs = {name: timed(load) for name, load in RUNS.items()}
        results = side_by_side.take_turns(runs, [path], args.repeats, "load")
    seconds = {name: [sum(found) for found in rounds] for name, rounds in results.items()}
    models = {
        name: {"seconds": taken, "goal": GOAL, "over_torch": side_by_side.ratio(taken, seconds["torch.load"])}
        for name, taken in seconds.items()
        if name != "torch.load"
    }
    return side_by_side.record(
        "load_time", args, {"bytes": size, "torch_seconds": seconds["torch.load"], "models": models}
    )


def table(record):
    """The figures of :func:`measure` as a table."""
    rows = [
        {
            "": name,
            "seconds": f"{min(model['seconds']):.2f}",
            "torch.load": f"{min(record['torch_seconds']):.2f}",
            "ratio": f"{model['over_torch']['median']:.3f}",
            "min to max (middle half)": side_by_side.spread(model["over_torch"]),
            "goal": f"at most {GOAL}: {side_by_side.verdict(model['over_torch'], GOAL)}",
        }
        for name, model in record["models"].items()
    ]
    return tabulate.tabulate(rows, headers="keys", disable_numparse=True)


def main(arguments=None):
    """Run the benchmark."""
    args = side_by_side.parse(__file__, __doc__, OPTIONS, SMOKE, arguments, SIZES)
    torch.set_num_threads(args.threads)
    register()
    with provenance.quiet():
        record = measure(args)
    side_by_side.write(record, args.out)
    print(table(record))


if __name__ == "__main__":
    sys.exit(main())
