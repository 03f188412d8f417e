"""All changes that importing this plugin makes to fairseq, PyTorch and the running Python; no file is changed.

There is one function for each change. Its docstring says what it fixes and when it can be removed. :func:`install`
calls them in the order of PATCHES. Importing this folder imports neither fairseq nor torch: each function imports the
modules that it changes.
"""

from collections.abc import Callable

from ..errors import MissingFairseqError
from .checkpoints import (
    patch_checkpoint_loading,
    patch_child_classes,
    patch_dictionary_check,
    patch_ensemble_loading,
    patch_iterator_position,
    patch_safe_classes,
    patch_trainer_loading,
)
from .data_and_search import (
    patch_attention_in_search,
    patch_binarised_data,
    patch_diverse_beams,
    patch_hard_alignment,
    patch_numpy_names,
    patch_whole_words,
)
from .hub import patch_hub_pairs, patch_hub_tokenizer
from .inference import patch_roberta_hub, patch_validation
from .interpreter import (
    patch_excepthook,
    patch_second_name,
    patch_speech_log,
    patch_user_dir,
)
from .learned_rates import patch_learned_rates
from .options_as_data import patch_eval

PATCHES: tuple[Callable[[], None], ...] = (
    patch_second_name,
    patch_excepthook,
    patch_speech_log,
    patch_user_dir,
    patch_safe_classes,
    patch_eval,
    patch_checkpoint_loading,
    patch_ensemble_loading,
    patch_child_classes,
    patch_dictionary_check,
    patch_trainer_loading,
    patch_iterator_position,
    patch_numpy_names,
    patch_binarised_data,
    patch_whole_words,
    patch_diverse_beams,
    patch_attention_in_search,
    patch_hard_alignment,
    patch_hub_pairs,
    patch_hub_tokenizer,
    patch_validation,
    patch_roberta_hub,
    patch_learned_rates,
)
_installed: list[Callable[[], None]] = []  # the PATCHES that were applied in this process


def install() -> None:
    """Apply PATCHES. Further calls do nothing.

    Raises:
        MissingFairseqError: fairseq is not installed.
    """
    for patch in PATCHES:
        if patch not in _installed:
            try:
                patch()
            except ModuleNotFoundError as error:
                if error.name != "fairseq":
                    raise
                raise MissingFairseqError(
                    "fairseq is not installed: run  pip install 'layerdrop_plugin[fairseq]'  (from a checkout:"
                    "  pip install -c constraints.txt '.[fairseq]')"
                ) from None
            _installed.append(patch)
