"""Fingerprints of the dictionaries that a model was trained with, saved in its configuration and checked on loading."""

from argparse import Namespace
from collections.abc import Iterable

from fairseq.data import Dictionary
from fairseq.tasks import FairseqTask
from fairseq.utils import safe_getattr
from omegaconf import DictConfig

from ..errors import LayerdropError
from ..pruning import vocabulary
from ..pruning.families import FAMILIES, OURS, Family, registered_model
from ..pruning.parent import Parent

MASK = "<mask>"
# Option that holds a fingerprint -> attribute of the task that is the dictionary.
FINGERPRINTS = {option: f"{side}_dictionary" for side, option in vocabulary.FINGERPRINTS.items()}


def dictionary_sha256(dictionary: Dictionary) -> str:
    """SHA-256 of the symbols of *dictionary*, in their order."""
    return vocabulary.symbols_sha256(dictionary.symbols)


def _fitting(dictionary: Dictionary, family: Family | None) -> dict[str, int]:
    """Fingerprints of the dictionaries, and their sizes, whose models of *family* load for data with *dictionary*."""
    found = {dictionary_sha256(dictionary): len(dictionary)}
    if family and family.sheds_mask and MASK not in dictionary:
        found[vocabulary.symbols_sha256([*dictionary.symbols, MASK])] = len(dictionary) + 1
    return found


def check_dictionaries(args: Namespace | DictConfig, task: FairseqTask) -> None:
    """Check that the fingerprints in a model's configuration *args* are those of the dictionaries of *task*.

    Raises:
        LayerdropError: the symbols or their order differ.
    """
    name = registered_model({option: safe_getattr(args, option) for option in ("_name", "arch")})
    family = FAMILIES.get(OURS.sub("", name))
    for option, name in FINGERPRINTS.items():
        expected, dictionary = safe_getattr(args, option), getattr(task, name, None)
        if expected and isinstance(dictionary, Dictionary) and expected not in _fitting(dictionary, family):
            side = "" if option == "dictionary_sha256" else " on the target side"
            raise LayerdropError(
                f"the model was trained with another dictionary than the data's ({len(dictionary)} types, other"
                f" symbols{side}): binarise the data with the model's own (fairseq-preprocess --srcdict, --tgtdict)"
            )


def check_vocabulary(parent: Parent, task: FairseqTask, who: str) -> None:
    """Check that a checkpoint's embeddings are those of the dictionaries of *task*.

    Args:
        parent: the checkpoint.
        who: what it is to the user, for the message.

    Raises:
        LayerdropError: it has other embeddings, or the symbols or their order differ.
    """
    for option, name in FINGERPRINTS.items():
        dictionary = getattr(task, name, None)
        if dictionary is None:
            continue
        expected, size = parent.options.get(option), parent.vocabulary_size(name.split("_")[0])
        fitting = _fitting(dictionary, parent.family)
        if size not in fitting.values() or (expected and fitting.get(expected) != size):
            raise LayerdropError(
                f"{who} was trained with another dictionary ({size} types) than the data's ({len(dictionary)} types):"
                " binarise the data with its own dict.txt (fairseq-preprocess --srcdict, --tgtdict)"
            )


def remember_dictionaries(
    args: Namespace | DictConfig, task: FairseqTask, options: Iterable[str] = tuple(FINGERPRINTS)
) -> None:
    """Store in *args* the fingerprints of the dictionaries of *task*, which ``patch_dictionary_check`` has checked."""
    for option in options:
        dictionary = getattr(task, FINGERPRINTS[option], None)
        if isinstance(dictionary, Dictionary):
            setattr(args, option, dictionary_sha256(dictionary))
