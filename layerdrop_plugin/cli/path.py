"""Print the folder to give to fairseq's --user-dir, for an installed package and a checkout alike.

fairseq-train --user-dir "$(layerdrop path)" ...
"""

import argparse
from pathlib import Path

WITHOUT_FAIRSEQ = True
HELP = "print the folder for --user-dir"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options."""


def run(args: argparse.Namespace) -> None:
    """Print the package's folder."""
    print(Path(__file__).resolve().parent.parent)
