"""Reads the structure of a pickle without creating the objects in it, and checks what torch would be told to create.

torch's own loader trusts the sizes, strides and arguments in the file; here they are compared with the storages in the
file. Importing this module imports neither torch nor numpy.
"""

import pickle
from collections.abc import Callable
from typing import Any, BinaryIO

# A copy of values in torch/storage.py, which takes seconds to import.
BYTES_PER_ELEMENT = {
    "BoolStorage": 1,
    "ByteStorage": 1,
    "CharStorage": 1,
    "ShortStorage": 2,
    "IntStorage": 4,
    "LongStorage": 8,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "FloatStorage": 4,
    "DoubleStorage": 8,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QInt32Storage": 4,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
}
NUMPY_NAMES = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
}
_DATA = {
    ("argparse", "Namespace"),
    ("collections", "OrderedDict"),
    ("collections", "Counter"),
    ("torch", "Size"),
    ("torch", "device"),
    *(("torch", f"{kind}{bits}") for kind in ("float", "int", "uint") for bits in (8, 16, 32, 64)),
    *(("torch", name) for name in ("bfloat16", "bool", "complex64", "complex128")),
    *((module, name) for module in ("builtins", "__builtin__") for name in ("set", "complex")),
}
# The opcodes that torch's loader knows: protocol 2 and older.
_OPCODES = (
    *("PROTO", "STOP", "GLOBAL", "NEWOBJ", "REDUCE", "BUILD", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "MARK"),
    *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET", "NONE"),
    *("NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "LONG1"),
    *("BINPERSID", "BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT"),
)


class Inert:
    """Replaces every class and function that a pickle names; calling it with any arguments has no effect."""

    def __init__(self, *args, **kwargs):
        pass

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def __hash__(self):
        return id(self)

    def extend(self, items: Any) -> None:
        """Called by the unpickler in place of ``list.extend``."""


class Storage(Inert):
    """A storage that the pickle refers to: its key and number of elements."""

    def __init__(self, key: str, elements: int):
        self.key, self.elements = key, elements


class Reader(pickle._Unpickler):  # in Python: C's allocates a memo of whatever length the file says
    """Reads one pickle.

    Attributes:
        bytes_of: key -> length in bytes of each storage that the pickle refers to.
        itemsize_of: key -> length in bytes of each of its elements.
    """

    dispatch = {getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]] for name in _OPCODES}

    def __init__(self, file: BinaryIO, allowed: Callable[[str, str], bool] | None = None):
        super().__init__(file, encoding="utf-8", errors="replace")  # strings of Python 2
        self.bytes_of: dict[str, int] = {}
        self.itemsize_of: dict[str, int] = {}
        self._allowed = allowed

    def load(self) -> Any:
        """Return the pickle's structure, with :class:`Inert` in place of objects.

        Raises:
            pickle.UnpicklingError: a class that is not plain data; its text is torch's.
            Exception: any type, raised by Python for a damaged pickle.
        """
        try:
            return super().load()
        except KeyError as error:
            raise ValueError(f"a byte or reference {error} that no pickle of torch.save has") from None

    def find_class(self, module: str, name: str) -> Any:
        """Return what replaces *module*.*name*."""
        if module == "torch" and name in BYTES_PER_ELEMENT:
            return BYTES_PER_ELEMENT[name]
        if (module, name) in _CHECKED:
            return _CHECKED[module, name]
        if (module, name) in _DATA | NUMPY_NAMES or (self._allowed and self._allowed(module, name)):
            return Inert
        raise pickle.UnpicklingError(f"Unsupported global: GLOBAL {module}.{name}")

    def persistent_load(self, saved: tuple) -> Any:
        """A storage: ``("storage", type, key, device, elements)``, in older files with a view behind it."""
        if saved[0] != "storage":
            return Inert
        _, itemsize, key, _, elements, *_ = saved
        if not isinstance(key, str) or not isinstance(itemsize, int) or not _is_size(elements):
            raise ValueError("a storage without key, type or size")
        size = itemsize * elements
        if self.bytes_of.setdefault(key, size) != size:
            raise ValueError(f"storage {key} has two sizes")
        self.itemsize_of[key] = itemsize
        return Storage(key, elements)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *others: Any) -> Inert:
    """Raise ValueError unless the tensor lies within its storage."""
    numbers = [offset, *size, *stride]
    if not isinstance(storage, Storage) or not all(map(_is_size, numbers)) or len(size) != len(stride):
        raise ValueError("a tensor of no size")
    elements = 1
    for length in size:
        elements *= length
    end = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) + 1 if elements else 0
    if end > storage.elements or elements > storage.elements:
        raise ValueError(f"a tensor of {elements} elements in a storage of {storage.elements}")
    return Inert()


def _parameter(data: Any, *others: Any) -> Inert:
    return Inert()


def _encode(text: Any, codec: Any) -> bytes:
    """Decode bytes, which protocol 2 writes as latin-1 text; other codecs can take very long and are refused."""
    if codec not in ("latin1", "latin-1"):
        raise ValueError(f"bytes encoded as {str(codec)[:20]!r}")
    return text.encode("latin1")


_CHECKED = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("_codecs", "encode"): _encode,
}
