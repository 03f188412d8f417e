"""Folders that commands write: one that is made as a whole, and one that a process holds for a long time."""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import LayerdropError

_TRIES = 100  # each failure means that another process has just begun or ended
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def whole(out: str | os.PathLike) -> Iterator[Path]:
    """Yield a new folder beside *out* that is renamed to *out* when the block succeeds, and removed when it fails.

    Raises:
        LayerdropError: *out* is there already and not an empty folder, or the folder cannot be made.
    """
    out = Path(out)
    refuse_existing(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    except OSError as error:
        raise LayerdropError(f"cannot make the folder {out}: {error.strerror}") from None
    try:
        yield partial
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o777 & ~umask)  # mkdtemp's folders are private
        os.replace(partial, out)
    except OSError as error:
        raise LayerdropError(f"cannot write {out}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def refuse_existing(out: str | os.PathLike) -> None:
    """Raise LayerdropError if *out* is there and not an empty folder."""
    out = Path(out)
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        raise LayerdropError(f"{out} exists: choose another folder or delete it")


@contextlib.contextmanager
def held(out: str | os.PathLike, name: str) -> Iterator[None]:
    """Within this block no other process may hold *out* for the same *name*.

    The folder is made if needed, and removed again if the block leaves it empty. The lock is the kernel's (flock), so a
    killed process holds nothing. Its file, ``.NAME.lock``, is removed at the end; a killed process leaves it behind, as
    an empty file that the next one takes over.

    Args:
        out: the folder.
        name: of the files that are written there, without suffix; other names may be written at the same time.

    Raises:
        LayerdropError: another process holds it, or the folder cannot be made or written.
    """
    folder = Path(out)
    missing = [place for place in (folder, *folder.parents) if not os.path.exists(place)]
    try:
        with _locked(folder, name):
            yield
    finally:
        for place in missing:
            with contextlib.suppress(OSError):  # it is not empty
                place.rmdir()


@contextlib.contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    path = folder / f".{name}.lock"
    handle = _take(folder, name, path)
    try:
        yield
    finally:
        # Removed while it is still locked: who opened it before finds out (_is_at) and makes a new one.
        with contextlib.suppress(OSError):
            path.unlink()
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_UN)  # closing is not enough where a forked worker has the file open too
        os.close(handle)


def _take(folder: Path, name: str, path: Path) -> int:
    """The descriptor of the locked file *path* in *folder*."""
    for _ in range(_TRIES):
        _make(folder)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the folder was removed by another process, which left it empty
            continue
        except OSError as error:
            raise LayerdropError(f"cannot write into {folder}: {error.strerror}") from None
        try:
            _lock(handle, folder, name)
        except LayerdropError:
            os.close(handle)
            raise
        if _is_at(handle, path):
            return handle
        os.close(handle)
    raise LayerdropError(f"cannot make the folder {folder}: it is a link to nothing, or removed again and again")


def _make(folder: Path) -> None:
    """Make *folder* if it does not exist; that another process removes it just then is left to the next try."""
    try:
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISDIR(folder.stat().st_mode):
                raise LayerdropError(f"--out {folder} is a file: name a folder") from None
    except OSError as error:
        raise LayerdropError(f"cannot make the folder {folder}: {error.strerror}") from None


def _lock(handle: int, folder: Path, name: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LayerdropError(
            f"the folder {folder} is in use: another process is writing {name} into it; wait for its end or choose"
            " another --out"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise LayerdropError(f"cannot lock the folder {folder}: {error.strerror}") from None
        print(
            f"layerdrop: warning: the file system of {folder} has no locks ({error.strerror}): do not write {name}"
            " into it with two processes at once",
            file=sys.stderr,
        )


def _is_at(handle: int, path: Path) -> bool:
    """Whether *path* is still the open file: it may have been removed before it was locked."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
