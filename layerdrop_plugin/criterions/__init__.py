"""Criterions, as named with ``--criterion``; importing this package registers them."""

from . import head_importance, pruning_distillation  # noqa: F401
