"""``torch.load`` of a checkpoint whose bytes were checked first."""

import os
from typing import Any

import torch
from torch import _weights_only_unpickler

from .. import legacy_checkpoint
from .archive import Archive, is_archive
from .state import make_plain


def load(path: str | os.PathLike, mapped: bool = False) -> Any:
    """What the file *path* holds, on the CPU; nothing in it is executed.

    Checksums are computed by other threads while torch reads.

    Args:
        mapped: leave an archive's weights in the file until they are used: for those who let go of them soon, as a file
            that is overwritten in its place takes them along.

    Raises:
        Damaged: an archive that is not as ``torch.save`` writes one.
        Exception: whatever a damaged file makes Python or torch hit upon.
    """
    if not is_archive(path):
        legacy_checkpoint.check(path, _user_allows)
        return make_plain(torch.load(path, map_location="cpu", weights_only=True))
    archive = Archive(path)
    archive.check_storages(_user_allows)
    checksums = archive.checksums()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    finally:
        for done in checksums:  # a wrong checksum says more than what torch made of it
            done.result()
    return make_plain(state)


def _user_allows(module: str, name: str) -> bool:
    """Whether someone has told torch that this class is plain data."""
    return f"{module}.{name}" in _weights_only_unpickler._get_user_allowed_globals()
