"""Replaces ``eval``, with which fairseq parses lists in options, also if the options come from a checkpoint."""

import importlib
import sys
import types

# fairseq's modules that call eval on an option.
MODULES = (
    *("utils", "optim.adam", "optim.cpu_adam", "optim.adamax", "optim.adafactor", "optim.fused_lamb"),
    *("criterions.ctc", "models.lightconv_lm", "models.hubert.hubert", "models.multires_hubert.multires_hubert"),
    *("models.transformer_lm", "models.fconv_lm", "models.fconv", "models.fconv_self_att"),
    *("models.wav2vec.wav2vec2", "models.wav2vec.wav2vec", "models.speech_to_text.s2t_wav_transformer"),
    *("data.audio.raw_audio_dataset", "data.codedataset"),
)


def patch_eval() -> None:
    """Make fairseq parse literals where it calls ``eval``, so that options in a checkpoint cannot execute code.

    ``eval`` is defined as a global of its modules. Can be removed when fairseq uses ``ast.literal_eval``.
    """
    import fairseq.criterions
    import fairseq.models
    import fairseq.optim  # noqa: F401 (these import all modules of theirs)

    from ..safe_reading.literals import literal

    for name in MODULES:
        module = _imported(f"fairseq.{name}")
        if module:
            module.eval = literal


def _imported(name: str) -> types.ModuleType | None:
    """Import and return the module *name*; None if a package that it needs is missing."""
    try:
        return sys.modules.get(name) or importlib.import_module(name)
    except (ImportError, OSError):
        return None
