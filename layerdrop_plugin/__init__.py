"""layerdrop_plugin: LayerDrop, pruning and head importance, as a fairseq ``--user-dir`` plugin.

Importing this package (which ``--user-dir`` does) calls :func:`register`.
"""

import sys

from .fairseq_patches import patch_second_name

__version__ = "0.2.0"

patch_second_name()  # before the imports below, which must find modules that are already imported


def register() -> None:
    """Patch fairseq (see fairseq_patches/) and register this plugin's architectures, criterions, tasks and --bpe.

    Further calls do nothing.

    Raises:
        MissingFairseqError: fairseq is not installed.
    """
    from . import fairseq_patches

    fairseq_patches.install()

    from . import criterions, models, tasks  # noqa: F401  (registers what --criterion, --arch and --task name)
    from .interop import bpe  # noqa: F401  (what --bpe names)


def __getattr__(name: str):
    """``optimize_for_inference``, see modules/inference.py; imported when it is asked for, as that imports torch."""
    if name != "optimize_for_inference":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .modules.inference import optimize_for_inference

    return optimize_for_inference


# The `layerdrop` command, which imports layerdrop_command first, calls register() only for subcommands that need
# fairseq, as importing it takes seconds. Other programs may use the registered names right after this import.
if "layerdrop_command" not in sys.modules:
    register()
