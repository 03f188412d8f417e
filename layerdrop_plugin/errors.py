"""Errors that a user can mend: always one line that says what is wrong and what to do."""


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
