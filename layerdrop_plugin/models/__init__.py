"""What a user names with ``--arch``."""

from . import roberta, transformer, transformer_lm  # noqa: F401
