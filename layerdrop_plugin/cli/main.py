"""The ``layerdrop`` command."""

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from .. import __version__, register
from ..errors import LayerdropError, debugging, find_layerdrop_error, first_line, one_line

COMMANDS = (
    *("path", "inspect", "check", "prune", "average", "convert", "score", "latency", "report"),
    *("evaluate", "importance", "ablate", "pruning-curve", "depth-curve", "import-hf", "encode", "search"),
    *("export-hf", "export-onnx", "export-ct2"),
)
ALIASES = {"curve": "pruning-curve", "curves": "depth-curve"}  # as version 0.1.0 called them


def build_parser() -> argparse.ArgumentParser:
    """The parser with one subcommand per module of this package named in COMMANDS."""
    parser = argparse.ArgumentParser(prog="layerdrop", description="Make, inspect and compare smaller Transformers.")
    parser.add_argument("--version", action="version", version=f"layerdrop_plugin {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="SUBCOMMAND", required=True)
    for name in COMMANDS:
        # must not import torch, which takes seconds
        module = importlib.import_module(f".{name.replace('-', '_')}", __package__)
        subparser = subparsers.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run, without_fairseq=getattr(module, "WITHOUT_FAIRSEQ", False))
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``layerdrop ARGUMENTS`` (the command line's by default); exit 1 with one line on an error.

    LAYERDROP_DEBUG=1 shows the traceback too. A closed pipe on standard output is status 141.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    arguments[:1] = [ALIASES.get(name, name) for name in arguments[:1]]
    args = build_parser().parse_args(arguments)
    try:
        if not args.without_fairseq:
            register()
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read what is printed has gone; files were written before
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if debugging():
            traceback.print_exc()
        ours = find_layerdrop_error(error)
        sys.exit(f"layerdrop: error: {one_line(ours) if ours else _unexpected(error)}")


def _unexpected(error: Exception) -> str:
    """What to say of an *error* that nobody has thought of."""
    return one_line(
        LayerdropError(
            f"unexpected {type(error).__name__}: {first_line(error)} (LAYERDROP_DEBUG=1 shows where; please report it)"
        )
    )


if __name__ == "__main__":
    main()
