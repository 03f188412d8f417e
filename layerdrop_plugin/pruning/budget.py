"""Plans for a budget: for each number of layers kept, heads and FFN units fill what is left by importance per cost.

The layers of each number are those with the highest scores. Of each sublayer the parts with the highest scores are
kept; which sublayer gets the next part is decided by the part's score divided by what it adds to the cost. Scores are
compared as they are, not normalised: those of heads and of units are changes of the same loss.
"""

import heapq
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from ..anatomy import FFN_UNITS, HEADS, SUBLAYERS
from ..errors import LayerdropError
from .costs import Costs, Number, PerSize
from .layer_search import Subset
from .plan import Plan, StackPlan
from .ranking import Sublayer, rank_layers, sublayers_of, without_removed
from .scores import Scores
from .shape import ModelShape

PARAMS, WITHOUT_EMBEDDINGS, FLOPS, LATENCY = METRICS = ("params", "params-without-embeddings", "flops", "latency")
BUDGET_HELP = (
    "share of the whole model's cost that the child may have: params:0.5 (learned parameters),"
    " params-without-embeddings:0.5, flops:0.5 or latency:0.5 (of a forward pass)"
)


@dataclass(frozen=True)
class Budget:
    """A share of the whole model's cost; written ``METRIC:SHARE``.

    Attributes:
        metric: one of METRICS.
        share: maximum share, above 0 and at most 1.
    """

    metric: str
    share: Fraction

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read *text*, such as ``flops:0.5``.

        Raises:
            LayerdropError: an unknown metric, or a share outside (0, 1].
        """
        metric, _, share = text.partition(":")
        if metric not in METRICS:
            raise LayerdropError(f"a budget of {text}: want METRIC:SHARE, METRIC being one of {', '.join(METRICS)}")
        try:
            if len(share) > 40 or "e" in share.lower():
                raise ValueError("it would take many digits")
            value = Fraction(share).limit_denominator(10**6)
        except (ValueError, ZeroDivisionError):
            value = Fraction(0)
        if not 0 < value <= 1:
            raise LayerdropError(f"a budget of {text}: want a share above 0 and at most 1, such as {metric}:0.5")
        return cls(metric, value)

    def __str__(self):
        return f"{self.metric}:{float(self.share):g}"


class Candidate(NamedTuple):
    """A plan that meets a budget.

    Attributes:
        plan: the plan.
        share: its cost as a share of the whole model's.
        full: whether it keeps all heads and units of its layers.
    """

    plan: Plan
    share: float
    full: bool


def candidates(
    budget: Budget,
    shape: ModelShape,
    costs: Costs,
    scores: Scores,
    layers: Mapping[str, Sequence[Subset]],
    min_heads: int = 0,
) -> list[Candidate]:
    """The plans for *budget* that are worth comparing, those with more layers first.

    A plan is left out if another one keeps all of its layers and more, with all their heads and units.

    Args:
        budget: the budget.
        shape: shape of the parent.
        costs: costs of the parent's parts.
        scores: scores of the parent's heads and units.
        layers: stack -> the subsets of its layers to choose from, see :func:`subsets_by_score`.
        min_heads: minimum number of heads that every attention keeps, if it has as many.

    Raises:
        LayerdropError: no plan meets the budget; the message says what the smallest one costs.
    """
    whole = costs.whole(shape)
    most = _limit(budget.share, whole)
    found, floor = [], math.inf
    for kept in _combinations(layers):
        filled = fill(kept, shape, costs, scores, most, min_heads)
        floor = min(floor, filled.least)
        if filled.plan is not None:
            found.append(Candidate(filled.plan, filled.cost / whole, filled.full))
    if not found:
        raise LayerdropError(_below_floor(budget, costs, floor / whole, min_heads))
    return [one for one in found if not any(_within(one.plan, other) for other in found)]


def subsets_by_score(scores: Scores, stack: str) -> list[Subset]:
    """For each number of layers from all of them to 1, the layers of *stack* with the highest scores.

    Raises:
        LayerdropError: there are no scores of its layers.
    """
    ranked = rank_layers(scores, stack)
    return [tuple(sorted(ranked[gone:])) for gone in range(len(ranked))]


class Filled(NamedTuple):
    """What :func:`fill` finds.

    Attributes:
        plan: the plan; None if the layers alone cost too much.
        cost: its cost.
        full: whether it keeps all parts of its layers.
        least: the cost of the layers with as few parts as possible.
    """

    plan: Plan | None
    cost: Number
    full: bool
    least: Number


def fill(
    kept: Mapping[str, Subset], shape: ModelShape, costs: Costs, scores: Scores, most: Number, min_heads: int = 0
) -> Filled:
    """Keep the parts with the greatest score per cost such that the child costs at most *most*.

    Args:
        kept: stack -> the layers to keep.
        shape, costs, scores, min_heads: see :func:`candidates`.
        most: maximum cost.

    Raises:
        LayerdropError: there are no scores of parts of these layers.
    """
    plan = Plan(**{stack: StackPlan(tuple(layers)) for stack, layers in kept.items()})
    sublayers = [
        sublayer
        for part in (HEADS, FFN_UNITS)
        for sublayer in sublayers_of(plan, shape, scores.scores, part)
        if sublayer.parts
    ]
    queues = [_Queue(sublayer, costs, min_heads) for sublayer in sublayers]
    whole = costs.of(plan, shape)
    cost = least = whole - sum(queue.costs[-1] - queue.costs[queue.taken] for queue in queues)
    if least > most:
        return Filled(None, least, False, least)
    # Of equal densities later sublayers are served first, as earlier ones lose parts first.
    heap = [(-queue.density, -number) for number, queue in enumerate(queues) if queue.left]
    heapq.heapify(heap)
    while heap:
        _, negative = heapq.heappop(heap)
        queue = queues[-negative]
        if cost + queue.step <= most:  # a sublayer whose next part does not fit gets no more
            cost += queue.step
            queue.taken += 1
            if queue.left:
                heapq.heappush(heap, (-queue.density, negative))
    for queue in queues:
        queue.sublayer.removed = set(queue.ranked[queue.taken :])
    full = not any(queue.left for queue in queues)
    return Filled(without_removed(plan, shape, sublayers), cost, full, least)


class _Queue:
    """The parts of a sublayer, the one with the highest score first; *taken* of them are kept.

    Of parts with equal scores those with lower numbers are removed first.
    """

    def __init__(self, sublayer: Sublayer, costs: Costs, min_heads: int):
        self.sublayer = sublayer
        of_layer = costs.sublayers[f"{sublayer.stack}.{sublayer.kind}"][sublayer.layer]
        self.costs: PerSize = of_layer[: len(sublayer.parts) + 1]
        self.ranked = sorted(sublayer.parts, key=lambda part: (sublayer.scores[part], part), reverse=True)
        self.taken = min(min_heads, len(self.ranked)) if SUBLAYERS[sublayer.kind].part is HEADS else 0

    @property
    def left(self) -> int:
        return len(self.ranked) - self.taken

    @property
    def step(self) -> Number:
        """What the next part adds to the cost."""
        return self.costs[self.taken + 1] - self.costs[self.taken]

    @property
    def density(self) -> float:
        """Score of the next part per cost."""
        score = self.sublayer.scores[self.ranked[self.taken]]
        return score / self.step if self.step > 0 else math.inf


def _limit(share: Fraction, whole: Number) -> Number:
    """The greatest cost within *share* of *whole*; sums of seconds are rounded, so that they may be 1e-9 above it."""
    return math.floor(share * whole) if isinstance(whole, int) else float(share) * whole * (1 + 1e-9)


def _combinations(layers: Mapping[str, Sequence[Subset]]) -> Iterator[dict[str, Subset]]:
    for chosen in itertools.product(*layers.values()):
        yield dict(zip(layers, chosen, strict=True))


def _within(plan: Plan, other: Candidate) -> bool:
    """Whether *other* keeps all layers of *plan* and more, with all their parts."""
    if not other.full or other.plan == plan:
        return False
    return all(set(of.layers) <= set(other.plan.get(stack).layers) for stack, of in plan.items())


def _below_floor(budget: Budget, costs: Costs, floor: float, min_heads: int) -> str:
    parts = f"{min_heads} heads in each attention and no FFN units" if min_heads else "no heads or FFN units"
    up = math.ceil(floor * 1000) / 1000
    return (
        f"a budget of {budget} cannot be met: with the fewest layers and {parts} the child still has {floor:.3f} of the"
        f" whole model's {costs.unit}, as what lies outside its layers stays: the floor is {budget.metric}:{up:g}"
    )
