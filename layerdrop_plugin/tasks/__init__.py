"""What a user names with ``--task``."""

from . import pruning  # noqa: F401
