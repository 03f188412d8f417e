"""`layerdrop latency`: milliseconds per sentence of several models, measured in turn in one process."""

import argparse
import json
import shlex
import sys

from .. import checkpoint, latency
from ..errors import LayerdropError

HELP = "time sentence classifiers against each other on real sentences"


def add_arguments(parser):
    parser.add_argument(
        "--model", action="append", required=True, metavar="NAME=CKPT", type=_named,
        help="a sentence_prediction checkpoint; repeat for more, the first is the base of the ratios",
    )  # fmt: skip
    parser.add_argument("--data", required=True, help="binarised data folder")
    parser.add_argument("--split", default="test", help="split to draw sentences from (default: test)")
    parser.add_argument("--out", required=True, help="the JSON file to write")
    parser.add_argument("--batch-sizes", type=_sizes, default=[1, 32], help="default: 1,32")
    parser.add_argument("--threads", type=_positive, default=2, help="torch's threads (default: 2)")
    parser.add_argument("--repeats", type=_positive, default=7, help="timed passes; the median counts (default: 7)")
    parser.add_argument("--max-sentences", type=_positive, default=256, help="most sentences (default: 256)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw of sentences (default: 1)")


def run(args):
    models = dict(args.model)
    if len(models) < len(args.model):
        raise LayerdropError("two --model have the same name")
    found = latency.measure(
        models, args.data, args.split, args.batch_sizes, args.threads, args.repeats, args.max_sentences, args.seed,
        command=shlex.join(["layerdrop", *sys.argv[1:]]),
    )  # fmt: skip
    checkpoint.write_text_atomic(args.out, json.dumps(found, indent=2) + "\n")
    for model in found["models"]:
        times = ", ".join(f"{ms:.3f} ms at batch {size}" for size, ms in model["ms_per_sentence"].items())
        print(f"{model['name']}: {times} (per sentence)")


def _named(text):
    name, found, path = text.partition("=")
    if not (name and found and path):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=CKPT")
    return name, path


def _positive(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a positive whole number")
    return int(text)


def _sizes(text):
    sizes = [_positive(part) for part in text.split(",")]
    if len(set(sizes)) < len(sizes):
        raise argparse.ArgumentTypeError(f"'{text}' repeats a batch size")
    return sizes
