"""Print the folder to give to fairseq's --user-dir, for an installed package and a checkout alike.

fairseq-train --user-dir "$(layerdrop path)" ...
"""

from pathlib import Path

WITHOUT_FAIRSEQ = True
HELP = "print the folder for --user-dir"


def add_arguments(parser) -> None:
    """No options."""


def run(args) -> None:
    """Print the package's folder."""
    print(Path(__file__).resolve().parent.parent)
