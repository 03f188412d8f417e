"""What a user names with ``--criterion``; importing this package registers it."""

from . import head_importance  # noqa: F401
