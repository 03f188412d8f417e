"""The special tokens of a tokenizer, and the names that fairseq's dictionaries have for them."""

import json
from collections.abc import Mapping
from pathlib import Path

from ..errors import LayerdropError

SPECIAL_TOKENS = "special_tokens_map.json"  # Hugging Face's name for the file that says them
# fairseq's symbols -> what a Hugging Face folder calls the token. The first four are the first rows of a dictionary.
ROLES = {"<s>": "cls_token", "<pad>": "pad_token", "</s>": "sep_token", "<unk>": "unk_token", "<mask>": "mask_token"}
MASK = "<mask>"
# What they are where the folder does not say: the first of these that the tokenizer has.
_USUAL = {
    "<s>": ("[CLS]", "<s>"),
    "<pad>": ("[PAD]", "<pad>"),
    "</s>": ("[SEP]", "</s>"),
    "<unk>": ("[UNK]", "<unk>"),
    "<mask>": ("[MASK]", "<mask>"),
}


def special_tokens(folder: Path, vocabulary: Mapping[str, int]) -> dict[str, str]:
    """fairseq's symbol -> the token that a tokenizer with this *vocabulary* (token -> id) has in its place.

    Only ``<mask>`` may be missing.

    Raises:
        LayerdropError: another one is missing, or one token has two of the places.
    """
    said = _said(folder)
    found = {}
    for symbol, role in ROLES.items():
        candidates = (said[role],) if role in said else _USUAL[symbol]
        token = next((token for token in candidates if token in vocabulary), None)
        if token is not None:
            found[symbol] = token
        elif symbol != MASK:
            raise LayerdropError(
                f"the tokenizer of {folder} has no {role} ({' or '.join(candidates)}), which fairseq's {symbol} needs"
            )
    if len(set(found.values())) < len(found):
        raise LayerdropError(f"the tokenizer of {folder} has one token for two of {', '.join(ROLES.values())}: {found}")
    return found


def write_special_tokens(folder: Path, special: Mapping[str, str]) -> None:
    """Write the file that :func:`special_tokens` reads."""
    text = json.dumps({ROLES[symbol]: token for symbol, token in special.items()}, ensure_ascii=False, indent=2)
    (folder / SPECIAL_TOKENS).write_text(text + "\n", encoding="utf-8")


def _said(folder: Path) -> dict[str, str]:
    """Role -> token, of the files of *folder* that say it."""
    paths = [folder / name for name in ("tokenizer_config.json", SPECIAL_TOKENS)]
    said = {}
    for path in filter(Path.is_file, paths):
        said |= {role: token for role, token in read_json(path).items() if role in ROLES.values() and token}
    return {role: token.get("content") if isinstance(token, dict) else token for role, token in said.items()}


def read_json(path: Path) -> dict:
    """The JSON object in the file *path*.

    Raises:
        LayerdropError: it holds something else, or cannot be read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LayerdropError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(found, dict):
        raise LayerdropError(f"{path} does not hold a JSON object")
    return found
