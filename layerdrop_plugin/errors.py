"""Errors that a user can fix. Their messages are one line with the cause and the remedy."""


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
