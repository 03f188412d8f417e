"""Write files completely or not at all, and replace only regular files."""

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

    If *path* is a symbolic link, the file that it points to is replaced. Temporary files that killed processes left for
    the same *path* are removed.

    Raises:
        LayerdropError: *path* is not a regular file, its folder does not exist or is not writable, or the disk is full.
    """
    target = _target(path)
    handle, temporary = _temporary(target, path)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's files are private
        os.replace(temporary, target)
    except (OSError, RuntimeError) as error:
        # torch.save hides a full disk behind a RuntimeError of its archive writer
        raise LayerdropError(f"cannot write {path}: {_reason(error, path)}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.close(handle)


def check_target(path: str | os.PathLike) -> None:
    """Raise LayerdropError unless *path* can be written. Called before long work whose result goes there."""
    handle, temporary = _temporary(_target(path), path)
    os.unlink(temporary)
    os.close(handle)


def write_text_atomic(path: str | os.PathLike, text: str) -> None:
    """Write *text* (UTF-8) to *path*, completely or not at all."""
    with atomic_path(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


def write(state: dict, path: str | os.PathLike) -> None:
    """Save *state* (tensors and plain containers) as *path*: whole or not at all.

    Raises:
        LayerdropError: as :func:`atomic_path`.
    """
    with atomic_path(path) as temporary:
        _save(state, temporary)


def _save(state: dict, path: str) -> None:
    import torch

    torch.save(state, path)


def write_with_files(state: dict, path: str | os.PathLike, files: dict[str, bytes]) -> None:
    """Save *state* as *path*, and beside it *files* (name, perhaps in a subfolder -> contents): all of them or none.

    Raises:
        LayerdropError: as :func:`atomic_path`, or one of the files is there already with other contents.
    """
    folder = Path(path).parent
    new = {name: contents for name, contents in files.items() if not _has(folder / name, contents)}
    folders = [folder / name for name in {Path(name).parent for name in new} if not (folder / name).exists()]
    made = [place for place in folders if folder.is_dir()]
    try:
        for place in made:
            place.mkdir()
        with contextlib.ExitStack() as opened:  # the checkpoint is renamed last
            temporary = opened.enter_context(atomic_path(path))
            for name, contents in new.items():
                Path(opened.enter_context(atomic_path(folder / name))).write_bytes(contents)
            _save(state, temporary)
    finally:
        for place in made:
            with contextlib.suppress(OSError):  # it is not empty: all went well
                place.rmdir()


def _has(path: Path, contents: bytes) -> bool:
    """Whether *path* is a file with these *contents*; LayerdropError if it is another one."""
    if not os.path.lexists(path):
        return False
    if path.is_file() and path.read_bytes() == contents:
        return True
    raise LayerdropError(f"{path} is there already, and is not what would be written: write into another folder")


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
    """The file that writing to *path* replaces, links resolved."""
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


def _temporary(target: Path, path: str | os.PathLike) -> tuple[int, str]:
    """Create a locked file beside *target*, which *path* leads to; return its descriptor and name.

    The lock shows that its writer is alive.
    """
    _remove_stale(target)
    try:
        while True:
            handle, name = tempfile.mkstemp(prefix=f".{target.name[:200]}.", suffix=".tmp", dir=target.parent)
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(name):
                return handle, name
            os.close(handle)  # another writer took it for a stale one before it was locked
    except (OSError, ValueError) as error:
        raise LayerdropError(f"cannot write {path}: {_reason(error, path)}") from None


def _remove_stale(path: Path) -> None:
    """Remove temporary files for *path* whose writers have ended."""
    begins = f".{path.name[:200]}."
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            middle = name[len(begins) : -len(".tmp")]
            if not (name.startswith(begins) and name.endswith(".tmp") and len(middle) == 8 and "." not in middle):
                continue
            with contextlib.suppress(OSError), open(path.parent / name, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path.parent / name)


def _reason(error: Exception, path: str | os.PathLike) -> str:
    folder = Path(path).parent
    if not folder.is_dir():
        return f"the folder {folder} does not exist, make it first"
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    if full or (isinstance(error, RuntimeError) and shutil.disk_usage(folder).free < 1 << 24):
        return "no space left on the device, nothing was kept"
    return (str(getattr(error, "strerror", None) or error).splitlines() or [type(error).__name__])[0]
