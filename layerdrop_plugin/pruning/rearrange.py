"""Exchange parts that a plan keeps and removes, their number fixed, while the estimated damage falls.

Source: Kwon et al. 2022, "A Fast Post-Training Pruning Framework for Transformers", section 4.2. To second order, with
the empirical Fisher information F = Σ g gᵀ of the gradients g of a sublayer's gates over examples, removing the parts R
costs Σ_ij∈R F_ij = Σ |Σ_i∈R g_i|²: unlike with scores of single parts, it counts that two alike parts make up for each
other, and that their gradients may cancel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import LayerdropError
from .plan import Plan
from .shape import ModelShape

Place = tuple[str, int]  # stack and kind, such as ``encoder.ffn``, and the parent's layer


@dataclass(frozen=True)
class Exchange:
    """What was exchanged in a sublayer.

    Attributes:
        kept: the parts that are kept now, ascending.
        parts: number of parts exchanged.
        before, after: the estimated damage Σ |Σ g|².
    """

    kept: tuple[int, ...]
    parts: int
    before: float
    after: float


def sublayers(plan: Plan, shape: ModelShape) -> dict[Place, tuple[int, ...]]:
    """The sublayers that keep some of their parts but not all, and the parts that they keep.

    Raises:
        LayerdropError: there are none, so that nothing can be exchanged.
    """
    found: dict[Place, tuple[int, ...]] = {}
    for stack, chosen in plan.items():
        for kind, sizes in shape.get(stack).sizes.items():
            for layer, kept in sorted(chosen.kept(kind).items()):
                if kept and len(kept) < sizes[layer]:
                    found[f"{stack}.{kind}", layer] = kept
    if not found:
        raise LayerdropError(
            "there is nothing to rearrange: no attention or FFN of the plan keeps some of its heads or units and loses"
            " others"
        )
    return found


def exchange(gram: Tensor, kept: Sequence[int]) -> Exchange:
    """Exchange parts of one sublayer in one pass over those that are removed, greatest share of the damage first.

    Each of them is exchanged with the kept part that leaves the least damage, if that is less than now.

    Args:
        gram: F, (parts, parts).
        kept: the parts that are kept, ascending.
    """
    gram = gram.double()
    removed = torch.ones(len(gram), dtype=torch.bool)
    removed[list(kept)] = False
    diagonal, shares = gram.diagonal(), gram[:, removed].sum(1)
    before, exchanged = float(shares[removed].sum()), 0
    for part in sorted(removed.nonzero().flatten().tolist(), key=lambda part: -float(shares[part])):
        # of keeping this part and removing another one instead
        change = gram[part, part] - 2 * shares[part] + diagonal + 2 * (shares - gram[part])
        other = int(change.masked_fill(removed, torch.inf).argmin())
        if change[other] < -1e-12 * diagonal.sum():  # else it may only be rounding
            removed[part], removed[other] = False, True
            shares += gram[other] - gram[part]
            exchanged += 1
    left = tuple((~removed).nonzero().flatten().tolist())
    return Exchange(left, exchanged, before, float(gram[removed][:, removed].sum()))


def rearrange(plan: Plan, shape: ModelShape, grams: Mapping[Place, Tensor]) -> tuple[Plan, dict[Place, Exchange]]:
    """Exchange parts within each of the :func:`sublayers` of *plan*.

    Args:
        plan: a plan that fits *shape*.
        shape: shape of the parent.
        grams: F (parts, parts) of each of these sublayers.

    Returns:
        The plan with the parts that are kept now, and what was exchanged in each sublayer.

    Raises:
        LayerdropError: as :func:`sublayers`.
    """
    done = {place: exchange(grams[place], kept) for place, kept in sublayers(plan, shape).items()}
    for (key, layer), found in done.items():
        stack, kind = key.split(".")
        chosen = plan.get(stack)
        plan = replace(plan, **{stack: replace(chosen, **{kind: chosen.kept(kind) | {layer: found.kept}})})
    return plan, done
