"""Tasks, as named with ``--task``; importing this package registers them."""

from . import pruning  # noqa: F401
