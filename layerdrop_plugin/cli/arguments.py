"""Arguments that are common to several subcommands."""

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from ..evaluation.session import Session
    from ..pruning.parent import Parent

DTYPES = {"fp32": "float32", "bf16": "bfloat16"}  # --inference-dtype -> torch's name
DATA_HELP = "binarised data folder, as for fairseq's commands"


class OldName(argparse.Action):
    """An option of version 0.1.0 that still sets the argument *dest*; ``--help`` does not show it."""

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        nargs: int | str | None = None,
        type: Callable[[str], object] | None = None,
    ):
        super().__init__(option_strings, dest, nargs, type=type, default=argparse.SUPPRESS, help=argparse.SUPPRESS)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Set the argument to *values*, and do not require the argument itself any more."""
        setattr(namespace, self.dest, values)
        for action in parser._actions:
            if action.dest == self.dest:
                action.required = False


def add_session_arguments(parser: argparse.ArgumentParser, subset: str, several: bool = False) -> None:
    """Add data folder, checkpoint, subset, number of examples, batch size, seed and device to *parser*.

    Args:
        parser: the parser of a subcommand.
        subset: default of ``--subset``.
        several: whether ``--path`` takes several checkpoints.
    """
    parser.add_argument("data", metavar="DATA", help=DATA_HELP)
    if several:
        parser.add_argument(
            "--path",
            required=True,
            nargs="+",
            metavar="CKPT",
            help="checkpoints, or classifiers that export-hf and export-onnx wrote, which run in their own software",
        )
    else:
        parser.add_argument("--path", required=True, metavar="CKPT", help="checkpoint; it is not changed")
    add_example_arguments(parser, subset)


def add_example_arguments(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, subset: str, most: int | None = None
) -> None:
    """Add subset, number of examples, batch size, seed and device to *parser*.

    Args:
        parser: the parser of a subcommand, or a group of its arguments.
        subset: default of ``--subset``.
        most: default of ``--max-examples``; None is all.
    """
    parser.add_argument(
        "--subset", metavar="NAME", default=subset, help=f"subset of the data to use (default: {subset})"
    )
    parser.add_argument(
        "--max-examples",
        type=positive,
        metavar="N",
        default=most,
        help=f"maximum number of examples, drawn with --seed (default: {most or 'all'})",
    )
    parser.add_argument(
        "--batch-size", type=positive, metavar="N", help="maximum number of examples in a batch (default: 32)"
    )
    parser.add_argument(
        "--max-tokens", type=positive, metavar="N", help="maximum number of tokens in a batch, padding included"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of random draws (default: 1)")
    parser.add_argument("--cpu", action="store_true", help="use the CPU even if there is a GPU")


def add_inference_argument(parser: argparse.ArgumentParser) -> None:
    """Precision of a model that is only read."""
    parser.add_argument(
        "--inference-dtype",
        choices=DTYPES,
        default="fp32",
        help="precision of products; bf16 rounds to three digits and is faster on CPUs that have it (default: fp32)",
    )


def inference_dtype(args: argparse.Namespace) -> "torch.dtype":
    """torch's name of the precision that :func:`add_inference_argument` asks for; fp32 in commands without it."""
    import torch

    return getattr(torch, DTYPES[getattr(args, "inference_dtype", "fp32")])


def load_session(args: argparse.Namespace, path: "str | Parent | None" = None, data: str | None = None) -> "Session":
    """Load the :class:`Session` of the arguments of :func:`add_session_arguments`.

    Args:
        args: the parsed arguments.
        path: the checkpoint to load, or what was read from it, if there are several or it has another name.
        data: the data folder, if it has another name.
    """
    from ..evaluation.session import BATCH_SIZE, load

    size = args.batch_size or (None if args.max_tokens else BATCH_SIZE)
    options = {"max_tokens": args.max_tokens, "seed": args.seed, "cpu": args.cpu, "dtype": inference_dtype(args)}
    return load(path or args.path, data or args.data, batch_size=size, **options)


def load_model(args: argparse.Namespace, path: str) -> "Session":
    """As :func:`load_session`, of a checkpoint or of a folder that an export wrote."""
    from ..evaluation import engines

    if not engines.is_exported(path):
        return load_session(args, path)
    from ..errors import LayerdropError
    from ..evaluation.engines.session import load_session as load_exported
    from ..evaluation.session import BATCH_SIZE

    if args.inference_dtype != "fp32":
        raise LayerdropError(f"{path} has the precision of its export: leave out --inference-dtype")
    size = args.batch_size or (None if args.max_tokens else BATCH_SIZE)
    return load_exported(path, args.data, size, args.max_tokens, args.seed)


def folder_name(path: str) -> str:
    """The name of the folder in which a checkpoint lies, or of an exported folder."""
    place = Path(path).resolve()
    return place.name if place.is_dir() else place.parent.name


def positive(text: str) -> int:
    """Convert *text* to a whole number from 1, as the type of an argument."""
    if not re.fullmatch("0*[1-9][0-9]{0,8}", text):  # beyond a billion torch's sizes end, and nothing has so many
        raise argparse.ArgumentTypeError(f"'{text[:40]}' is not a whole number from 1 to 999,999,999")
    return int(text)


def command_line() -> str:
    """The command line, for records."""
    return shlex.join(["layerdrop", *sys.argv[1:]])


def add_encoder_export_arguments(parser: argparse.ArgumentParser) -> None:
    """CKPT, OUT and --data of the commands that export an encoder."""
    parser.add_argument("checkpoint", metavar="CKPT", help="checkpoint; it is not changed")
    parser.add_argument("target", metavar="OUT", help="folder to make")
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="folder with CKPT's dictionaries and tokenizer, such as its data (default: CKPT's)",
    )
