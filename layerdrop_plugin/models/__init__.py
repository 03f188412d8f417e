"""What a user names with ``--arch``."""

from . import roberta  # noqa: F401
