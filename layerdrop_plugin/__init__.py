"""layerdrop_plugin: any smaller Transformer you ask for, as a fairseq ``--user-dir`` plugin.

Importing this package (which ``--user-dir`` does) registers the architectures and tasks and makes fairseq's
checkpoints loadable, safely, with torch >= 2.6.
"""

import os
import sys

__version__ = "0.1.0"


def _already_imported():
    """The module that holds these same files under another name (``--user-dir`` through a renamed link), or None."""
    here = os.path.realpath(__file__)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name != __name__ and "." not in name and file and os.path.realpath(file) == here:
            return name
    return None


_twin = _already_imported()
if _twin is not None:  # registering everything twice is an error in fairseq: be the same module instead
    for _name in [name for name in sys.modules if name == _twin or name.startswith(_twin + ".")]:
        sys.modules[__name__ + _name[len(_twin) :]] = sys.modules[_name]
else:
    from .errors import install_excepthook

    install_excepthook()

    from . import fairseq_patches

    fairseq_patches.install(sys.modules[__name__])

    from . import criterions, models, tasks  # noqa: E402,F401  (registers what --criterion, --arch and --task name)
