"""Check that files of ``torch.save`` before PyTorch 1.6 (2020) are complete, without reading the weights.

Such a file begins with pickles: a magic number, a protocol version, a description of the machine, the saved object, and
the keys of its storages. Then follow the storages in the order of these keys, each with its number of elements (8
bytes) and the elements. The lengths of the storages are in the pickle of the saved object. Source:
torch/serialization.py, ``_legacy_save``.
"""

import os
import pickle
import tarfile
from collections.abc import Callable

from .pickled import Reader

# Copies of values in torch/serialization.py, which takes seconds to import.
MAGIC_NUMBER = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)


def check(path: str | os.PathLike, allowed: Callable[[str, str], bool] | None = None) -> set[str]:
    """Raise an error unless *path* is a complete file of this format; reads no weights, executes no code in the file.

    Args:
        path: path of the file.
        allowed: called with module and name of each class that is not plain data; returns whether it may be in the
            file. By default none may.

    Returns:
        As :attr:`Reader.replaced`.

    Raises:
        Exception: as :meth:`Reader.load`, or the file ends too early.
    """
    with open(path, "rb") as file:
        if file.read(len(MAGIC_NUMBER)) != MAGIC_NUMBER:
            raise ValueError("no magic number")
        for _ in ("protocol version", "machine"):
            Reader(file).load()
        reader = Reader(file, allowed)
        reader.load()
        keys = Reader(file).load()
        if not isinstance(keys, list) or sorted(keys) != sorted(reader.bytes_of):
            raise ValueError("other storages than its pickle says")
        begin = file.tell()
        for key in keys:
            file.seek(begin)
            elements = int.from_bytes(file.read(8), "little")
            if reader.bytes_of[key] != elements * reader.itemsize_of[key]:
                raise ValueError(f"storage {key} is not as long as its pickle says")
            begin += 8 + reader.bytes_of[key]
        if os.fstat(file.fileno()).st_size < begin:
            raise ValueError("it ends too early")
    return reader.replaced


def is_whole(path: str | os.PathLike) -> bool:
    """Whether *path* is a complete file of this format (:func:`check`), whatever classes it names."""
    try:
        check(path, lambda module, name: True)
    except Exception:  # truncated or damaged pickles raise many types of errors
        return False
    return True


def is_tar(path: str | os.PathLike) -> bool:
    """Whether *path* has the older format (until 2017), a tar archive with a member ``storages``."""
    try:
        with tarfile.open(path, "r:") as archive:
            return "storages" in archive.getnames()
    except (OSError, tarfile.TarError):
        return False
