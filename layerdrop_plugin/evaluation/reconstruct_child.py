"""Reconstruct a child that has not been saved yet, and measure what that repaired."""

from dataclasses import replace

from ..pruning.gates import gated
from ..pruning.parent import Parent
from ..pruning.prune import Child, prune
from ..pruning.repairs import FULL
from .losses import Measured, measure_all
from .reconstruct import Reconstruction, reconstruct
from .session import Session


def reconstruct_child(
    session: Session,
    parent: Parent,
    child: Child,
    subset: str = "train",
    max_examples: int | None = None,
    by: str = FULL,
) -> tuple[Reconstruction, dict[str, Measured]]:
    """Refit the projections of *child* towards its parent; its weights and its provenance are replaced.

    Embedding rows that the child lost play no part: they are needed to read the data, which are its parent's.

    Args:
        session: the parent with its data.
        parent: what was read of the same checkpoint.
        child: the child.
        subset: name of the split to draw examples from.
        max_examples: maximum number of examples, drawn with the session's seed; all by default.
        by: ``full`` or ``scale``, see :func:`reconstruct`.

    Returns:
        What was done; and the held-out examples, measured with the ``parent``, with the child as ``cut`` and with the
        child as ``reconstructed``.

    Raises:
        LayerdropError: as :func:`reconstruct`, or the subset is missing or empty.
    """
    plan = replace(child.plan, vocabulary=None)
    batches = session.batches(subset, max_examples)
    live = session.with_child(child if plan == child.plan else prune(parent, plan))
    found = reconstruct(session, live.model, plan, batches, by)
    held_out = session.batches_of(subset, found.held_out)
    measured = {"parent": measure_all(session, held_out)}
    with gated(session.model, plan):
        measured["cut"] = measure_all(session, held_out)
    measured["reconstructed"] = measure_all(live, held_out)
    child.refit(
        found.weights,
        {
            "by": by,
            "projections": len(found.refits),
            "examples": found.examples,
            "split": subset,
            "data_sha256": session.split(subset).sha256(),
            "seed": session.seed,
        },
    )
    return found, measured
