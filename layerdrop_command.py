"""Entry point of the ``layerdrop`` command.

That this module is imported tells layerdrop_plugin that it is the command which imports it: see its ``__init__``.
"""

import sys


def main() -> None:
    """Run the command line; Ctrl-C, at any moment, is one line and status 130."""
    try:
        from layerdrop_plugin.cli.main import main as run

        run()
    except KeyboardInterrupt:
        print("layerdrop: interrupted", file=sys.stderr)
        sys.exit(130)
