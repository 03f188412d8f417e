"""Checks of a loaded checkpoint: limited containers of plain values, options without interpolation, usable weights."""

import argparse
import collections
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import LayerdropError
from . import configurations, numpy_values

_DEEPEST = 40
_MOST_VALUES = 1 << 22  # in a whole checkpoint, each counted as often as it can be reached
_MOST_OPTIONS = 40_000  # in its configuration
_LONGEST = 1 << 20  # characters of an option
_NOT_READ = "_float_tensor"  # end of the names of fairseq's buffers that tell a device: they are never initialised
_MOST_SHARED = 8  # times the file's size: what different views of the same memory may be together
_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.Size, torch.device, torch.dtype)


class _Plain:
    """Makes values plain, in place where they are containers; a container that is reached twice is visited once."""

    def __init__(self):
        self.seen: dict[int, tuple[Any, Any, int]] = {}  # address -> container (which keeps it), plain value, its count

    def value(self, value: Any, depth: int = 0) -> tuple[Any, int]:
        """Return the plain form of *value* and the number of values in it.

        Raises:
            ValueError: too many values, nested too deep, a cycle, or a value that is not plain.
            pickle.UnpicklingError: as :func:`configurations.made`.
        """
        value = configurations.made(numpy_values.made(value))
        if type(value) in _PLAIN or isinstance(value, (np.generic, np.ndarray, np.dtype, Tensor)):
            return value, 1
        if depth > _DEEPEST:
            raise ValueError(f"it is nested deeper than {_DEEPEST} levels, or contains itself")
        if id(value) not in self.seen:
            made, count = self._container(value, depth + 1)
            if count >= _MOST_VALUES:
                raise ValueError(f"it has more than {_MOST_VALUES:,} values")
            self.seen[id(value)] = value, made, count + 1
        return self.seen[id(value)][1:]

    def _container(self, value: Any, depth: int) -> tuple[Any, int]:
        """Return the plain form of a container and the number of values in it."""
        if isinstance(value, argparse.Namespace):
            return value, self._replace(vars(value), list(vars(value).items()), depth)
        if type(value) in (dict, collections.OrderedDict, collections.Counter):
            if not all(isinstance(key, (str, int, float, tuple, type(None))) for key in value):
                raise ValueError("a key that is no plain value")
            if set(getattr(value, "__dict__", ())) - {"_metadata"}:
                raise ValueError("a dictionary with attributes of its own")
            return value, self._replace(value, list(value.items()), depth)
        if type(value) is list:
            return value, self._replace(value, list(enumerate(value)), depth)
        if type(value) in (tuple, set):
            items = [self.value(item, depth) for item in value]
            return type(value)(made for made, _ in items), sum(count for _, count in items)
        raise ValueError(f"a {type(value).__name__} among its values")

    def _replace(self, container: Any, items: list, depth: int) -> int:
        """Make the *items* of *container* plain; return their count."""
        total = 0
        for key, item in items:
            made, count = self.value(item, depth)
            if made is not item:
                container[key] = made
            total += count
        return total


def make_plain(state: Any) -> Any:
    """Convert numpy's values in *state* to its own types, and older fairseq's to plain ones, in place; return it.

    Raises:
        ValueError: *state* has values that are not plain, too many values, or is nested too deep.
        pickle.UnpicklingError: as :func:`configurations.made`.
    """
    return _Plain().value(state)[0]


def check_options(options: Any, name: str) -> None:
    """Raise LayerdropError unless *options*, called *name*, are plain values, few enough and without interpolation."""
    counted = [0]

    def check(value: Any, where: str, depth: int) -> None:
        counted[0] += 1
        if counted[0] > _MOST_OPTIONS or depth > _DEEPEST // 2:
            raise LayerdropError(f"its {name} is too large: it has more than {_MOST_OPTIONS:,} options, or deeper ones")
        if isinstance(value, argparse.Namespace):
            value = vars(value)
        if isinstance(value, dict):
            for key, item in value.items():
                if not isinstance(key, str) or not key or len(key) > 500:
                    raise LayerdropError(f"its {where} has an option called {str(key)[:40]!r}, which is no name")
                check(item, f"{where}.{key}", depth + 1)
        elif isinstance(value, (list, tuple)):
            for item in value:
                check(item, where, depth + 1)
        elif isinstance(value, str):
            _check_text(value, where)
        elif not (value is None or isinstance(value, (bool, int, float, np.generic))):
            raise LayerdropError(f"its option {where} is a {type(value).__name__}, which no option is")
        if type(value) is int and abs(value) >= 1 << 63:
            raise LayerdropError(f"its option {where} is a number beyond 64 bits")

    check(options, name, 0)


def _check_text(text: str, where: str) -> None:
    if len(text) > _LONGEST:
        raise LayerdropError(f"its option {where} is longer than {_LONGEST:,} characters")
    if "${" in text:
        raise LayerdropError(
            f"its option {where} is {text[:60]!r}: what stands behind ${{ would be looked up on this machine"
        )
    if "\0" in text or not _is_utf8(text):
        raise LayerdropError(f"its option {where} is no text")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_weights(weights: Any, size: int) -> None:
    """Raise LayerdropError unless *weights* are dense, finite tensors by name.

    Args:
        size: bytes of their file.
    """
    if not isinstance(weights, dict):
        raise LayerdropError("its 'model' is no map from names to weights")
    different = {}  # of several names for one (tied) weight the first
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise LayerdropError(f"its weight {str(name)[:80]!r} is no tensor with a name")
        kind = _unusable(value)
        if kind:
            raise LayerdropError(f"its weight {name[:80]} is {kind}, which cannot be loaded: train or save it again")
        different.setdefault((value.data_ptr(), value.dtype, value.shape, value.stride()), (name, value))
    total = sum(value.nbytes for _, value in different.values())
    if total > _MOST_SHARED * size + (1 << 24):
        raise LayerdropError(f"its weights share their memory: they would be {total:,} bytes of a file of {size:,}")
    for name, value in different.values():
        if value.is_floating_point() and not name.endswith(_NOT_READ) and not is_finite(value):
            raise LayerdropError(f"its weight {name[:80]} has values that are not finite: train or copy it again")


def _unusable(value: Tensor) -> str | None:
    if value.is_meta:
        return "a meta tensor without values"
    if value.is_quantized or "float8" in str(value.dtype):
        return f"quantised ({value.dtype})"
    if value.layout != torch.strided:
        return f"no dense tensor ({value.layout})"
    return f"complex ({value.dtype})" if value.is_complex() else None


def is_finite(value: Tensor) -> bool:
    """Whether all of *value* is finite. One pass over the memory where it is."""
    total = value.sum(dtype=torch.float64 if value.dtype == torch.float64 else torch.float32)
    return math.isfinite(total.item()) or bool(value.isfinite().all())
