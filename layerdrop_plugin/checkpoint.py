"""Checkpoint files: read them safely, write them atomically, say where a child came from.

Importing this module imports neither torch nor fairseq: whether a file is whole is known without them.
"""

import argparse
import contextlib
import enum
import hashlib
import os
import pickle
import re
import stat
import sys
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .errors import LayerdropError, first_line
from .safe_reading import archive, legacy
from .writing import atomic_path, check_target, refuse_same_file, write, write_text_atomic, write_with_files

# fmt: off
__all__ = [  # beside what is defined here
    "atomic_path", "check_target", "refuse_same_file", "write", "write_text_atomic", "write_with_files",
]
# fmt: on

if TYPE_CHECKING:
    import torch
    from omegaconf import DictConfig

# Where a child says what it came from: fairseq ignores unknown groups of a checkpoint's configuration.
PROVENANCE = "layerdrop"
LAST = "checkpoint_last.pt"  # what fairseq takes from the save folder unless --restore-file names another one


def safe_classes() -> list:
    """The classes, beside tensors and plain containers, in fairseq's checkpoints; in torch's form for an allow-list.

    ``argparse.Namespace`` holds legacy models' options; numpy arrays, scalars and dtypes come in with validation
    scores (``--eval-bleu``, correlations) and learning-rate schedulers, and are made by functions of ours.
    """
    from .safe_reading.numpy_values import STAND_INS

    return [argparse.Namespace, *STAND_INS]


def _accepting_safe_classes() -> contextlib.AbstractContextManager:
    """A context in which ``torch.load(weights_only=True)`` accepts :func:`safe_classes`."""
    from torch.serialization import get_safe_globals, safe_globals

    # At its end torch forgets what it is given here, also if that had been accepted before.
    return safe_globals([kind for kind in safe_classes() if kind not in get_safe_globals()])


@contextlib.contextmanager
def loading_errors(path: str | os.PathLike) -> Iterator[None]:
    """Within this block every error from reading the checkpoint *path* becomes a LayerdropError of one line."""
    try:
        yield
    except LayerdropError as error:
        raise error if str(path) in str(error) else LayerdropError(f"checkpoint {path} is refused: {error}") from error
    except FileNotFoundError:
        raise LayerdropError(f"checkpoint {path} does not exist: check the path") from None
    except IsADirectoryError:
        raise LayerdropError(f"checkpoint {path} is a folder: name the .pt file in it") from None
    except PermissionError:
        raise LayerdropError(f"checkpoint {path} may not be read: check its permissions") from None
    except Exception as error:  # truncated or damaged files raise many types of errors
        refused = isinstance(error, pickle.UnpicklingError) and _refused_class(str(error))
        if not is_whole(path):
            raise LayerdropError(_not_whole(path)) from error
        if not refused:
            raise LayerdropError(
                f"checkpoint {path} is damaged: {first_line(error)}: copy or train it again"
            ) from error
        raise LayerdropError(
            f"checkpoint {path} holds {refused}, which is not plain data: refused, and nothing of it"
            f" was executed. If you trust who made it:  layerdrop convert --trust {path} OUT"
        ) from None


def _refused_class(message: str) -> str | None:
    """The class that torch's loader names in its refusal; None if it refuses something else."""
    found = re.search(r"[Uu]nsupported (?:global: )?(?:GLOBAL|class) (\S+)", message)
    return found.group(1).rstrip(".,")[:200] if found else None


def _not_whole(path) -> str:
    if legacy.is_tar(path):
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
        if not archive.is_archive(path):
            return legacy.is_whole(path)
        with zipfile.ZipFile(path) as opened:
            return any(name.endswith("/data.pkl") for name in opened.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def check_whole(path: str | os.PathLike) -> None:
    """Raise LayerdropError unless *path* is a readable, complete checkpoint with the right checksums.

    A file in the format before 2020 has no checksums: only its lengths are checked.
    """
    with loading_errors(path):
        _check_regular(path)
        if archive.is_archive(path):
            archive.check(path)
    if not is_whole(path):
        raise LayerdropError(_not_whole(path))


def _check_regular(path: str | os.PathLike) -> None:
    """Raise LayerdropError for a pipe or a device, whose reading might never end."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise LayerdropError(f"checkpoint {path} is a device, a pipe or a socket: name a file")
    open(path, "rb").close()


def plain(value: Any) -> Any:
    """*value* with configurations and namespaces turned into plain containers; tensors stay as they are."""
    omegaconf, numpy = (sys.modules.get(name) for name in ("omegaconf", "numpy"))  # not imported: none of their values
    if omegaconf and omegaconf.OmegaConf.is_config(value):
        value = omegaconf.OmegaConf.to_container(value, resolve=False, enum_to_str=True)
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


def load(path: str | os.PathLike, mapped: bool = False) -> Any:
    """Load the file *path* and check it: checksums, limits, no interpolation in options, dense and finite weights.

    fairseq's loading uses this function too.

    Args:
        mapped: as in :func:`layerdrop_plugin.safe_reading.loading.load`.

    Raises:
        LayerdropError: as :func:`loading_errors`.
    """
    with loading_errors(path), _accepting_safe_classes():
        _check_regular(path)
        from .safe_reading import loading, references
        from .safe_reading.state import check_options, check_weights

        state = loading.load(path, mapped)
        if isinstance(state, dict):
            references.resolve(state.get("cfg"))
            for name in ("cfg", "args"):
                check_options(state.get(name), name)
            if "model" in state:
                check_weights(state["model"], os.path.getsize(path))
        return state


def read(path: str | os.PathLike) -> dict:
    """The fairseq checkpoint *path* on the CPU, its ``cfg`` as plain dicts and lists.

    Nothing in the file is executed. A file of an older fairseq is upgraded by the installed one, which is imported only
    then.

    Returns:
        dict: ``model`` (name -> tensor), ``cfg`` and whatever else the file holds.

    Raises:
        LayerdropError: as :func:`loading_errors`, or the file is no fairseq checkpoint.
    """
    with loading_errors(path):
        state = load(path, mapped=True)
        of_today = _is_of_today(state)
    if not of_today:
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
    except LayerdropError:
        raise
    except Exception:  # what its upgrades trip over
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
