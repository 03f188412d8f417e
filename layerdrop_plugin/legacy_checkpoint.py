"""Check that files of ``torch.save`` before PyTorch 1.6 (2020) are complete, without reading the weights.

Such a file begins with pickles: a magic number, a protocol version, a description of the machine, the saved object, and
the keys of its storages. Then follow the storages in the order of these keys, each with its number of elements (8
bytes) and the elements. The lengths of the storages are in the pickle of the saved object. Source:
torch/serialization.py, ``_legacy_save``.
"""

import os
import pickle
import tarfile

# Copies of values in torch/serialization.py and torch/storage.py, which take seconds to import.
MAGIC_NUMBER = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
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


def is_whole(path: str | os.PathLike) -> bool:
    """Whether *path* is a complete file of this format. Reads no weights and executes no code in the file."""
    try:
        with open(path, "rb") as file:
            if file.read(len(MAGIC_NUMBER)) != MAGIC_NUMBER:
                return False
            for _ in ("protocol version", "machine"):
                _Reader(file).load()
            reader = _Reader(file)
            reader.load()
            keys = _Reader(file).load()
            return os.fstat(file.fileno()).st_size >= file.tell() + sum(8 + reader.bytes_of[key] for key in keys)
    except Exception:  # truncated or damaged pickles raise many types of errors
        return False


def is_tar(path: str | os.PathLike) -> bool:
    """Whether *path* has the older format (until 2017), a tar archive with a member ``storages``."""
    try:
        with tarfile.open(path, "r:") as archive:
            return "storages" in archive.getnames()
    except (OSError, tarfile.TarError):
        return False


class _Inert:
    """Replaces every class and function that a pickle names; calling it with any arguments has no effect."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def extend(self, items):
        pass


class _Reader(pickle.Unpickler):
    """Reads a pickle without importing the classes that it names.

    Attributes:
        bytes_of: key -> length in bytes of each storage that the pickle refers to.
    """

    def __init__(self, file):
        super().__init__(file, encoding="utf-8", errors="replace")  # strings of Python 2
        self.bytes_of: dict = {}

    def find_class(self, module, name):
        """Return the number of bytes of an element for torch's storage classes, :class:`_Inert` for all others."""
        return BYTES_PER_ELEMENT.get(name, _Inert)

    def persistent_load(self, saved):
        """Store the length of a storage, ``("storage", type, key, device, number of elements, view)``.

        *saved* may also describe the source of a class, which is ignored.
        """
        if saved[0] == "storage":
            _, itemsize, key, _, elements, _ = saved
            self.bytes_of[key] = itemsize * elements
        return _Inert
