"""Looks up references from one option of a configuration to another, such as ``${optimization.sentence_avg}``.

fairseq 0.10 saved them as they are. omegaconf would look up other things as well, such as environment variables; here
nothing but the configuration itself is read.
"""

import re
from typing import Any

_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}")
_LONGEST_CHAIN = 10
MISSING = "???"  # omegaconf's mark of an option without a value: an error where it is used


def resolve(cfg: Any) -> None:
    """Replace the references in the groups of *cfg* by the options that they name, in place.

    A reference to no single value becomes ``???``. Other texts with ``${`` stay as they are.
    """
    for group in cfg.values() if isinstance(cfg, dict) else ():
        for name, value in group.items() if isinstance(group, dict) else ():
            if isinstance(value, str) and _REFERENCE.fullmatch(value):
                group[name] = _looked_up(cfg, value)


def _looked_up(cfg: dict, value: Any) -> Any:
    for _ in range(_LONGEST_CHAIN):
        reference = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if not reference:
            break
        value = cfg
        for name in reference[1].split("."):
            options = value if isinstance(value, dict) else getattr(value, "__dict__", {})
            value = options.get(name, MISSING)
    plain = value is None or isinstance(value, (bool, int, float, str))
    return value if plain and not (isinstance(value, str) and "${" in value) else MISSING
