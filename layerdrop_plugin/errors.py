"""Errors that a user can fix. Their messages are one line with the cause and the remedy."""

import os


class LayerdropError(Exception):
    """Invalid input or an unsuitable environment. The message is one line, shown without a traceback.

    This is not a ``ValueError``, for which argparse would print fairseq's usage, two hundred lines, instead.
    """


class MissingFairseqError(LayerdropError, ImportError):
    """fairseq is not installed."""


def find_layerdrop_error(error: BaseException | None) -> LayerdropError | None:
    """The :class:`LayerdropError` in *error*'s chain of causes and contexts; None if there is none."""
    seen = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, LayerdropError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def first_line(error: BaseException) -> str:
    """The first line of *error*'s message; its type if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def one_line(error: BaseException) -> str:
    """*error*'s message on one printable line; names of files in it may have any characters."""
    text = "".join(" " if not char.isprintable() else char for char in str(error))
    return text.encode("utf-8", "replace").decode()


def debugging() -> bool:
    """Whether LAYERDROP_DEBUG is set, which makes errors print their traceback."""
    return os.environ.get("LAYERDROP_DEBUG", "") not in ("", "0")
