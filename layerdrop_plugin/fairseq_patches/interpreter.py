"""Changes to the running Python: modules, the hook for uncaught errors, logging."""

import logging
import os
import sys

from ..errors import LayerdropError, debugging, find_layerdrop_error, one_line
from .replace import replaces

PACKAGE = __package__.partition(".")[0]


def patch_second_name() -> None:
    """Let a second import of these files under another name return the same modules (``sys.modules``).

    fairseq imports them again if ``--user-dir`` is a link with another name, and fails as everything is registered
    twice. Can be removed when fairseq compares the imported files, not their names. The package calls this function
    before it imports anything else.
    """
    mine = sys.modules[PACKAGE]
    file = os.path.realpath(mine.__file__)
    for name, module in list(sys.modules.items()):
        other = getattr(module, "__file__", None)
        if module is not mine and "." not in name and other and os.path.realpath(other) == file:
            for submodule in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
                sys.modules[PACKAGE + submodule.removeprefix(name)] = sys.modules[submodule]
            return


def patch_excepthook() -> None:
    """Make fairseq's commands print this plugin's errors as one line instead of a traceback (``sys.excepthook``).

    With LAYERDROP_DEBUG=1 the traceback is printed before it. The exit status is 1 in both cases. Can be removed when
    fairseq's commands report errors to users themselves.
    """

    @replaces(sys, "excepthook")
    def excepthook(original, kind, error, traceback):
        ours = find_layerdrop_error(error)
        if ours is None:
            original(kind, error, traceback)
        else:
            if debugging():
                original(kind, error, traceback)
            print(f"layerdrop_plugin: error: {one_line(ours)}", file=sys.stderr)


def patch_speech_log() -> None:
    """Suppress fairseq's log message that an optional package, which only speech models need, is missing.

    Can be removed when fairseq imports this package only where it is used.
    """
    logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)


class _SameFolder(list):
    """A package's ``__path__`` for which ``in`` compares folders instead of strings."""

    def __contains__(self, path):
        if any(os.path.exists(path) and os.path.samefile(path, mine) for mine in self):
            return True
        raise LayerdropError(
            f"--user-dir {path} is another copy of layerdrop_plugin than the one already imported:"
            f" use --user-dir {self[0]}"
        )


def patch_user_dir() -> None:
    """Let ``--user-dir`` be any path of the folder that is already imported; another copy raises a one-line error.

    ``fairseq.utils.import_user_module`` tests ``path in module.__path__``; this function replaces the package's
    ``__path__``. Can be removed when fairseq compares folders.
    """
    package = sys.modules[PACKAGE]
    package.__path__ = _SameFolder(package.__path__)
