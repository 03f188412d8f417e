"""Rank parts by their normalised scores: heads and FFN units to remove (Michel et al. 2019, section 4), and layers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

from ..anatomy import HEADS, KEYS, LAYERS, Part
from ..errors import LayerdropError
from .plan import Plan, StackPlan
from .scores import Rows, Scores
from .shape import ModelShape

RANKINGS = ("global", "per-kind", "per-layer")
RANKING_HELP = (
    "which parts are ranked together: global (those of all kinds and layers), per-kind (the share is removed from each"
    " kind of attention, and from the FFNs of each stack), per-layer (the share is removed from each attention or FFN)"
)


def share(text: str | float | Fraction) -> Fraction:
    """Convert *text*, a number or a string such as ``0.4`` or ``1/3``, to an exact share.

    Raises:
        LayerdropError: *text* is not a number from 0 to 1.
    """
    try:
        if len(str(text)) > 40 or re.search(r"e[+-]?[0-9]{4}", str(text), re.IGNORECASE):
            raise ValueError("it would take many digits")
        value = Fraction(str(text)).limit_denominator(10**6)  # 0.3333333 is taken for 1/3
    except (ValueError, ZeroDivisionError):
        value = Fraction(-1)
    if not 0 <= value <= 1:
        raise LayerdropError(f"rate {text}: want the share to remove, a number from 0 to 1, such as 0.4")
    return value


def prune_by_importance(
    plan: Plan,
    shape: ModelShape,
    scores: Scores,
    part: Part,
    rate: str | float | Fraction,
    ranking: str = "global",
    min_heads: int = 0,
) -> Plan:
    """Remove the share *rate* of the parts that *plan* keeps, those with the lowest normalised scores.

    *ranking* divides the parts into groups; in each group the share is removed, rounded to a whole number, halves up.
    Of parts with equal scores, those of the encoder are removed before the decoder's, self-attention's before
    encoder-decoder attention's, then those of lower layers and those with lower numbers.

    Args:
        plan: what is kept of the parent before. Only parts that it keeps are counted.
        shape: shape of the parent.
        scores: scores of the parent's parts.
        part: HEADS or FFN_UNITS.
        rate: share to remove, from 0 to 1, as a number or a string.
        ranking: one of RANKINGS.
        min_heads: minimum number of heads that every attention keeps, if it has as many; heads with higher scores are
            removed instead. An FFN may lose all units.

    Returns:
        *plan* with new entries for the sublayers that lose parts.

    Raises:
        LayerdropError: the scores do not fit the shape, there are no parts to remove, or the minimum does not allow to
            remove the share.
    """
    if ranking not in RANKINGS:
        raise LayerdropError(f"unknown ranking {ranking!r}: use {', '.join(RANKINGS)}")
    if min_heads < 0:
        raise LayerdropError(f"a minimum of {min_heads} heads: want 0 or more")
    rate = share(rate)
    scores.check(shape, None, "the file")
    check_any_left(plan, shape, part)
    sublayers = sublayers_of(plan, shape, scores.normalized, part)
    minimum = min_heads if part is HEADS else 0
    for place, group in _groups(sublayers, ranking).items():
        _remove(group, rate, minimum, f"{part.many}{place}")
    return without_removed(plan, shape, sublayers)


def rank_layers(scores: Scores, stack: str) -> tuple[int, ...]:
    """The layers of *stack* by ascending score; of equal scores lower layers come first, as they are removed first.

    Raises:
        LayerdropError: there are no scores of them.
    """
    key = f"{stack}.{LAYERS}"
    if key not in scores.normalized:
        raise LayerdropError(f"there are no scores of {key}")
    row = scores.normalized[key]
    return tuple(sorted(range(len(row)), key=lambda layer: (row[layer], layer)))


@dataclass
class Sublayer:
    """A sublayer of the parent.

    Attributes:
        stack, kind, layer: its place.
        parts: numbers of the heads or units that the plan keeps.
        scores: scores of all its heads or units in the parent.
        removed: numbers of those that are removed.
    """

    stack: str
    kind: str
    layer: int
    parts: tuple[int, ...]
    scores: list[float]
    removed: set[int] = field(default_factory=set)

    @property
    def left(self) -> int:
        return len(self.parts) - len(self.removed)


def check_any_left(plan: Plan, shape: ModelShape, part: Part) -> None:
    """Raise LayerdropError if *plan* keeps no heads, or no FFN units, of a parent of *shape*."""
    if not any(parts for *_, parts in _kept(plan, shape, part)):
        raise LayerdropError(f"the layers that are kept of the parent have no {part.many} left to remove")


def _kept(plan: Plan, shape: ModelShape, part: Part) -> Iterator[tuple[str, str, int, tuple[int, ...]]]:
    """Yield (stack, kind, layer, kept heads or FFN units) of the sublayers that *plan* keeps.

    Of equal scores, those of earlier sublayers are removed first.
    """
    found = shape.sizes(part)
    for key in (key for key in KEYS if key in found):
        stack, kind = key.split(".")
        chosen = plan.get(stack)
        kept = chosen.kept(kind) if chosen else {}
        for layer in chosen.layers if chosen else range(len(found[key])):
            yield stack, kind, layer, kept.get(layer, tuple(range(found[key][layer] or 0))) or ()


def sublayers_of(plan: Plan, shape: ModelShape, scores: Rows, part: Part) -> list[Sublayer]:
    """The sublayers that *plan* keeps and that consist of *part*; of equal scores earlier ones lose parts first.

    Args:
        plan: what is kept of the parent.
        shape: shape of the parent.
        scores: ``scores`` or ``normalized`` of :class:`Scores`.
        part: HEADS or FFN_UNITS.

    Raises:
        LayerdropError: there are no scores of parts that the plan keeps.
    """
    found = []
    for stack, kind, layer, parts in _kept(plan, shape, part):
        if parts and f"{stack}.{kind}" not in scores:
            raise LayerdropError(f"there are no scores of {stack}.{kind}")
        row = scores[f"{stack}.{kind}"][layer] if parts else []
        if parts and not row:
            raise LayerdropError(
                f"there are no scores of {kind} in {stack} layer {layer}: it cannot be gated or pruned"
            )
        found.append(Sublayer(stack, kind, layer, parts, row))
    return found


def _groups(sublayers: list[Sublayer], ranking: str) -> dict[str, list[Sublayer]]:
    """Group the *sublayers* whose parts are ranked together; the keys name the groups in error messages."""
    names = {
        "global": lambda sublayer: "",
        "per-kind": lambda sublayer: f" in {sublayer.stack}.{sublayer.kind}",
        "per-layer": lambda sublayer: f" in {sublayer.kind} of {sublayer.stack} layer {sublayer.layer}",
    }
    groups = {}
    for sublayer in sublayers:
        groups.setdefault(names[ranking](sublayer), []).append(sublayer)
    return groups


def _remove(group: list[Sublayer], rate: Fraction, minimum: int, name: str) -> None:
    """Remove the share *rate* of the parts of *group*, such that each sublayer keeps at least *minimum*."""
    total = sum(len(sublayer.parts) for sublayer in group)
    count = int(rate * total + Fraction(1, 2))
    most = sum(max(0, len(sublayer.parts) - minimum) for sublayer in group)
    if count > most:
        raise LayerdropError(
            f"a rate of {float(rate):g} removes {count} of the {total} {name}, but with at least {minimum} left in each"
            f" attention at most {most} can go: use a rate of at most {_round_down(most, total)}"
        )
    ranked = sorted(
        (sublayer.scores[part], order, part) for order, sublayer in enumerate(group) for part in sublayer.parts
    )
    for _, order, part in ranked:
        if count and group[order].left > minimum:
            group[order].removed.add(part)
            count -= 1


def _round_down(most: int, total: int) -> str:
    return f"{most * 1000 // total / 1000:g}"


def without_removed(plan: Plan, shape: ModelShape, sublayers: list[Sublayer]) -> Plan:
    """*plan*, of a parent of *shape*, without what was removed from the *sublayers*."""
    for sublayer in sublayers:
        if sublayer.removed:
            chosen = plan.get(sublayer.stack) or StackPlan(tuple(range(shape.get(sublayer.stack).layers)))
            left = tuple(part for part in sublayer.parts if part not in sublayer.removed)
            named = chosen.kept(sublayer.kind) | {sublayer.layer: left}
            plan = replace(plan, **{sublayer.stack: replace(chosen, **{sublayer.kind: named})})
    return plan
