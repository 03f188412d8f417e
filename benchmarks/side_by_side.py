"""What the benchmarks share: their options, a clock, taking turns, ratios, and the record that they leave.

A time taken alone says little on a machine that others use as well. So everything that is compared runs in one process
and in turn, A B C A B C ..., and what counts is the ratio within a round: its median over the rounds, and its spread.
"""

import argparse
import itertools
import json
import shlex
import statistics
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

from layerdrop_plugin import checkpoint, provenance
from layerdrop_plugin.evaluation import latency


def positive(text):
    """An option's positive whole number."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def parse(script, description, own, smoke, arguments=None):
    """The options of a benchmark; `args.command` is what was typed.

    Args:
        script (str): the benchmark's file.
        description (str): for --help, its first paragraph being what the benchmark measures.
        own (dict[str, tuple]): its whole-number options: name -> (default, help).
        smoke (dict[str, int]): defaults under --smoke.
        arguments (list[str] | None): the command line's by default.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    path = Path(script)
    parser = argparse.ArgumentParser(
        prog=path.name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = {
        "layers": (6, "layers of the encoder and of the decoder"),
        "width": (256, "width of the model; its FFN is four times as wide"),
        "heads": (4, "attention heads"),
        "vocabulary": (4000, "types of the one dictionary of both languages"),
        "threads": (2, "torch's threads for one operation"),
    }
    for name, (default, text) in (common | own).items():
        help_text = f"{text} (default: {default})"
        parser.add_argument(f"--{name}", type=positive, default=default, metavar="N", help=help_text)
    parser.add_argument("--seed", type=int, default=1, help="of the weights, the sentences and the draws (default: 1)")
    parser.add_argument("--device", type=torch.device, default="cpu", help="such as cpu or cuda (default: cpu)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all figures there too, as JSON")
    parser.add_argument("--smoke", action="store_true", help="sizes so small that only the code is tested, in seconds")
    if "--smoke" in arguments:
        parser.set_defaults(**smoke)
    args = parser.parse_args(arguments)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)  # now rather than after minutes of measuring
    args.command = shlex.join(["python", f"{path.parent.name}/{path.name}", *arguments])
    return args


def now(device):
    """Seconds on a clock that only differences of mean anything, *device* having finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def take_turns(runs, items, repeats, title):
    """Run everything on every item in turn, *repeats* rounds after one that warms up (allocator, caches, thread pool).

    Args:
        runs (dict[str, Callable]): name -> a function of one item.
        items (Sequence): what a round consists of, such as batches.
        repeats (int): rounds that count.
        title (str): of the progress bar.

    Returns:
        dict[str, list[list]]: name -> for each round that counts, what its function returned for each item.
    """
    found = {name: [[] for _ in range(repeats)] for name in runs}
    with tqdm(total=(repeats + 1) * len(items) * len(runs), desc=title, unit="run") as progress:
        for repeat, item in itertools.product(range(-1, repeats), items):
            for name, run in runs.items():
                result = run(item)
                if repeat >= 0:
                    found[name][repeat].append(result)
                progress.update()
    return found


def ratio(above, below):
    """Two series taken side by side: the ratio within each round, as its median and its spread.

    Args:
        above, below (Sequence[float]): one number per round.

    Returns:
        dict[str, float]: `median`, `min` and `max`.
    """
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def spread(found):
    """How a table shows the spread of :func:`ratio`."""
    return f"{found['min']:.3f} to {found['max']:.3f}"


def device_name(device):
    """The processor's or the accelerator's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else latency.cpu_name()


def record(kind, args, figures):
    """What a benchmark leaves: *figures* with everything that it takes to compare them with another run's.

    Args:
        kind (str): the benchmark.
        args (argparse.Namespace): its options, which become `settings`.
        figures (dict): what it found.
    """
    apart = ("command", "device", "out", "seed", "threads")
    return {
        "type": f"layerdrop.benchmark.{kind}",
        "version": 1,
        "device": str(args.device),
        "device_name": device_name(args.device),
        "threads": args.threads,
        "seed": args.seed,
        "versions": provenance.versions(),
        "command": args.command,
        "settings": {name: value for name, value in sorted(vars(args).items()) if name not in apart},
        **figures,
    }


def write(found, path):
    """Save a record as JSON, whole or not at all; nothing where *path* is None."""
    if path:
        checkpoint.write_text_atomic(path, json.dumps(found, indent=2) + "\n")
