"""Rewrite a checkpoint that contains Python objects with plain data only, so that it can be loaded safely.

Reading such a file can execute arbitrary code in it: do this only if you trust its author.
"""

import argparse

from .. import checkpoint
from ..errors import LayerdropError

HELP = "rewrite a checkpoint that you trust with plain data only"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Input, output and the consent."""
    parser.add_argument("source", metavar="IN", help="checkpoint file that the other commands refuse")
    parser.add_argument("target", metavar="OUT", help="file to write")
    parser.add_argument("--trust", action="store_true", help="allow IN to execute code on this machine")


def run(args: argparse.Namespace) -> None:
    """Convert, if the user consents."""
    if not args.trust:
        raise LayerdropError(f"reading {args.source} may execute code inside it: add --trust if you trust its maker")
    checkpoint.refuse_same_file(args.source, args.target)
    checkpoint.check_target(args.target)
    checkpoint.convert_trusted(args.source, args.target)
    print(f"wrote {args.target}")
