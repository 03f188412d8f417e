"""Remove increasing shares of heads or FFN units, and measure after each step (Michel et al. 2019, section 4).

A point is a dictionary:

    method, seed        method and seed of the scores that rank the parts; both null for the whole model
    rate                requested share of removed parts, from 0 to 1
    removed, parts      number of removed parts, number of all parts
    loss                nats (or squared error for regression) per token or example, see `per` in the settings
    accuracy, bleu      percent, and sacrebleu's BLEU from 0 to 100; null if not measured
    plan                contents of the plan file
"""

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from tqdm import tqdm

from ..anatomy import HEADS, LAYERS, PARTS
from ..errors import LayerdropError
from ..importance import methods
from ..pruning.gates import gated, model_shape
from ..pruning.plan import Plan
from ..pruning.ranking import prune_by_importance
from ..pruning.scores import Scores
from ..pruning.shape import ModelShape
from .losses import measure_all
from .metric_names import METRICS
from .points import Points
from .session import Session

TOLERANCE = {"accuracy": 1.0, "bleu": 1.0, "loss": 0.1}  # acceptable worsening: percentage points, BLEU, nats
Scorer = Callable[[str, int | None], Scores]  # (method, seed) -> scores of the model with its current gates


@dataclass(frozen=True)
class Sweep:
    """Which parts are removed, and how.

    Attributes:
        part_type: ``heads`` or ``ffn``.
        step: share of all parts that is removed at each step.
        ranking: how parts of different layers are ranked, see pruning/ranking.py.
        re_estimate: whether scores are computed again after each step; has an effect on methods with gradients only.
    """

    part_type: str = HEADS.name
    step: Fraction = Fraction(1, 10)
    ranking: str = "global"
    re_estimate: bool = False

    def rates(self) -> list[Fraction]:
        """Shares removed after each step, up to 1.

        Raises:
            LayerdropError: the step is 0.
        """
        if not self.step:
            raise LayerdropError("a step of 0 removes nothing: use one such as 0.1")
        return [self.step * number for number in range(1, int(1 / self.step) + 1)]

    def plan(self, shape: ModelShape, before: Plan, scores: Scores, rate: Fraction) -> Plan:
        """A plan that removes the share *rate* of all parts, including those that the plan *before* removed."""
        scores = _rank_removed_first(scores, before)
        return prune_by_importance(Plan(), shape, scores, PARTS[self.part_type], rate, self.ranking)

    def count(self, shape: ModelShape, plan: Plan) -> int:
        """Number of parts of ``part_type`` that *plan* keeps."""
        return plan.cut(shape).count(PARTS[self.part_type])


def draw_curves(
    session: Session,
    measure: Callable[[], dict],
    sweep: Sweep,
    lines: Iterable[tuple[str, int | None]],
    scorer: Scorer,
    points: Points,
) -> None:
    """Measure every point that *points* does not have yet.

    Args:
        session: the model and its data; the model's gates are set to each point's plan.
        measure: returns loss, accuracy and bleu of the session's model with its current gates; see :func:`measurer`.
        sweep: which parts are removed.
        lines: (method, seed) of each curve.
        scorer: computes the scores of a method and a seed.
        points: the file of points, which is extended.

    Raises:
        LayerdropError: there is nothing to remove.
    """
    shape, lines, rates = model_shape(session.model), list(lines), sweep.rates()
    parts = sweep.count(shape, Plan())
    if not parts:
        raise LayerdropError(f"the model has no {PARTS[sweep.part_type].many} left to remove")
    with tqdm(total=1 + len(lines) * len(rates), desc="curve", unit="point") as progress:
        if not points.find(None, None, 0.0):
            whole = {"method": None, "seed": None, "rate": 0.0, "removed": 0, "parts": parts}
            points.add(whole | measure() | {"plan": Plan().to_json()})
        progress.update()
        for method, seed in lines:
            plan = Plan()
            for rate in rates:
                place = {"method": method, "seed": seed, "rate": float(rate)}
                if point := points.find(**place):
                    plan = Plan.from_dict(json.loads(point["plan"]))
                else:
                    plan = sweep.plan(shape, plan, _scores(session, sweep, plan, scorer, method, seed), rate)
                    counts = {"removed": parts - sweep.count(shape, plan), "parts": parts}
                    with gated(session.model, plan):
                        points.add(place | counts | measure() | {"plan": plan.to_json()})
                progress.update()


def measurer(session: Session, batches: Iterable[dict], bleu: Callable[[], float] | None = None) -> Callable[[], dict]:
    """Return the function that :func:`draw_curves` measures points with.

    Args:
        session: the model.
        batches: the examples to measure on.
        bleu: computes BLEU of the session's model with its current gates; None to leave it out.

    Returns:
        A function without arguments that returns ``loss``, ``accuracy`` and ``bleu``, None for those not measured.
    """

    def measure() -> dict:
        measured = measure_all(session, batches)
        loss = measured.loss_per_token if session.per_token else measured.loss
        return {"loss": loss, "accuracy": measured.accuracy, "bleu": bleu() if bleu else None}

    return measure


def conclusions(points: list[dict]) -> dict:
    """Summarise *points*.

    Returns:
        ``means``: metric -> method -> :func:`means`; ``within``: metric -> :func:`within`; ``limits``: metric ->
        its TOLERANCE. Metrics are those that were measured.
    """
    whole = next(point for point in points if point["method"] is None)
    metrics = [metric for metric in ("accuracy", "bleu", "loss") if whole[metric] is not None]
    methods = list(dict.fromkeys(point["method"] for point in points if point["method"] is not None))
    return {
        "means": {metric: {method: means(points, method, metric) for method in methods} for metric in metrics},
        "within": {metric: within(points, metric) for metric in metrics},
        "limits": {metric: TOLERANCE[metric] for metric in metrics},
    }


def within(points: list[dict], metric: str) -> dict[str, dict[str, float]]:
    """For each method, the share of parts that can be removed while the *metric* stays within TOLERANCE.

    The metric, its mean over seeds if there are several, is compared with that of the whole model.

    Returns:
        method -> ``largest``: the largest measured share at which the metric is within TOLERANCE; ``share``: the
        largest measured share such that the metric is within TOLERANCE there and at all smaller measured shares.
    """
    whole = next(point for point in points if point["method"] is None)
    shares = {}
    for method in dict.fromkeys(point["method"] for point in points if point["method"] is not None):
        steps = [(0.0, True)]
        for removed, value, *_ in means(points, method, metric):
            worsening = (value - whole[metric]) * METRICS[metric].worse
            steps.append((removed, worsening <= TOLERANCE[metric] + 1e-9))
        unbroken = itertools.takewhile(lambda step: step[1], steps)
        shares[method] = {"share": max(unbroken)[0], "largest": max(removed for removed, fine in steps if fine)}
    return shares


def means(points: list[dict], method: str, metric: str) -> list[tuple[float, float, float, float]]:
    """Means over seeds of the *metric* for each step of *method*.

    Returns:
        (share removed, mean, minimum, maximum) for each step, by ascending share.
    """
    steps = {}
    for point in points:
        if point["method"] == method:
            steps.setdefault(point["removed"] / point["parts"], []).append(point[metric])
    return [(share, sum(values) / len(values), min(values), max(values)) for share, values in sorted(steps.items())]


def _scores(session: Session, sweep: Sweep, plan: Plan, scorer: Scorer, method: str, seed: int | None) -> Scores:
    if not sweep.re_estimate or method not in methods.GRADIENTS:
        return scorer(method, seed)
    with gated(session.model, plan):
        return scorer(method, seed)


def _rank_removed_first(scores: Scores, before: Plan) -> Scores:
    """Lower the *scores* of the parts that *before* removed below all others, so that they are removed first."""
    normalized = dict(scores.normalized)
    for key, rows in scores.normalized.items():
        stack, kind = key.split(".")
        plan = before.get(stack)
        if plan is None or kind == LAYERS:
            continue
        kept = {layer: set(plan.kept(kind).get(layer, range(len(row)))) for layer, row in enumerate(rows)}
        normalized[key] = [
            [score if part in kept[layer] else -2.0 for part, score in enumerate(row)] for layer, row in enumerate(rows)
        ]
    return replace(scores, normalized=normalized)
