"""Rewrite a checkpoint that holds more than plain data, so that it loads safely from then on.

Reading such a file executes code of its maker's choice: do this only with files whose maker you trust.
"""

import argparse

from .. import checkpoint
from ..errors import LayerdropError

HELP = "rewrite a checkpoint that you trust with plain data only"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Input, output and the consent."""
    parser.add_argument("source", metavar="IN", help="checkpoint file that the other commands refuse")
    parser.add_argument("target", metavar="OUT", help="file to write")
    parser.add_argument("--trust", action="store_true", help="I trust the maker of IN to run code on this machine")


def run(args: argparse.Namespace) -> None:
    """Convert, if the user consents."""
    if not args.trust:
        raise LayerdropError(f"reading {args.source} may execute code inside it: add --trust if you trust its maker")
    checkpoint.refuse_same_file(args.source, args.target)
    checkpoint.check_target(args.target)
    checkpoint.convert_trusted(args.source, args.target)
    print(f"wrote {args.target}")
