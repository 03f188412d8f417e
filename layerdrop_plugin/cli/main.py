"""The ``layerdrop`` command."""

import argparse
import importlib
import sys

from .. import __version__
from ..errors import LayerdropError

COMMANDS = ("path", "inspect", "check", "prune", "convert", "score", "latency", "report")


def build_parser() -> argparse.ArgumentParser:
    """The parser with one subcommand per module of this package named in COMMANDS."""
    parser = argparse.ArgumentParser(prog="layerdrop", description="Make, inspect and compare smaller Transformers.")
    parser.add_argument("--version", action="version", version=f"layerdrop_plugin {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="SUBCOMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f".{name}", __package__)
        subparser = subparsers.add_parser(
            name,
            help=module.HELP,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def main(arguments=None) -> None:
    """Run ``layerdrop ARGUMENTS`` (the command line's by default); exit 1 with one line on a user's error."""
    args = build_parser().parse_args(arguments)
    try:
        args.run(args)
    except LayerdropError as error:
        sys.exit(f"layerdrop: error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
