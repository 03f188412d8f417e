"""What the tests of commands share."""

import pytest

from layerdrop_plugin.cli.main import main


@pytest.fixture
def layerdrop(capsys):
    """Call ``layerdrop ARGUMENTS``; returns exit status, standard output and the error's line."""

    def call(*arguments):
        status, error = 0, ""
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status, error = (1, stop.code) if isinstance(stop.code, str) else (stop.code or 0, "")
        return status, capsys.readouterr().out, error

    return call
