"""Refit what a pruned model keeps to what its parent computes, layer by layer and without training.

(interface; the body follows)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from ..pruning.plan import Plan
from ..pruning.ridge import COLUMNS, PENALTIES
from .session import Session


@dataclass(frozen=True)
class Refit:
    """A projection that was refitted."""

    name: str
    rows: int
    columns: int
    penalty: float | None
    before: float
    after: float


@dataclass(frozen=True)
class Reconstruction:
    """What :func:`reconstruct` did.

    Attributes:
        by: one of ridge.METHODS.
        refits: the refitted projections, in the order in which the model runs them.
        weights: name in the child's state dict -> new weight or bias.
        notes: lines on what could not be repaired.
    """

    by: str
    refits: list[Refit]
    weights: dict[str, Tensor] = field(repr=False)
    notes: list[str]


def reconstruct(
    session: Session,
    child: nn.Module,
    plan: Plan,
    batches: Iterable[Mapping],
    by: str = COLUMNS,
    penalties: Iterable[float] = PENALTIES,
) -> Reconstruction:
    """Refit the output projections of *child* in place towards the parent, the session's model.

    Args:
        session: the parent.
        child: the live child (``session.with_child(child).model``), whose dictionary is still the parent's.
        plan: what the child keeps of the parent.
        batches: fairseq batches of the parent's data; iterated several times, in the same order.
        by: ``full`` or ``scale``, see ridge.py.
        penalties: see ridge.py.

    Returns:
        The new weights, for ``Child.refit``, and a record of each projection.

    Raises:
        LayerdropError: there is nothing to reconstruct, the examples are too few to hold some out, or the model has
            parts that cannot be gated.
    """
    raise NotImplementedError
