"""Builds numpy arrays, dtypes and scalars in a checkpoint from checked arguments.

numpy's own functions trust their arguments: in an array of objects, bytes of the file become pointers. Those below
replace them while a file is loaded; afterwards :func:`made` converts their results to numpy's own types.
"""

import math
import re
from typing import Any

import numpy as np

_CODE = re.compile(r"(?:[biufc](?:1|2|4|8|16)|[SU][0-9]{1,6}|\?|b1)")
_MOST = 1 << 28  # bytes of an array beside the weights


class Dtype:
    """Replaces ``numpy.dtype``: numbers, booleans and strings only; the byte order comes with its state."""

    def __init__(self, code: Any = None, *flags: Any):
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            raise ValueError(f"a numpy dtype {str(code)[:20]!r}, which is no number, boolean or string")
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and 8 <= len(state) <= 9 else None
        if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise ValueError("a numpy dtype that is no plain number, boolean or string")
        if self.value.kind in "SU":
            if not (type(state[5]) is int and 0 <= state[5] <= _MOST):
                raise ValueError("a numpy string of no length")
            self.value = np.dtype((self.value.type, state[5] // (4 if self.value.kind == "U" else 1)))
        if order in "<>":
            self.value = self.value.newbyteorder(order)


class Array(np.ndarray):
    """Replaces ``numpy.ndarray``; :func:`reconstruct` creates it empty and ``__setstate__`` fills it."""

    def __new__(cls, *args: Any) -> "Array":
        """Raise ValueError: the direct constructor, with its memory, types and strides, occurs in no checkpoint."""
        raise ValueError("a numpy array that no checkpoint has")

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, content = state
        if not (isinstance(dtype, Dtype) and type(content) is bytes and type(shape) is tuple):
            raise ValueError("a numpy array that is none of plain numbers, booleans or strings")
        if len(shape) > 32 or not all(type(size) is int and 0 <= size <= _MOST for size in shape):
            raise ValueError("a numpy array of no shape")
        if math.prod(shape) * dtype.value.itemsize != len(content) or not dtype.value.itemsize:
            raise ValueError("a numpy array of another size than its content's")
        super().__setstate__((1, shape, dtype.value, bool(fortran), content))


def reconstruct(kind: Any, shape: Any, code: Any) -> Array:
    """Replaces ``numpy._core.multiarray._reconstruct``, with which every pickled array begins."""
    if kind is not Array:
        raise ValueError("an object of numpy's that is no array")
    return np.empty(0, np.int8).view(Array)


def scalar(dtype: Any, content: Any = None) -> np.generic:
    """Replaces ``numpy._core.multiarray.scalar``."""
    if not isinstance(dtype, Dtype) or not isinstance(content, bytes) or dtype.value.itemsize != len(content):
        raise ValueError("a numpy scalar that is no plain number, boolean or string")
    return np.frombuffer(content, dtype.value)[0]


def made(value: Any) -> Any:
    """Convert *value* to numpy's own type if it is one of the types above; other values are returned as they are."""
    if isinstance(value, Array):
        return value.view(np.ndarray)
    return value.value if isinstance(value, Dtype) else value


STAND_INS = [
    (Array, "numpy.ndarray"),
    (Dtype, "numpy.dtype"),
    *((reconstruct, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
