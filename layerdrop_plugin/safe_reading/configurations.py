"""Builds plain values of the objects that older versions of fairseq pickled beside the weights.

fairseq 0.10 saved its configuration as omegaconf's objects; versions before 0.9 saved their meters. The classes below
replace these types while a file is loaded: they keep the values that they are given and do nothing else. Afterwards
:func:`made` converts them to plain values. Importing this module imports neither omegaconf nor fairseq.
"""

import _compat_pickle
import pickle
import re
from typing import Any

_NAMES = re.compile(
    r"(?P<container>omegaconf\.(dictconfig\.DictConfig|listconfig\.ListConfig))|(?P<node>omegaconf\.nodes\.\w+)"
    r"|(?P<meter>fairseq\.(logging\.)?meters\.\w+)"
    r"|(?P<beside>omegaconf\.base\.\w+|typing\.\w+|collections\.defaultdict|operator\.getitem|fairseq(\.\w+)+"
    r"|builtins\.(bool|dict|float|int|list|object|str|tuple|type))"
)
_MOST_NAMES = 1000


class Replaced:
    """Replaces a class or function of which no value is kept: omegaconf's metadata and the types that it names.

    Attributes:
        name: its name, with its module's.
    """

    name = ""

    def __new__(cls, *args: Any) -> Any:
        """Accept any arguments, which are not used."""
        return super().__new__(cls)

    def __init__(self, *args: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _Held(Replaced):
    """Replaces a class whose state holds its value."""

    key = ""
    value: Any = ...

    def __setstate__(self, state: dict) -> None:
        self.value = state[self.key]


class _Container(_Held):
    key = "_content"


class _Node(_Held):
    key = "_val"


class _Meter(_Held):
    def __setstate__(self, state: dict) -> None:
        self.value = dict(state)


_BY_GROUP = {"container": _Container, "node": _Node, "meter": _Meter, "beside": Replaced}


def is_replaced(module: str, name: str) -> bool:
    """Whether *module*.*name* is one of the types that are replaced."""
    return _NAMES.fullmatch(full_name(module, name)) is not None


def full_name(module: str, name: str) -> str:
    """The name by which torch's loader knows *module*.*name*, which may be that of Python 2."""
    module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
    return f"{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}"


def stand_ins(names: set[str]) -> list[tuple[type, str]]:
    """The types that replace those called *names* (of :func:`full_name`), in torch's form for an allow-list.

    Raises:
        ValueError: more names than any checkpoint has.
    """
    if len(names) > _MOST_NAMES:
        raise ValueError(f"it names {len(names):,} classes")
    found = []
    for name in sorted(names):
        kind = _BY_GROUP[_NAMES.fullmatch(name).lastgroup]
        found.append((type(kind.__name__, (kind,), {"name": name}), name))
    return found


def made(value: Any) -> Any:
    """Convert *value* to a plain one if it is of one of the types above; other values are returned as they are.

    Raises:
        pickle.UnpicklingError: *value* is an object of a type of which no value is kept.
    """
    if isinstance(value, _Held):
        value = value.value
    if isinstance(value, Replaced) or (isinstance(value, type) and issubclass(value, Replaced)):
        raise pickle.UnpicklingError(f"Unsupported class {value.name}")
    return value
