"""Checks the archive that ``torch.save`` writes: its directory, its sizes, and its checksums, which torch ignores."""

import contextlib
import io
import mmap
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from .pickled import Reader

_ENTRY = re.compile(
    r"(?P<top>[^/]+)/(?P<name>data\.pkl|version|byteorder|\.format_version|\.storage_alignment|\.data/serialization_id"
    r"|data/[0-9]+)"
)
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_END = b"PK\5\6"
_END_LENGTH = 22
_CHUNK = 1 << 22


class Damaged(Exception):
    """The archive is not as ``torch.save`` writes it; the message says where, without the file's name."""


def is_archive(path: str | os.PathLike) -> bool:
    """Whether *path* begins like an archive, which is how torch tells it from the format before 2020."""
    with open(path, "rb") as file:
        return file.read(4) == b"PK\3\4"


def entries(path: str | os.PathLike) -> list[zipfile.ZipInfo]:
    """Return the entries of the archive *path*.

    Raises:
        Damaged: the directory is not like ``torch.save``'s, or the sizes do not add up.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        file.seek(max(0, size - _END_LENGTH))
        if not file.read(4) == _END:
            raise Damaged("it does not end as an archive does")
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, struct.error, NotImplementedError, UnicodeError) as error:
        raise Damaged(f"its directory cannot be read ({error})") from None
    matches = [_ENTRY.fullmatch(entry.filename) for entry in found]
    for entry, match in zip(found, matches, strict=True):
        if not match:
            raise Damaged(f"its entry {entry.filename[:80]!r} is none of torch.save's")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size or entry.flag_bits & 1:
            raise Damaged(f"its entry {entry.filename!r} is compressed or encrypted, which torch.save's are not")
    if len({match["top"] for match in matches}) > 1 or len({match["name"] for match in matches}) < len(matches):
        raise Damaged("its entries are not those of one torch.save")
    if not any(match["name"] == "data.pkl" for match in matches):
        raise Damaged("it has no entry data.pkl")
    if sum(entry.file_size for entry in found) > size:
        raise Damaged("the sizes of its entries do not add up")
    return found


class Archive:
    """An open archive with a valid directory.

    Raises:
        Damaged: the directory is invalid, or an entry is not where the directory says.
    """

    def __init__(self, path: str | os.PathLike):
        self.entries = entries(path)
        with open(path, "rb") as file:
            self._bytes = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self._places = self._locate()

    def check_storages(self, allowed: Callable[[str, str], bool] | None = None) -> set[str]:
        """Compare the storages and tensors in the pickle with the entries.

        Args:
            allowed: as :class:`Reader`'s.

        Returns:
            As :attr:`Reader.replaced`.

        Raises:
            Damaged: they differ.
            Exception: as :meth:`Reader.load`.
        """
        sizes = {entry.filename.partition("/")[2]: entry.file_size for entry in self.entries}
        if sizes["data.pkl"] > 1 << 28:
            raise Damaged("its pickle is longer than 256 MiB")
        reader = Reader(io.BytesIO(self._content("data.pkl")), allowed)
        reader.load()
        for key, length in reader.bytes_of.items():
            if sizes.get(f"data/{key}") != length:
                raise Damaged(f"its entry 'data/{key[:80]}' is not the {length} bytes long that its pickle says")
        order = self._content("byteorder") if "byteorder" in sizes else b"little"
        if order not in (b"little", b"big"):
            raise Damaged("its entry 'byteorder' says neither little nor big")
        return reader.replaced

    @contextlib.contextmanager
    def comparing_checksums(self) -> Iterator[None]:
        """Compare the checksums in other threads while the block runs.

        ``torch.serialization.set_crc32_options(False)`` leaves them out: then all are 0, and nothing is compared.

        Raises:
            Damaged: at the end of the block, also in place of an error in it: a checksum differs.
        """
        entries = self.entries if any(entry.CRC for entry in self.entries) else []
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            futures = [pool.submit(self._check, entry) for entry in entries]
            try:
                yield
            finally:
                wait(futures)  # nothing may read the mapped file once its owner can change it
                for future in futures:
                    future.result()

    def _check(self, entry: zipfile.ZipInfo) -> None:
        start, found = self._places[entry.filename], 0
        for begin in range(start, start + entry.file_size, _CHUNK):
            found = zlib.crc32(self._bytes[begin : min(begin + _CHUNK, start + entry.file_size)], found)
        if found != entry.CRC:
            raise Damaged(f"its entry {entry.filename!r} has another checksum than when it was written")

    def _content(self, name: str) -> bytes:
        entry = next(entry for entry in self.entries if entry.filename.partition("/")[2] == name)
        start = self._places[entry.filename]
        return bytes(self._bytes[start : start + entry.file_size])

    def _locate(self) -> dict[str, int]:
        """Return the offset at which the contents of each entry begin."""
        places, before = {}, 0
        for entry in sorted(self.entries, key=lambda entry: entry.header_offset):
            header = self._bytes[entry.header_offset : entry.header_offset + _LOCAL_HEADER.size]
            if entry.header_offset < before or len(header) < _LOCAL_HEADER.size or header[:4] != b"PK\3\4":
                raise Damaged(f"its entry {entry.filename!r} is not where its directory says")
            *_, name, extra = _LOCAL_HEADER.unpack(header)
            begin = entry.header_offset + _LOCAL_HEADER.size
            if bytes(self._bytes[begin : begin + name]) != entry.filename.encode():
                raise Damaged(f"its entry {entry.filename!r} is not where its directory says")
            places[entry.filename] = begin + name + extra
            before = begin + name + extra + entry.file_size
            if before > len(self._bytes):
                raise Damaged(f"its entry {entry.filename!r} is cut short")
        return places


def check(path: str | os.PathLike) -> None:
    """Check directory, sizes and checksums of the archive *path*, whatever classes it names.

    Raises:
        Damaged: one of them is wrong.
    """
    archive = Archive(Path(path))
    with archive.comparing_checksums():
        pass
    archive.check_storages(lambda module, name: True)
