"""Time models on real sentences, in turn in one process, and write the medians of several rounds (JSON).

Sentence classifiers: milliseconds per sentence of a forward pass. Translation models: tokens per second of fairseq's
beam search, counting the tokens of each sentence's best hypothesis without the end-of-sentence symbol. Ratios to the
first model are computed within each round; their median, minimum and maximum are reported. A ratio is marked as
unreliable if minimum and maximum differ by more than a quarter of the median.

Exported classifiers run in the software that they are for, ONNX Runtime or transformers, with as many threads, on the
same sentences. Before they are timed they must answer as when they were exported. With --memory the peak memory is that
of a process of its own, with nothing but what the engine needs, which answers one batch.
"""

import argparse
import json
from pathlib import Path

from .. import checkpoint
from ..errors import LayerdropError
from ..output_folder import held
from .arguments import DATA_HELP, OldName, add_inference_argument, command_line, folder_name, inference_dtype, positive

HELP = "compare the speed of classifiers or translation models on real sentences"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Data, checkpoints and their names, how to time them, and the file for the measurement."""
    parser.add_argument("data", metavar="DATA", help=DATA_HELP)
    parser.add_argument(
        "--path",
        nargs="+",
        required=True,
        metavar="MODEL",
        help="sentence_prediction or translation checkpoints, and folders that export-hf and export-onnx wrote; each"
        " may be NAME=MODEL; ratios are to the first",
    )
    parser.add_argument(
        "--name",
        nargs="+",
        metavar="NAME",
        help="name of each model (default: the names of their folders, or the paths if those are equal)",
    )
    parser.add_argument(
        "--subset", metavar="NAME", default="test", help="subset to draw sentences from (default: test)"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="JSON file to write")
    parser.add_argument(
        "--batch-sizes", type=_sizes, help="sentences per batch (default: 1,32; 32 for translation models)"
    )
    parser.add_argument("--beam", type=positive, default=4, help="beam size of translations (default: 4)")
    parser.add_argument("--threads", type=positive, default=2, help="number of torch's threads (default: 2)")
    parser.add_argument(
        "--repeats",
        type=positive,
        default=7,
        help="number of timed rounds; 3 or more show whether they agree (default: 7)",
    )
    parser.add_argument(
        "--max-sentences", type=positive, default=256, help="maximum number of sentences (default: 256)"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the draw of sentences (default: 1)")
    add_inference_argument(parser)
    parser.add_argument(
        "--memory",
        action="store_true",
        help="also measure the peak memory of each classifier, in a process of its own (some seconds each)",
    )
    parser.add_argument("--model", dest="path", action=_OldModel)
    parser.add_argument("--data", action=OldName)
    parser.add_argument("--split", dest="subset", action=OldName)


class _OldModel(OldName):
    """``--model NAME=CKPT``, once for each checkpoint."""

    def __call__(self, parser, namespace, values, option_string=None):
        name, found, path = values.partition("=")
        if not (name and found and path):
            parser.error(f"--model: '{values}' is not NAME=CKPT")
        namespace.name = [*(namespace.name or []), name]
        super().__call__(parser, namespace, [*(namespace.path or []), path], option_string)


def run(args: argparse.Namespace) -> None:
    """Measure, write the file, print the medians and what is not reliable."""
    from ..evaluation import latency, rounds

    _split_names(args)
    names = _names(args)
    checkpoint.check_target(args.out)  # before the work, not after it
    with held(Path(args.out).parent, Path(args.out).name):
        found = latency.measure(
            dict(zip(names, args.path, strict=True)),
            args.data,
            args.subset,
            args.batch_sizes,
            args.threads,
            args.repeats,
            args.max_sentences,
            args.seed,
            args.beam,
            command_line(),
            inference_dtype(args),
            args.memory,
        )
        checkpoint.write_text_atomic(args.out, json.dumps(found, indent=2) + "\n")
    for model in found["models"]:
        size = f"; {model['checkpoint']['weight_bytes'] / 1e6:.1f} MB of weights"
        peak = f", {model['peak_bytes'] / 1e6:.0f} MB of memory at most" if "peak_bytes" in model else ""
        print(f"{model['name']}: {', '.join(_figures(model))}{_compared(model, found['models'][0])}{size}{peak}")
    for line in rounds.doubts(found):
        print(line)


def _split_names(args) -> None:
    """Take the names out of NAME=MODEL, unless there is a file of that whole name."""
    split = [path.partition("=") if "=" in path and not Path(path).exists() else ("", "", path) for path in args.path]
    if not any(name for name, _, _ in split):
        return
    if args.name or not all(name and path for name, _, path in split):
        raise LayerdropError("name all models or none: --path NAME=MODEL …, or --path MODEL … --name NAME …")
    args.name, args.path = [name for name, _, _ in split], [path for _, _, path in split]


def _names(args) -> list[str]:
    """A name for each checkpoint.

    Raises:
        LayerdropError: names are not one for each of them, or two are the same.
    """
    folders = [folder_name(path) for path in args.path]
    names = args.name or [
        folder if folders.count(folder) == 1 else path for folder, path in zip(folders, args.path, strict=True)
    ]
    if len(names) != len(args.path):
        raise LayerdropError(f"--name has {len(names)} values for {len(args.path)} checkpoints: give one for each")
    if len(set(names)) < len(names):
        raise LayerdropError("two checkpoints have the same name: give each its own with --name")
    return names


def _figures(model: dict) -> list[str]:
    """What the terminal shows of a *model* of the measurement, by batch size."""
    if "ms_per_sentence" in model:
        times = [f"{ms:.3f} ms at batch {size}" for size, ms in model["ms_per_sentence"].items()]
        return [*times[:-1], times[-1] + " (per sentence)"]
    return [
        f"{speed:.0f} tokens/s and {model['sentences_per_second'][size]:.1f} sentences/s at batch {size}"
        for size, speed in model["tokens_per_second"].items()
    ]


def _compared(model: dict, first: dict) -> str:
    """The ratios of a *model* to the *first*, by batch size; nothing of the first."""
    from ..evaluation.rounds import written

    name, ratios = ("time", model["ratio"]) if "ratio" in model else ("speed", model["speed"])
    spread = model.get("spread", {})
    texts = [f"{written(ratios[size], found)} at batch {size}" for size, found in spread.items()]
    return f"; {name} vs {first['name']}: {', '.join(texts)}" if texts else ""


def _sizes(text: str) -> list[int]:
    sizes = [positive(part) for part in text.split(",")]
    if len(set(sizes)) < len(sizes):
        raise argparse.ArgumentTypeError(f"'{text}' repeats a batch size")
    return sizes
