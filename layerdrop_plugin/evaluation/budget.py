"""Choose the plan for a budget: the candidates of pruning/budget.py are compared by their loss on data.

For a budget of latency, the costs come from a table of sublayer times; the child that is chosen and its parent are then
timed in turn. If the child takes too long, the table is corrected by the measured ratio, and the choice is made again.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from tqdm import tqdm

from ..errors import LayerdropError
from ..modules.inference import optimize_for_inference
from ..pruning.budget import FLOPS, LATENCY, PARAMS, Budget, Candidate, candidates
from ..pruning.costs import Costs
from ..pruning.flops import flop_costs
from ..pruning.gates import gated, model_shape
from ..pruning.layer_search import Subset
from ..pruning.parameters import parameter_costs
from ..pruning.parent import Parent
from ..pruning.plan import Plan, StackPlan
from ..pruning.prune import prune
from ..pruning.scores import Scores
from ..pruning.shape import ModelShape
from . import latency, rounds, sublayer_times
from .batches import Batches
from .forward_passes import forward_of, median, ratios, sentences
from .losses import measure_all
from .session import Session
from .sublayer_times import Setting, Times

LATENCY_ROUNDS = 3  # of measuring a child and correcting the table
TOLERANCE = 1.05  # a child is accepted up to this multiple of the budget
Refit = Callable[[Plan], Session]  # the child of a plan, reconstructed


class Compared(NamedTuple):
    """A candidate and its quality on the data; both None where there was nothing to compare it with.

    Attributes:
        candidate: the candidate.
        loss: mean loss per example, or per token where the model has tokens as targets.
        accuracy: percent; None but for classifiers.
    """

    candidate: Candidate
    loss: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Chosen:
    """The result.

    Attributes:
        plan: the chosen plan.
        compared: the last round's candidates, those with more layers first.
        measured: for a budget of latency the ratios to the parent's time in each round.
        notes: lines on what was measured.
    """

    plan: Plan
    compared: list[Compared]
    measured: list[rounds.Spread] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Problem:
    """A parent, a budget, and what may be kept.

    Attributes:
        parent: the parent.
        budget: the budget.
        scores: scores of its heads and units.
        layers: stack -> the subsets of layers to choose from.
        min_heads: minimum number of heads that every attention keeps.
    """

    parent: Parent
    budget: Budget
    scores: Scores
    layers: Mapping[str, Sequence[Subset]]
    min_heads: int = 0

    def candidates(self, costs: Costs) -> list[Candidate]:
        """The plans for the budget by *costs*; see :func:`pruning.budget.candidates`."""
        return candidates(self.budget, self.parent.shape, costs, self.scores, self.layers, self.min_heads)


class Comparison:
    """Compares candidates by the loss on *batches*, each plan once.

    Args:
        session: the parent with its data; None if there is none, and then there must be one candidate only.
        batches: the examples.
        refit: reconstructs a child that is to be measured; None measures children as they are cut.
    """

    def __init__(self, session: Session | None, batches: Batches | None = None, refit: Refit | None = None):
        self._session, self._batches, self._refit = session, batches, refit
        self._known: dict[str, tuple[float, float | None]] = {}

    def __call__(self, found: Sequence[Candidate]) -> list[Compared]:
        """Measure the candidates *found*.

        Raises:
            LayerdropError: there are several, and no data.
        """
        if self._batches is None:
            if len(found) > 1:
                raise LayerdropError(
                    f"{len(found)} numbers of layers meet the budget, and their losses decide: give --budget-data DATA,"
                    " or say which layers to keep (--encoder-layers, --decoder-layers)"
                )
            return [Compared(candidate, None, None) for candidate in found]
        left = [one for one in found if one.plan.sha256() not in self._known]
        for candidate in tqdm(left, desc="compare", unit="candidate"):
            self._known[candidate.plan.sha256()] = self._measure(candidate.plan)
        return [Compared(candidate, *self._known[candidate.plan.sha256()]) for candidate in found]

    def _measure(self, plan: Plan) -> tuple[float, float | None]:
        if self._refit is None or not _removes(plan, self._session):
            with gated(self._session.model, plan):
                measured = measure_all(self._session, self._batches)
        else:
            measured = measure_all(self._refit(plan), self._batches)
        loss = measured.loss_per_token if self._session.per_token else measured.loss
        return loss, measured.accuracy


def _removes(plan: Plan, session: Session) -> bool:
    shape = model_shape(session.model)
    return plan.cut(shape) != shape


def choose(
    problem: Problem, compare: Comparison, session: Session | None, setting: Setting, table: str | None = None
) -> Chosen:
    """Choose the candidate with the lowest loss.

    Args:
        problem: what is to be pruned.
        compare: measures candidates.
        session: the parent with its data, for a budget of latency.
        setting: sentences that FLOPs and latencies are of, and where latencies are measured.
        table: path of the table of sublayer times, see :func:`sublayer_times.load_or_measure`.

    Raises:
        LayerdropError: the budget cannot be met, there is no data where it is needed, or the child takes longer than
            its budget of latency after LATENCY_ROUNDS corrections.
    """
    metric = problem.budget.metric
    if metric == LATENCY:
        if session is None:
            raise LayerdropError("a budget of latency runs the model: give its data with --budget-data DATA")
        with latency.threads_set(setting.threads):
            return _within_latency(problem, compare, session, setting, table)
    if metric == FLOPS:
        costs = flop_costs(problem.parent, setting.batch, setting.length)
    else:
        costs = parameter_costs(problem.parent, embeddings=metric == PARAMS)
    compared = compare(problem.candidates(costs))
    return Chosen(best(compared).candidate.plan, compared)


def best(compared: Sequence[Compared]) -> Compared:
    """The candidate with the lowest loss; of equal losses, and of candidates without one, the first."""
    losses = [math.inf if one.loss is None or not math.isfinite(one.loss) else one.loss for one in compared]
    return compared[losses.index(min(losses))]


class LatencyModel:
    """Predicts the time of a child as a share of its parent's, from the sum of its sublayers' times.

    The share is a linear function of the sum: 1 for the parent, and for the child that was measured last what was
    measured.

    Args:
        times: the table of sublayer times.
        shape: shape of the parent.
    """

    def __init__(self, times: Times, shape: ModelShape):
        self._times, self._shape = times, shape
        self._whole = self._sum(Plan())
        self._factor, self._outside = 1 / self._whole, 0.0

    def correct(self, plan: Plan, ratio: float) -> None:
        """Let the share of the child of *plan* be the measured *ratio*.

        Raises:
            LayerdropError: the child took no less time than the parent.
        """
        gone = self._whole - self._sum(plan)
        if gone <= 0 or ratio >= 1:
            raise LayerdropError(
                f"a smaller child took {ratio:.2f} of its parent's time: latencies cannot be told apart; use"
                " more or longer sentences (--batch, --length), or measure while the machine does nothing else"
            )
        self._factor = (1 - ratio) / gone
        self._outside = 1 - self._factor * self._whole

    def costs(self) -> Costs:
        """The costs, as shares of the parent's time."""
        return sublayer_times.costs_of(self._times, self._shape, self._outside, self._factor)

    def _sum(self, plan: Plan) -> float:
        return sublayer_times.costs_of(self._times, self._shape).of(plan, self._shape)


def _within_latency(
    problem: Problem, compare: Comparison, session: Session, setting: Setting, table: str | None
) -> Chosen:
    parent, share = problem.parent, float(problem.budget.share)
    whole = _child_model(session, parent, Plan(), setting.device)
    times, note = sublayer_times.load_or_measure(whole, setting, table)
    inputs = sentences(session, setting.batch, setting.length, setting.device)

    def measured(plan: Plan) -> rounds.Spread:
        models = {"parent": whole, "child": _child_model(session, parent, plan, setting.device)}
        for model in models.values():
            optimize_for_inference(model)  # as fairseq's commands do with models that they only read
        calls = {name: forward_of(session, model, inputs) for name, model in models.items()}
        return ratios(calls, setting.batch, setting.device)["child"]

    predicted = LatencyModel(times, parent.shape)
    one_layer = Plan(**{stack: StackPlan((0,)) for stack, of in parent.shape.items() if of.layers > 1})
    if one_layer != Plan():
        predicted.correct(one_layer, median(measured(one_layer)))
    found, notes = [], [note]
    for number in range(1, LATENCY_ROUNDS + 1):
        compared = compare(problem.candidates(predicted.costs()))
        chosen = best(compared).candidate
        if chosen.plan.cut(parent.shape) == parent.shape:
            return Chosen(chosen.plan, compared, found, notes)
        found.append(measured(chosen.plan))
        ratio = median(found[-1])
        accepted = ratio <= TOLERANCE * share
        verdict = "accepted" if accepted else "too slow" + (", table corrected" if number < LATENCY_ROUNDS else "")
        notes.append(
            f"latency, round {number}: {chosen.share:.3f} of the parent's time predicted,"
            f" {rounds.written(ratio, found[-1])} measured: {verdict}"
        )
        if accepted:
            return Chosen(chosen.plan, compared, found, notes)
        if number < LATENCY_ROUNDS:
            predicted.correct(chosen.plan, ratio)
    raise LayerdropError(
        f"after {LATENCY_ROUNDS} rounds the child takes {ratio:.2f} of its parent's time, more than {TOLERANCE} times"
        f" the budget of {problem.budget}: ask for more, or measure while the machine does nothing else"
    )


def _child_model(session: Session, parent: Parent, plan: Plan, device: torch.device) -> torch.nn.Module:
    """The child of *plan* on *device*; a model of its own, with the parent's classes."""
    return session.with_child(prune(parent, plan)).model.to(device)
