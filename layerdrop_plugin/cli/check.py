"""Exit with status 0 if every FILE is a complete checkpoint; otherwise print one line and exit with status 1.

Compares the checksums of all entries of the archive, at the speed of the disk. A file in PyTorch's format before 2020
has no checksums: only its lengths are checked. `layerdrop inspect` also checks the contents.
"""

import argparse

from .. import checkpoint

WITHOUT_FAIRSEQ = True
HELP = "test whether checkpoint files are complete"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The files."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="checkpoint file")


def run(args: argparse.Namespace) -> None:
    """Raise LayerdropError for the first file that is not complete."""
    for path in args.files:
        checkpoint.check_whole(path)
