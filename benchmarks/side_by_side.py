"""Common parts of the benchmarks: options, clock, alternation of runs, ratios, and records.

On a shared machine a single time is not reliable. All runs to be compared therefore alternate in one process, A B C A B
C ..., and the result is the ratio within a round: its median over the rounds, and its range.
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


def parse(script, description, own, smoke, arguments=None, sizes=None):
    """Parse the options of a benchmark; `args.command` is the command line.

    Args:
        script (str): the benchmark's file.
        description (str): for --help, its first paragraph being what the benchmark measures.
        own (dict[str, tuple]): its whole-number options: name -> (default, help).
        smoke (dict[str, int]): defaults under --smoke.
        arguments (list[str] | None): the command line's by default.
        sizes (dict[str, int] | None): defaults of the common options that differ.
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
    common |= {name: (size, common[name][1]) for name, size in (sizes or {}).items()}
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
        args.out.parent.mkdir(parents=True, exist_ok=True)  # fails now rather than after minutes of measuring
    args.command = shlex.join(["python", f"{path.parent.name}/{path.name}", *arguments])
    return args


def now(device):
    """Time in seconds of a monotonic clock, after waiting for *device* to finish its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def take_turns(runs, items, repeats, title):
    """Alternate *runs* on every item, for *repeats* rounds after one to warm up (allocator, caches, thread pool).

    Args:
        runs (dict[str, Callable]): name -> a function of one item.
        items (Sequence): arguments of one round, such as batches.
        repeats (int): number of timed rounds.
        title (str): of the progress bar.

    Returns:
        dict[str, list[list]]: name -> for each timed round, the results of the function for each item.
    """
    results = {name: [[] for _ in range(repeats)] for name in runs}
    with tqdm(total=(repeats + 1) * len(items) * len(runs), desc=title, unit="run") as progress:
        for repeat, item in itertools.product(range(-1, repeats), items):
            for name, run in runs.items():
                result = run(item)
                if repeat >= 0:
                    results[name][repeat].append(result)
                progress.update()
    return results


def ratio(above, below):
    """The ratio of two series within each round: its median, quartiles and range.

    Args:
        above, below (Sequence[float]): one number per round.

    Returns:
        dict[str, float]: `median`, `min`, `max`, and the quartiles `lower` and `upper`.
    """
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    lower, _, upper = statistics.quantiles(ratios, method="inclusive") if len(ratios) > 1 else ratios * 3
    spread = {"min": min(ratios), "lower": lower, "upper": upper, "max": max(ratios)}
    return {"median": statistics.median(ratios)} | spread


def spread(ratios):
    """The range of a :func:`ratio` as text, and the middle half of the rounds in brackets."""
    middle = f"{ratios['lower']:.3f} to {ratios['upper']:.3f}"
    return f"{ratios['min']:.3f} to {ratios['max']:.3f} ({middle})"


def verdict(ratios, goal, at_least=False):
    """Whether a :func:`ratio` meets its goal: `met`, `MISSED`, or `not decided`.

    It is not decided where the middle half of the rounds differs by more than the median's distance to the goal.

    Args:
        ratios (dict[str, float]): as of :func:`ratio`.
        goal (float): the maximum of its median, or with *at_least* the minimum.
    """
    median = ratios["median"]
    if ratios["upper"] - ratios["lower"] > abs(median - goal):
        return "not decided"
    return "met" if (median >= goal if at_least else median <= goal) else "MISSED"


def device_name(device):
    """The processor's or the accelerator's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else latency.cpu_name()


def record(benchmark, args, figures):
    """The JSON record of a benchmark: *figures* with device, versions, command and settings.

    Args:
        benchmark (str): its name.
        args (argparse.Namespace): its options, which become `settings`.
        figures (dict): its results.
    """
    separate = ("command", "device", "out", "seed", "threads")
    return {
        "type": f"layerdrop.benchmark.{benchmark}",
        "version": 1,
        "device": str(args.device),
        "device_name": device_name(args.device),
        "threads": args.threads,
        "seed": args.seed,
        "versions": provenance.versions(),
        "command": args.command,
        "settings": {name: value for name, value in sorted(vars(args).items()) if name not in separate},
        **figures,
    }


def write(contents, path):
    """Save a record as JSON, whole or not at all (law 6, failed commands); do nothing if *path* is None."""
    if path:
        checkpoint.write_text_atomic(path, json.dumps(contents, indent=2) + "\n")
