"""Child processes that do not outlive the recipe that started them."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1  # of Linux's prctl
_LIBRARY = ctypes.CDLL(None) if sys.platform == "linux" else None


def start(command, output):
    """A process in a group of its own that writes into *output*, a file or subprocess.PIPE.

    On Linux the kernel ends it when this process dies, by SIGKILL too, after which no code of ours runs.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_LIBRARY and _die_with_parent,  # noqa: PLW1509 (it is one system call)
    )


def _die_with_parent():
    _LIBRARY.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end(processes):
    """Terminate the processes' groups and wait for them."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    for process in processes:
        process.wait()


def exit_on_signals():
    """Make the signals that stop a command raise SystemExit, so that its ``finally`` blocks run."""
    for number in SIGNALS:
        signal.signal(number, lambda number, _: sys.exit(128 + number))


class Starter:
    """The processes whose end must end the children: this one's parent and the first recipe (LAYERDROP_RECIPE).

    A recipe that is killed cannot stop the recipes that it runs, nor these their trainings.
    """

    def __init__(self):
        self._parent, self._recipe = os.getppid(), int(os.environ.get("LAYERDROP_RECIPE") or 0)

    def is_gone(self):
        """Whether one of them has ended."""
        if os.getppid() != self._parent:
            return True
        with contextlib.suppress(PermissionError):  # it is there, another user's
            try:
                os.kill(self._recipe, 0)  # 0 names this process's own group
            except ProcessLookupError:
                return True
        return False
