"""Exit with status 0 if every FILE is a whole checkpoint archive; one line and status 1 otherwise.

Cheap: reads only the archive's directory, which a file cut short lacks. `layerdrop inspect` reads everything.
"""

from .. import checkpoint
from ..errors import LayerdropError

HELP = "test whether checkpoint files are whole"


def add_arguments(parser) -> None:
    """The files."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="checkpoint file")


def run(args) -> None:
    """Raise LayerdropError for the first file that is not whole."""
    for path in args.files:
        if not checkpoint.is_whole(path):
            raise LayerdropError(f"{path} is missing or not a whole checkpoint")
