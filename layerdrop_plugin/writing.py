"""Files are written whole or not at all, and only where a regular file is or may be."""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import LayerdropError


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[str]:
    """Yield a temporary file name beside *path*; on success it is synced and renamed to *path*, otherwise removed.

    A link is written through: the file that it leads to is replaced. What killed processes left of an earlier attempt
    is removed.

    Raises:
        LayerdropError: *path* is no regular file; the folder does not exist or may not be written; the disk is full.
    """
    path = _target(path)
    handle, temporary = _temporary(path)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's files are private
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        # torch.save hides a full disk behind a RuntimeError of its archive writer
        raise LayerdropError(f"cannot write {path}: {_reason(error, path.parent)}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.close(handle)


def check_target(path: str | os.PathLike) -> None:
    """Raise LayerdropError unless *path* can be written: to be asked before the work whose result goes there."""
    handle, temporary = _temporary(_target(path))
    os.unlink(temporary)
    os.close(handle)


def write_text_atomic(path: str | os.PathLike, text: str) -> None:
    """Save *text* (UTF-8) as *path*: whole or not at all."""
    with atomic_path(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


def refuse_same_file(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Raise LayerdropError if *source* and *target* are the same file, under whatever names."""
    try:
        same = os.path.realpath(source) == os.path.realpath(target)
        same = same or (os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target))
    except ValueError as error:
        raise LayerdropError(f"{source!r} or {target!r} is no path: {error}") from None
    if same:
        raise LayerdropError(f"{target} is the input itself, which is never changed: name another output file")


def _target(path: str | os.PathLike) -> Path:
    """The file that writing *path* replaces."""
    try:
        real = Path(os.path.realpath(path))
        mode = os.stat(real).st_mode if os.path.lexists(real) else stat.S_IFREG
    except (OSError, ValueError) as error:
        raise LayerdropError(f"cannot write {str(path)!r}: {error}") from None
    if stat.S_ISDIR(mode):
        raise LayerdropError(f"cannot write {path}: it is a folder, name a file")
    if not stat.S_ISREG(mode):
        raise LayerdropError(f"cannot write {path}: it is a device, a pipe or a socket, name a file")
    return real


def _temporary(path: Path) -> tuple[int, str]:
    """A new locked file beside *path*: its descriptor and its name. The lock tells others that its writer lives."""
    _remove_stale(path)
    try:
        while True:
            handle, name = tempfile.mkstemp(prefix=f".{path.name[:200]}.", suffix=".tmp", dir=path.parent)
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(name):
                return handle, name
            os.close(handle)  # another writer took it for a stale one before it was locked
    except (OSError, ValueError) as error:
        raise LayerdropError(f"cannot write {path}: {_reason(error, path.parent)}") from None


def _remove_stale(path: Path) -> None:
    """Remove the temporary files beside *path* whose writers are gone."""
    begins = f".{path.name[:200]}."
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            middle = name[len(begins) : -len(".tmp")]
            if not (name.startswith(begins) and name.endswith(".tmp") and len(middle) == 8 and "." not in middle):
                continue
            with contextlib.suppress(OSError), open(path.parent / name, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path.parent / name)


def _reason(error: Exception, folder: Path) -> str:
    if not folder.is_dir():
        return f"the folder {folder} does not exist, make it first"
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    if full or (isinstance(error, RuntimeError) and shutil.disk_usage(folder).free < 1 << 24):
        return "no space left on the device, nothing was kept"
    return (str(getattr(error, "strerror", None) or error).splitlines() or [type(error).__name__])[0]
