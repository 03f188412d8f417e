"""``python -m layerdrop_plugin.cli``."""

from .main import main

main()
