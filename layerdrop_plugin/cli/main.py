"""The ``layerdrop`` command."""

import argparse
import importlib
import sys

from .. import __version__
from ..errors import LayerdropError

COMMANDS = (
    *("path", "inspect", "check", "prune", "average", "convert", "score", "latency", "report"),
    *("depth-curve", "importance", "ablate", "pruning-curve"),
)
ALIASES = {"curve": "pruning-curve", "curves": "depth-curve"}  # as version 0.1.0 called them


def build_parser(commands=COMMANDS) -> argparse.ArgumentParser:
    """The parser with one subcommand per module of this package named in *commands*."""
    parser = argparse.ArgumentParser(prog="layerdrop", description="Make, inspect and compare smaller Transformers.")
    parser.add_argument("--version", action="version", version=f"layerdrop_plugin {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="SUBCOMMAND", required=True)
    for name in commands:
        module = importlib.import_module(f".{name.replace('-', '_')}", __package__)
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
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    arguments[:1] = [ALIASES.get(name, name) for name in arguments[:1]]
    # A known command imports itself alone: the others' libraries take seconds.
    commands = arguments[:1] if arguments and arguments[0] in COMMANDS else COMMANDS
    args = build_parser(commands).parse_args(arguments)
    try:
        args.run(args)
    except LayerdropError as error:
        sys.exit(f"layerdrop: error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
