"""Architectures, as named with ``--arch``; importing this package registers them."""

from . import bart, roberta, transformer, transformer_lm  # noqa: F401
