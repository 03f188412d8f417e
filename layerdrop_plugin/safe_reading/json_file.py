"""Read JSON files with limits on length and depth and without duplicate keys."""

import json
import os
import stat
from pathlib import Path
from typing import Any

from ..errors import LayerdropError

LONGEST = 1 << 28  # bytes
_DEEPEST = 50


def read_json(path: str | os.PathLike, what: str) -> Any:
    """Return the contents of the JSON file *path*.

    Args:
        path: path of the file.
        what: what error messages call the file, such as ``the plan``.

    Raises:
        LayerdropError: the file cannot be read, is too long, too deep or not JSON, or an object has a duplicate key.
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
    """Parse the JSON *text*.

    Raises:
        ValueError: *text* is not JSON, is nested too deep, or an object has a duplicate key.
        RecursionError: *text* is nested so deep that Python's parser gives up.
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
        raise ValueError(f"an object has the key {twice[:40]!r} twice")
    return found
