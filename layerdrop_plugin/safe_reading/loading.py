"""Load a checkpoint with ``torch.load`` after checking its bytes."""

import os
from typing import Any

import torch
from torch import _weights_only_unpickler

from . import legacy
from .archive import Archive, is_archive
from .configurations import stand_ins
from .state import make_plain


def load(path: str | os.PathLike, mapped: bool = False) -> Any:
    """Load the file *path* on the CPU without executing code in it.

    Checksums are computed in other threads while torch reads.

    Args:
        path: path of the checkpoint.
        mapped: map an archive's weights into memory instead of reading them. For short-lived use only: if the file is
            overwritten in place, the weights change.

    Raises:
        Damaged: the archive is not as ``torch.save`` writes it.
        Exception: any type, raised by Python or torch for other damage.
    """
    if not is_archive(path):
        with torch.serialization.safe_globals(stand_ins(legacy.check(path, _user_allows))):
            return make_plain(torch.load(path, map_location="cpu", weights_only=True))
    archive = Archive(path)
    replaced = stand_ins(archive.check_storages(_user_allows))
    with archive.comparing_checksums(), torch.serialization.safe_globals(replaced):
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    return make_plain(state)  # after the checksums: a wrong one says more than what is made of it


def _user_allows(module: str, name: str) -> bool:
    """Whether this class was added to torch's list of safe globals."""
    return f"{module}.{name}" in _weights_only_unpickler._get_user_allowed_globals()
