"""Fingerprints of the dictionaries that a model was trained with, kept in its configuration and checked at each use."""

import hashlib

from fairseq.data import Dictionary
from fairseq.utils import safe_getattr

from ..errors import LayerdropError

# Option that holds a fingerprint -> the task's dictionary.
FINGERPRINTS = {"dictionary_sha256": "source_dictionary", "target_dictionary_sha256": "target_dictionary"}


def dictionary_sha256(dictionary) -> str:
    """A fingerprint of a fairseq dictionary: its symbols in order."""
    return hashlib.sha256("\n".join(dictionary.symbols).encode()).hexdigest()


def check_dictionaries(args, task) -> None:
    """Refuse a model whose configuration *args* names other dictionaries than those of *task*.

    Raises:
        LayerdropError: the symbols, or their order, differ.
    """
    for option, name in FINGERPRINTS.items():
        expected, dictionary = safe_getattr(args, option), getattr(task, name, None)
        if expected and isinstance(dictionary, Dictionary) and expected != dictionary_sha256(dictionary):
            side = "" if option == "dictionary_sha256" else " on the target side"
            raise LayerdropError(
                f"the model was trained with another dictionary than the data's ({len(dictionary)} types, other"
                f" symbols{side}): binarise the data with the model's own (fairseq-preprocess --srcdict, --tgtdict)"
            )


def remember_dictionaries(args, task, options=tuple(FINGERPRINTS)) -> None:
    """Note in *args* the fingerprints of the dictionaries of *task* (checked by ``patch_dictionary_check``)."""
    for option in options:
        dictionary = getattr(task, FINGERPRINTS[option], None)
        if isinstance(dictionary, Dictionary):
            setattr(args, option, dictionary_sha256(dictionary))
