"""What we mend in fairseq on today's Python and torch; everything else of fairseq is used as it is.

- its checkpoints load again with torch >= 2.6, by an allow-list instead of by trusting every file;
- a refused or broken checkpoint ends in one line;
- ``--user-dir`` accepts any path that reaches the files already imported.
"""

import functools
import logging
import os

from .errors import LayerdropError, MissingFairseqError

# It says at every import that an optional package is missing, which concerns speech models only.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)

try:
    import fairseq  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "fairseq":
        raise
    raise MissingFairseqError(
        "fairseq is not installed: run  pip install 'layerdrop_plugin[fairseq]'  (from a checkout:"
        "  pip install -c constraints.txt '.[fairseq]')"
    ) from None

from fairseq import checkpoint_utils  # noqa: E402

from . import checkpoint  # noqa: E402


class _SameFolder(list):
    """A package's ``__path__`` for which ``in`` asks for the same folder, not for the same string.

    ``fairseq.utils.import_user_module`` tests ``path in module.__path__`` to see whether ``--user-dir`` is loaded.
    """

    def __contains__(self, path):
        if any(os.path.exists(path) and os.path.samefile(path, mine) for mine in self):
            return True
        raise LayerdropError(
            f"--user-dir {path} is another copy of layerdrop_plugin than the one already imported:"
            f" use --user-dir {self[0]}"
        )


def install(package) -> None:
    """Apply all of it; *package* is the layerdrop_plugin module. Safe to call once per process."""
    package.__path__ = _SameFolder(package.__path__)
    checkpoint.allow_fairseq_classes()
    original = checkpoint_utils.load_checkpoint_to_cpu

    @functools.wraps(original)
    def load_checkpoint_to_cpu(path, *args, **kwargs):
        with checkpoint.safe_loading(path):
            return original(path, *args, **kwargs)

    checkpoint_utils.load_checkpoint_to_cpu = load_checkpoint_to_cpu
