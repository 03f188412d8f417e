"""layerdrop_plugin: any smaller Transformer you ask for, as a fairseq ``--user-dir`` plugin.

Importing this package (which ``--user-dir`` does) calls :func:`register`.
"""

import sys

from .fairseq_patches import patch_second_name

__version__ = "0.2.0"

patch_second_name()  # where these files are imported already, what follows finds those modules


def register() -> None:
    """Patch fairseq (see the folder fairseq_patches) and register what options of its commands name; once.

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


# The `layerdrop` command, which imports layerdrop_command before anything else, registers when a subcommand needs
# fairseq: importing that takes seconds. Wherever else this package is imported, fairseq may ask for our names next.
if "layerdrop_command" not in sys.modules:
    register()
