"""Time models on real sentences, in turn in one process, and write the medians of several rounds (JSON).

Sentence classifiers: milliseconds per sentence of a forward. Translation models: tokens per second of fairseq's beam
search, counting the tokens of every sentence's best hypothesis without the end mark. Ratios to the first model are
taken within each round; with their median stand the least and the greatest, and a ratio whose rounds differ by more
than a quarter of it is marked as unreliable.
"""

import argparse
import json
import shlex
import sys

from .. import checkpoint
from ..errors import LayerdropError

HELP = "time classifiers or translation models against each other on real sentences"


def add_arguments(parser):
    parser.add_argument(
        "--model", action="append", required=True, metavar="NAME=CKPT", type=_named,
        help="a sentence_prediction or translation checkpoint; repeat for more, the first is the base of the ratios",
    )  # fmt: skip
    parser.add_argument("--data", required=True, help="binarised data folder")
    parser.add_argument("--split", default="test", help="split to draw sentences from (default: test)")
    parser.add_argument("--out", required=True, help="the JSON file to write")
    parser.add_argument("--batch-sizes", type=_sizes, help="default: 1,32; 32 for translations")
    parser.add_argument("--beam", type=_positive, default=4, help="beam's size of translations (default: 4)")
    parser.add_argument("--threads", type=_positive, default=2, help="torch's threads (default: 2)")
    parser.add_argument(
        "--repeats", type=_positive, default=7,
        help="timed rounds; the median counts, and 3 or more show whether they agree (default: 7)",
    )  # fmt: skip
    parser.add_argument("--max-sentences", type=_positive, default=256, help="most sentences (default: 256)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw of sentences (default: 1)")


def run(args):
    from ..evaluation import latency, rounds

    models = dict(args.model)
    if len(models) < len(args.model):
        raise LayerdropError("two --model have the same name")
    found = latency.measure(
        models, args.data, args.split, args.batch_sizes, args.threads, args.repeats, args.max_sentences, args.seed,
        args.beam, command=shlex.join(["layerdrop", *sys.argv[1:]]),
    )  # fmt: skip
    checkpoint.write_text_atomic(args.out, json.dumps(found, indent=2) + "\n")
    for model in found["models"]:
        print(f"{model['name']}: {', '.join(_figures(model))}{_compared(model, found['models'][0])}")
    for line in rounds.doubts(found):
        print(line)


def _figures(model):
    """What the terminal shows of a *model* of the measurement, by batch size."""
    if "ms_per_sentence" in model:
        times = [f"{ms:.3f} ms at batch {size}" for size, ms in model["ms_per_sentence"].items()]
        return [*times[:-1], times[-1] + " (per sentence)"]
    return [
        f"{speed:.0f} tokens/s and {model['sentences_per_second'][size]:.1f} sentences/s at batch {size}"
        for size, speed in model["tokens_per_second"].items()
    ]


def _compared(model, first):
    """The ratios of a *model* to the *first*, by batch size; nothing of the first."""
    from ..evaluation import rounds

    name, ratios = ("time", model["ratio"]) if "ratio" in model else ("speed", model["speed"])
    spread = model.get("spread", {})
    texts = [f"{rounds.written(ratios[size], found)} at batch {size}" for size, found in spread.items()]
    return f"; {name} vs {first['name']}: {', '.join(texts)}" if texts else ""


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
