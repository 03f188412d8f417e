"""Entry point of the ``layerdrop`` command.

That this module is imported tells layerdrop_plugin that it is the command which imports it: see its ``__init__``.
"""


def main() -> None:
    """Run the command line."""
    from layerdrop_plugin.cli.main import main as run

    run()
