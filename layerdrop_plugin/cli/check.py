"""Exit with status 0 if every FILE is a whole checkpoint; one line and status 1 otherwise.

Compares the checksums of all that is in the archive, at the speed of the disk. A file in PyTorch's format before 2020
has none: of it only the lengths are checked. `layerdrop inspect` looks at what the file says, too.
"""

import argparse

from .. import checkpoint

WITHOUT_FAIRSEQ = True
HELP = "test whether checkpoint files are whole"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The files."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="checkpoint file")


def run(args: argparse.Namespace) -> None:
    """Raise LayerdropError for the first file that is not whole."""
    for path in args.files:
        checkpoint.check_whole(path)
