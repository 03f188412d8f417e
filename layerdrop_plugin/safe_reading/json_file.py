"""JSON files, with bounds: their length, their depth, and every name in an object once."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from ..errors import LayerdropError

LONGEST = 1 << 28  # bytes
_DEEPEST = 50


def read_json(path: str | os.PathLike, what: str) -> Any:
    """What the JSON file *path* holds; *what* is what to call it in an error, such as ``the plan``.

    Raises:
        LayerdropError: it cannot be read, is too long or too deep, is not JSON, or says something twice.
    """
    try:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode) and status.st_size > LONGEST:
            raise LayerdropError(f"{what} {path} is too long: {status.st_size:,} bytes")
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise LayerdropError(f"{what} {path} is a device, a pipe or a socket: name a file")
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise LayerdropError(f"cannot read {what} {path}: {error.strerror}") from None
    except UnicodeError as error:
        raise LayerdropError(f"{what} {path} is not JSON ({error})") from None
    except ValueError as error:
        raise LayerdropError(f"cannot read {what} {str(path)!r}: {error}") from None
    try:
        return parse(text)
    except (ValueError, RecursionError, OverflowError) as error:
        raise LayerdropError(f"{what} {path} is not JSON ({error})") from None


def parse(text: str) -> Any:
    """What the JSON *text* says.

    Raises:
        ValueError: it is not JSON, too deep, or says something twice.
        RecursionError: it is far too deep.
    """
    value = json.loads(text, object_pairs_hook=_once)
    stack = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, (dict, list)):
            if depth >= _DEEPEST:
                raise ValueError(f"it is nested deeper than {_DEEPEST} levels")
            inside = item.values() if isinstance(item, dict) else item
            stack += [(part, depth + 1) for part in inside if isinstance(part, (dict, list))]
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        seen = set()
        twice = next(name for name in names if name in seen or seen.add(name))
        raise ValueError(f"it says {twice[:40]!r} twice")
    return found
