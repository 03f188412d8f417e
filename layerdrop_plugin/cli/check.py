"""Exit with status 0 if every FILE is a complete checkpoint; otherwise print one line and exit with status 1.

The weights are not read: only the archive's directory, which a truncated file lacks, or the lengths that a file in
PyTorch's format before 2020 states. `layerdrop inspect` reads the whole file.
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
