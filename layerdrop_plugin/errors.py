"""Errors that a user can mend: always one line that says what is wrong and what to do."""

import os


class LayerdropError(Exception):
    """Wrong input or a wrong environment. Its text is one line, shown without a traceback on the command line.

    Not a ``ValueError``: argparse swallows those and prints fairseq's two hundred lines of usage instead.
    """


class MissingFairseqError(LayerdropError, ImportError):
    """fairseq is not installed."""


def find_layerdrop_error(error: BaseException | None) -> LayerdropError | None:
    """The :class:`LayerdropError` behind *error*, looking through wrapped exceptions, or None."""
    seen = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, LayerdropError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def first_line(error: BaseException) -> str:
    """The first line that *error* says, or its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def one_line(error: BaseException) -> str:
    """What *error* says, on one line that a terminal can show: names in it may have any characters."""
    text = "".join(" " if not char.isprintable() else char for char in str(error))
    return text.encode("utf-8", "replace").decode()


def debugging() -> bool:
    """Whether LAYERDROP_DEBUG asks for tracebacks."""
    return os.environ.get("LAYERDROP_DEBUG", "") not in ("", "0")
