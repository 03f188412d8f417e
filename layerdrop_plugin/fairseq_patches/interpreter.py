"""Changes to the running Python: modules, the hook for uncaught errors, logging."""

import logging
import os
import sys

from ..errors import LayerdropError, debugging, find_layerdrop_error, one_line
from .replace import replaces

PACKAGE = __package__.partition(".")[0]


def patch_second_name() -> None:
    """Make a second import of these files under another name the same modules (``sys.modules``).

    ``--user-dir`` through a renamed link imports them again, and registering everything twice is an error in fairseq.
    It can go when fairseq asks whether it has imported the same files, not the same name. The package calls it before
    it imports anything else.
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
    """Let fairseq's commands end with this plugin's one-line errors instead of a traceback (``sys.excepthook``).

    With LAYERDROP_DEBUG=1 the traceback stands before them. The exit status is 1 either way. It
    can go when fairseq's commands have errors of their own for users.
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
    """Silence a log message at each import of fairseq that an optional package is missing; only speech models need it.

    It can go when fairseq imports that package where it is used.
    """
    logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)


class _SameFolder(list):
    """A package's ``__path__`` for which ``in`` asks for the same folder, not for the same string."""

    def __contains__(self, path):
        if any(os.path.exists(path) and os.path.samefile(path, mine) for mine in self):
            return True
        raise LayerdropError(
            f"--user-dir {path} is another copy of layerdrop_plugin than the one already imported:"
            f" use --user-dir {self[0]}"
        )


def patch_user_dir() -> None:
    """Let ``--user-dir`` be any path that reaches the files already imported; another copy is refused in one line.

    ``fairseq.utils.import_user_module`` tests ``path in module.__path__``; this replaces the package's ``__path__``. It
    can go when fairseq compares the folders.
    """
    package = sys.modules[PACKAGE]
    package.__path__ = _SameFolder(package.__path__)
