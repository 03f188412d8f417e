"""fairseq reads lists in options' strings with ``eval``, also where the strings come from a checkpoint."""

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
    """Let fairseq read literals where it calls ``eval``: the name is given another meaning in its modules.

    A string in a checkpoint's configuration could run anything there. It can go when fairseq says ``ast.literal_eval``.
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
    """The module *name*; None where a package is missing that it needs, so that nobody can import it."""
    try:
        return sys.modules.get(name) or importlib.import_module(name)
    except (ImportError, OSError):
        return None
