"""Write an output folder as a whole, or lock one, so that only one process writes into it."""

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

_TRIES = 100  # a try fails if another process takes or releases the lock at the same time
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
    """Lock the folder *out* for files called *name* during this block.

    The folder is created if needed, and removed again if it is empty at the end. The lock is the kernel's (flock), so
    it ends with the process. Its empty file ``.NAME.lock`` is removed at the end; that of a killed process remains and
    is reused by the next one.

    Args:
        out: path of the folder.
        name: name, without suffix, of the files that are written. Other names can be locked at the same time.

    Raises:
        LayerdropError: another process has the lock, or the folder cannot be created or written.
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
        # Removed before it is unlocked: a process that has opened it notices this (_is_at) and creates a new file.
        with contextlib.suppress(OSError):
            path.unlink()
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_UN)  # closing is not enough if a forked process has the file open, too
        os.close(handle)


def _take(folder: Path, name: str, path: Path) -> int:
    """Create and lock the file *path* in *folder*; returns its descriptor."""
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
    """Create *folder* if it does not exist. No error is raised if another process removes it at the same time."""
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
    """Whether *path* is still the open file *handle*, which may have been removed before it was locked."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
