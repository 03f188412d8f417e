"""Remove more and more heads or FFN units by some order, and measure after each step (Michel et al. 2019, section 4).

A point:

    method, seed        by what scores parts went; both null of the whole model
    rate                the share of all parts that was asked to go
    removed, parts      how many went, of how many
    loss                nats (of regressions squared error) per token or example, see `per` in the settings
    accuracy, bleu      percent, and sacrebleu's from 0 to 100; null where not measured
    plan                what was kept: a plan's file, as text
"""

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from tqdm import tqdm

from ..errors import LayerdropError
from ..importance import methods
from ..pruning.gates import gated, model_shape
from ..pruning.plan import STACKS, ModelShape, Plan
from ..pruning.ranking import NAMES, prune_by_importance
from ..pruning.scores import LAYERS, Importance
from .losses import measure_all
from .metric_names import METRICS
from .points import Points
from .session import Session

HEADS, FFN = "heads", "ffn"
TOLERANCE = {"accuracy": 1.0, "bleu": 1.0, "loss": 0.1}  # points, points, nats: what may be lost
Scorer = Callable[[str, int | None], Importance]  # of (method, seed) on the model as it is then


@dataclass(frozen=True)
class Sweep:
    """What to remove and how.

    Attributes:
        what: ``heads`` or ``ffn``.
        step: share that goes at each step.
        ranking: see pruning/ranking.py.
        re_estimate: score again after each step, where scores depend on what the model computes.
    """

    what: str = HEADS
    step: Fraction = Fraction(1, 10)
    ranking: str = "global"
    re_estimate: bool = False

    def rates(self) -> list[Fraction]:
        """Shares removed at each step, up to all.

        Raises:
            LayerdropError: a step that is 0.
        """
        if not self.step:
            raise LayerdropError("a step of 0 removes nothing: use one such as 0.1")
        return [self.step * number for number in range(1, int(1 / self.step) + 1)]

    def plan(self, shape: ModelShape, before: Plan, scores: Importance, rate: Fraction) -> Plan:
        """The plan without the share *rate* of all parts, those that *before* has removed among them."""
        return prune_by_importance(Plan(), shape, _last(scores, shape, before), self.what, rate, self.ranking)

    def count(self, shape: ModelShape, plan: Plan) -> int:
        """Parts that *plan* keeps."""
        kept = plan.cut(shape)
        stacks = [getattr(kept, stack) for stack in STACKS if getattr(kept, stack) is not None]
        return sum(
            size or 0
            for stack in stacks
            for kind, sizes in stack.sizes.items()
            if (kind == FFN) == (self.what == FFN)
            for size in sizes
        )


def draw_curves(
    session: Session,
    measured: Callable[[], dict],
    sweep: Sweep,
    lines: Iterable[tuple[str, int | None]],
    scorer: Scorer,
    points: Points,
) -> None:
    """Measure every point that *points* does not have yet.

    Args:
        measured: gives loss, accuracy and bleu of the session's model as it is then.
        lines: (method, seed) of each curve.

    Raises:
        LayerdropError: there is nothing to remove.
    """
    shape, lines, rates = model_shape(session.model), list(lines), sweep.rates()
    parts = sweep.count(shape, Plan())
    if not parts:
        raise LayerdropError(f"the model has no {NAMES[sweep.what]} left to remove")
    with tqdm(total=1 + len(lines) * len(rates), desc="curve", unit="point") as progress:
        if not points.find(None, None, 0.0):
            none = {"method": None, "seed": None, "rate": 0.0, "removed": 0, "parts": parts}
            points.add(none | measured() | {"plan": Plan().to_json()})
        progress.update()
        for method, seed in lines:
            plan = Plan()
            for rate in rates:
                place = {"method": method, "seed": seed, "rate": float(rate)}
                if found := points.find(**place):
                    plan = Plan.from_dict(json.loads(found["plan"]))
                else:
                    plan = sweep.plan(shape, plan, _scores(session, sweep, plan, scorer, method, seed), rate)
                    counts = {"removed": parts - sweep.count(shape, plan), "parts": parts}
                    with gated(session.model, plan):
                        points.add(place | counts | measured() | {"plan": plan.to_json()})
                progress.update()


def measurer(session: Session, batches: list[dict], bleu: Callable[[], float] | None = None) -> Callable[[], dict]:
    """What :func:`draw_curves` calls for each point; *bleu* gives BLEU, if that is wanted."""

    def measured() -> dict:
        found = measure_all(session, batches)
        loss = found.loss_per_token if session.per_token else found.loss
        return {"loss": loss, "accuracy": found.accuracy, "bleu": bleu() if bleu else None}

    return measured


def conclusions(points: list[dict]) -> dict:
    """``means`` and ``within`` of *points* (by metric that was measured, by method), and the ``limits`` of those."""
    whole = next(point for point in points if point["method"] is None)
    metrics = [metric for metric in ("accuracy", "bleu", "loss") if whole[metric] is not None]
    methods = list(dict.fromkeys(point["method"] for point in points if point["method"] is not None))
    return {
        "means": {metric: {method: means(points, method, metric) for method in methods} for metric in metrics},
        "within": {metric: within(points, metric) for metric in metrics},
        "limits": {metric: TOLERANCE[metric] for metric in metrics},
    }


def within(points: list[dict], metric: str) -> dict[str, dict[str, float]]:
    """By method, the share of parts that can go while the *metric* stays within TOLERANCE of the whole model's.

    With several seeds their mean counts. ``share``: the largest up to which it stays within at every smaller share that
    was measured; ``largest``: the largest of all at which it is within.
    """
    whole = next(point for point in points if point["method"] is None)
    shares = {}
    for method in dict.fromkeys(point["method"] for point in points if point["method"] is not None):
        good = [(0.0, True)]
        for removed, value, *_ in means(points, method, metric):
            lost = (value - whole[metric]) * METRICS[metric].worse
            good.append((removed, lost <= TOLERANCE[metric] + 1e-9))
        unbroken = itertools.takewhile(lambda step: step[1], good)
        shares[method] = {"share": max(unbroken)[0], "largest": max(removed for removed, fine in good if fine)}
    return shares


def means(points: list[dict], method: str, metric: str) -> list[tuple[float, float, float, float]]:
    """(share removed, mean, least, greatest over seeds) of the *metric* at each step of *method*, ascending."""
    steps = {}
    for point in points:
        if point["method"] == method:
            steps.setdefault(point["removed"] / point["parts"], []).append(point[metric])
    return [(at, sum(found) / len(found), min(found), max(found)) for at, found in sorted(steps.items())]


def _scores(session: Session, sweep: Sweep, plan: Plan, scorer: Scorer, method: str, seed: int | None) -> Importance:
    if not sweep.re_estimate or method not in methods.GRADIENTS:
        return scorer(method, seed)
    with gated(session.model, plan):
        return scorer(method, seed)


def _last(scores: Importance, shape: ModelShape, before: Plan) -> Importance:
    """*scores* in which what *before* has removed is what goes first."""
    normalized = dict(scores.normalized)
    for key, rows in scores.normalized.items():
        stack, kind = key.split(".")
        plan = getattr(before, stack)
        if plan is None or kind == LAYERS:
            continue
        kept = {layer: set(plan.kept(kind).get(layer, range(len(row)))) for layer, row in enumerate(rows)}
        normalized[key] = [
            [score if part in kept[layer] else -2.0 for part, score in enumerate(row)] for layer, row in enumerate(rows)
        ]
    return replace(scores, normalized=normalized)
