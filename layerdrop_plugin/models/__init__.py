"""Architectures, as named with ``--arch``; importing this package registers them."""

from . import roberta, transformer, transformer_lm  # noqa: F401
