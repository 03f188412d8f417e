"""Check that the checkpoint that a pruning task resumes from is the child that its options ask for."""

import logging
import os

from omegaconf import DictConfig

from .. import checkpoint
from ..errors import LayerdropError
from ..pruning import surgery
from ..pruning.parent import Parent
from ..pruning.plan import Plan
from ..pruning.rules import Rules

logger = logging.getLogger(__name__)


def interrupted_child(file: str, begin: DictConfig, prune_from: str | None, rules: Rules) -> Parent:
    """Load the checkpoint *file* of an interrupted run, which must be a child of the given parent by the given rules.

    If *file* is in the save folder, the parent's file need not exist any more. If it is in another folder, it must,
    because *file* could be a parent that the user wants to prune.

    Args:
        file: path of the checkpoint that fairseq resumes from.
        begin: the run's checkpoint options.
        prune_from: path of the parent; may be None.
        rules: the rules in the run's options.

    Raises:
        LayerdropError: the file cannot be read, has no provenance of a pruned model, or is a child of another parent or
            by another plan.
    """
    child = Parent.load(file)
    inside = os.path.realpath(os.path.dirname(file)) == os.path.realpath(begin.save_dir)
    instead = _what_to_do(file, begin, inside)
    origin = child.cfg.get(checkpoint.PROVENANCE) or {}
    if not origin.get("ancestors"):
        raise LayerdropError(f"{file} does not say that it was pruned, and would be trained whole: {instead}")
    last = origin["ancestors"][-1]
    parent = prune_from if prune_from and os.path.isfile(prune_from) else None
    if parent is None and not inside:
        raise LayerdropError(f"{file} is not in --save-dir, and its parent not there to tell what it is: {instead}")
    if parent is not None and last.get("sha256") not in (None, checkpoint.sha256(parent)):
        raise LayerdropError(f"{file} is a child of another parent ({last['file']}) than {parent}: {instead}")
    # A missing file that the rules need; a run that resumes in the save folder can do without it.
    gone = next((path for path in rules.files if not os.path.isfile(path)), None)
    if gone and inside:
        logger.warning(f"{gone} is gone: going on with {file}, whose plan cannot be checked without it")
    elif rules.plan(surgery.shape_before(origin), rates=surgery.rates_before(origin)) != Plan.from_dict(last["plan"]):
        raise LayerdropError(f"{file} is a child by another plan ({last['plan']}) than the one asked for: {instead}")
    return child


def _what_to_do(file: str, begin: DictConfig, inside: bool) -> str:
    if begin.restore_file == checkpoint.LAST and inside:
        return "choose another --save-dir"
    option = "--continue-once" if begin.restore_file == checkpoint.LAST else "--restore-file"
    return f"to prune it, give --prune-from {file} and leave out {option}"
