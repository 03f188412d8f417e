"""Checkpoint files: read them safely, write them atomically, say where a child came from.

Importing this module imports neither torch nor fairseq: whether a file is whole is known without them.
"""

import argparse
import contextlib
import enum
import errno
import hashlib
import os
import pickle
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import legacy_checkpoint
from .errors import LayerdropError

if TYPE_CHECKING:
    import torch
    from omegaconf import DictConfig

# Where a child says what it came from: fairseq ignores unknown groups of a checkpoint's configuration.
PROVENANCE = "layerdrop"
LAST = "checkpoint_last.pt"  # what fairseq takes from the save folder unless --restore-file names another one


def safe_classes() -> list:
    """The classes, beside tensors and plain containers, in fairseq's checkpoints; in torch's form for an allow-list.

    ``argparse.Namespace`` holds legacy models' options; numpy arrays, scalars and dtypes come in with validation
    scores (``--eval-bleu``, correlations) and learning-rate schedulers. Their old module names are for files
    pickled under numpy 1.
    """
    import numpy as np

    reconstruct, scalar = np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]
    # numpy's dtype classes have no public list; these are the plain numbers, booleans and strings.
    dtypes = {type(np.dtype(code)) for code in "?bhilqBHILQefdFDSU"}
    return [
        argparse.Namespace,
        np.ndarray,
        np.dtype,
        reconstruct,
        scalar,
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        (scalar, "numpy.core.multiarray.scalar"),
        *dtypes,
    ]


def _accepting_safe_classes() -> contextlib.AbstractContextManager:
    """A context in which ``torch.load(weights_only=True)`` accepts :func:`safe_classes`."""
    from torch.serialization import get_safe_globals, safe_globals

    # At its end torch forgets what it is given here, also if that had been accepted before.
    return safe_globals([kind for kind in safe_classes() if kind not in get_safe_globals()])


@contextlib.contextmanager
def loading_errors(path: str | os.PathLike) -> Iterator[None]:
    """Within this block the failures of ``torch.load(path, weights_only=True)`` become one-line LayerdropErrors."""
    try:
        yield
    except FileNotFoundError:
        raise LayerdropError(f"checkpoint {path} does not exist: check the path") from None
    except IsADirectoryError:
        raise LayerdropError(f"checkpoint {path} is a folder: name the .pt file in it") from None
    except PermissionError:
        raise LayerdropError(f"checkpoint {path} may not be read: check its permissions") from None
    except pickle.UnpicklingError as error:
        if not is_whole(path):
            raise LayerdropError(_not_whole(path)) from None
        raise LayerdropError(
            f"checkpoint {path} holds {_refused_class(str(error))}, which is not plain data: refused, and nothing of it"
            f" was executed. If you trust who made it:  layerdrop convert --trust {path} OUT"
        ) from None
    except Exception as error:  # a file cut short or damaged raises whatever it makes torch hit upon
        if is_whole(path):
            raise  # a good file and another kind of failure: do not hide it
        raise LayerdropError(_not_whole(path)) from error


def _refused_class(message: str) -> str:
    """The class that torch's loader names in its refusal."""
    found = re.search(r"[Uu]nsupported (?:global: )?(?:GLOBAL|class) (\S+)", message)
    return found.group(1).rstrip(".,") if found else "a class"


def _not_whole(path) -> str:
    if legacy_checkpoint.is_tar(path):
        return (
            f"checkpoint {path} is in PyTorch's format before 2017 (a tar archive), which is not supported: load it"
            " with an older PyTorch and save it again"
        )
    return f"checkpoint {path} is not a whole PyTorch file (empty, truncated or something else): copy or train it again"


def is_whole(path: str | os.PathLike) -> bool:
    """Whether *path* is a complete checkpoint: an archive, or a file in PyTorch's format before 2020.

    Cheap: reads the archive's directory, which is at its end; of an older file all but the weights, which say how long
    it is.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError):
        return legacy_checkpoint.is_whole(path)


def check_whole(path: str | os.PathLike) -> None:
    """Raise LayerdropError unless *path* is there, may be read and is a complete checkpoint (:func:`is_whole`)."""
    with loading_errors(path):
        open(path, "rb").close()
    if not is_whole(path):
        raise LayerdropError(_not_whole(path))


def plain(value: Any) -> Any:
    """*value* with configurations and namespaces turned into plain containers; tensors stay as they are."""
    omegaconf, numpy = (sys.modules.get(name) for name in ("omegaconf", "numpy"))  # not imported: none of their values
    if omegaconf and omegaconf.OmegaConf.is_config(value):
        value = omegaconf.OmegaConf.to_container(value, resolve=True, enum_to_str=True)
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if numpy and isinstance(value, numpy.generic):
        return value.item()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def read(path: str | os.PathLike) -> dict:
    """The fairseq checkpoint *path* on the CPU, its ``cfg`` as plain dicts and lists.

    Nothing in the file is executed. A file of an older fairseq is upgraded by the installed one, which is imported only
    then.

    Returns:
        dict: ``model`` (name -> tensor), ``cfg`` and whatever else the file holds.

    Raises:
        LayerdropError: as :func:`loading_errors`, or the file is no fairseq checkpoint.
    """
    import torch

    with loading_errors(path), _accepting_safe_classes():
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not _is_of_today(state):
        del state  # the same weights are about to be read again
        state = _read_upgraded(path)
    state["cfg"] = plain(state["cfg"])
    return state


def _is_of_today(state) -> bool:
    """Whether *state* is what fairseq saves since 2021, of which its ``_upgrade_state_dict`` would change nothing."""
    if not isinstance(state, dict) or state.get("args") is not None or "model" not in state:
        return False
    cfg, history = state.get("cfg"), state.get("optimizer_history")
    if (
        not isinstance(cfg, dict)
        or "model" not in cfg
        or not history
        or "train_iterator" not in (state.get("extra_state") or {})
    ):
        return False
    generation = cfg.get("generation") or {}
    return (
        {"optimizer_name", "lr_scheduler_state", "num_updates"} <= history[-1].keys()
        and "optimizer" not in history[-1]
        and not isinstance(generation.get("print_alignment"), bool)
    )


def _read_upgraded(path) -> dict:
    """The checkpoint *path* as fairseq loads and upgrades it."""
    from . import register

    register()  # which makes its loading safe
    from fairseq import checkpoint_utils

    try:
        state = checkpoint_utils.load_checkpoint_to_cpu(str(path))
        if "model" in state and state["cfg"] is not None:
            return state
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError):  # what its upgrades trip over
        pass
    raise LayerdropError(f"{path} is not a fairseq checkpoint: it has no 'model' with a 'cfg' or 'args' beside it")


def restored_file(begin: "DictConfig") -> str | None:
    """The checkpoint that fairseq-train will go on from, None on a first start.

    Args:
        begin: the run's options for checkpoints.
    """
    path = begin.restore_file.replace(".pt", f"{begin.checkpoint_suffix}.pt")
    if begin.restore_file == LAST:
        path = os.path.join(begin.save_dir, path)
        path = path if os.path.isfile(path) else begin.get("continue_once")
    return path if path and os.path.isfile(path) else None


def place_in_memory(tensor: "torch.Tensor") -> tuple:
    """What two names of one (tied) weight have in common, and two weights have not."""
    return tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tuple(tensor.shape), tensor.stride()


def untrained(state: dict, cfg: dict, weights: dict) -> dict:
    """A checkpoint of *weights* with *cfg*, made from *state*, whose training has not begun.

    It has what every fairseq command asks for and nothing of the run that made *state*: no optimizer state, and no
    best score (which would keep a new run from saving its own ``checkpoint_best.pt``).
    """
    history = (state.get("optimizer_history") or [{}])[-1]
    return {
        "args": None,
        "cfg": cfg,
        "model": weights,
        "criterion": None,
        "optimizer_history": [
            {
                "criterion_name": history.get("criterion_name", ""),
                "optimizer_name": history.get("optimizer_name", ""),
                "lr_scheduler_state": {"best": None},
                "num_updates": 0,
            }
        ],
        "task_state": {},
        "extra_state": {"train_iterator": {"version": 2, "epoch": 1, "iterations_in_epoch": 0, "shuffle": True}},
    }


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[str]:
    """Yield a temporary file name beside *path*; on success it is synced and renamed to *path*, otherwise removed.

    Raises:
        LayerdropError: the folder does not exist or may not be written, or the disk is full.
    """
    path = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise LayerdropError(f"cannot write {path}: {_reason(error, path.parent)}") from None
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


def _reason(error: Exception, folder: Path) -> str:
    if not folder.is_dir():
        return f"the folder {folder} does not exist, make it first"
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    if full or (isinstance(error, RuntimeError) and shutil.disk_usage(folder).free < 1 << 24):
        return "no space left on the device, nothing was kept"
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


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


def write_text_atomic(path: str | os.PathLike, text: str) -> None:
    """Save *text* (UTF-8) as *path*: whole or not at all."""
    with atomic_path(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of the file *path*, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def convert_trusted(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Read *source* by executing whatever its pickle says, and write *target* with plain containers only.

    Only for files whose maker you trust; it is what ``layerdrop convert --trust`` does.

    Raises:
        LayerdropError: *source* cannot be read, or still holds a class when its configuration is made plain.
    """
    import torch

    check_whole(source)
    try:
        state = torch.load(source, map_location="cpu", weights_only=False)
    except Exception as error:  # whatever the file's own classes raise
        raise LayerdropError(f"cannot convert {source}: {type(error).__name__}: {str(error).splitlines()[0]}") from None
    with atomic_path(target) as temporary:
        torch.save(plain(state), temporary)
        try:
            with _accepting_safe_classes():
                torch.load(temporary, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise LayerdropError(
                f"cannot convert {source}: it holds {_refused_class(str(error))}, which has no plain form"
            ) from None


def refuse_same_file(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Raise LayerdropError if *source* and *target* are the same file, under whatever names."""
    same = os.path.realpath(source) == os.path.realpath(target)
    if same or (os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target)):
        raise LayerdropError(f"{target} is the input itself, which is never changed: name another output file")
