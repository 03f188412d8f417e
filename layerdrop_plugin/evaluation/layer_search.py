"""Search on data for the layers of a stack to keep: compare subsets of the layers by loss or accuracy.

The sums over the batches are saved after each batch, so that a search goes on where it was interrupted. For some of the
batches a subset is also run by itself: its losses must be the same, and its time tells what sharing saves.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from ..errors import LayerdropError
from ..pruning.gates import model_shape
from ..pruning.layer_search import BEAM, METHODS, Subset, check_keep, every_other, layer_evaluations, search, work
from .batches import Batches
from .losses import Measured, in_order, numbers_of
from .search_state import SearchState
from .session import Session
from .shared_prefixes import measure_alone, measure_subsets

KINDS = {
    "loss": None,
    "accuracy": ("classification",),
    "bleu": ("translation",),
}  # metric -> kinds of models that have it
TIMED = 10  # number of batches of each stage for which a subset is also run by itself
PERCENT = "{l_bar}{bar}| [{elapsed}<{remaining}{postfix}]"  # of tqdm: its unit, layers x tokens, tells nobody anything


@dataclass(frozen=True)
class Question:
    """What is searched.

    Attributes:
        stack: ``encoder`` or ``decoder``.
        layers, keep: number of its layers, and of those to keep.
        method: one of METHODS.
        beam: number of subsets of each size that the method ``beam`` keeps.
        metric: a key of KINDS; for ``bleu`` subsets are compared by loss, and the best of them again by BLEU.
    """

    stack: str
    layers: int
    keep: int
    method: str = METHODS[0]
    beam: int = BEAM
    metric: str = "loss"

    @property
    def width(self) -> int | None:
        """``width`` of :func:`search`."""
        return {"exhaustive": None, "greedy": 1, "beam": self.beam}[self.method]

    @property
    def compared_by(self) -> str:
        """The metric that all subsets are compared by: ``loss`` or ``accuracy``."""
        return "accuracy" if self.metric == "accuracy" else "loss"


@dataclass(frozen=True)
class Compared:
    """The sums of the subsets of one size.

    Attributes:
        candidates: the subsets that the search compares.
        subsets: the same and, if it is not among them, :func:`every_other`.
        stage: their sums, see search_state.py, in the order of ``subsets``.
    """

    candidates: list[Subset]
    subsets: list[Subset]
    stage: dict[str, Any]

    @cached_property
    def _places(self) -> dict[Subset, int]:
        return {subset: place for place, subset in enumerate(self.subsets)}

    def values(self, subset: Subset, per_token: bool) -> dict[str, float | None]:
        """``loss`` (mean per token or example) and ``accuracy`` (percent; None but for classifiers) of *subset*."""
        place, correct = self._places[subset], self.stage["correct"]
        loss = self.stage["losses"][place] / self.stage["tokens" if per_token else "examples"]
        return {"loss": loss, "accuracy": None if correct is None else 100 * correct[place] / self.stage["examples"]}

    def ranked(self, metric: str) -> list[Subset]:
        """The candidates, the best by *metric* first; of equal accuracy the one with the lower loss."""
        losses, correct = self.stage["losses"], self.stage["correct"]

        def key(entry: tuple[int, Subset]) -> tuple:
            place, subset = entry
            loss = losses[place] if math.isfinite(losses[place]) else math.inf
            return (-correct[place] if metric == "accuracy" else 0, loss, subset)

        ranked = [subset for _, subset in sorted(enumerate(self.subsets), key=key)]
        if len(self.candidates) == len(self.subsets):
            return ranked
        candidates = set(self.candidates)
        return [subset for subset in ranked if subset in candidates]


def question(session: Session, stack: str | None, keep: int, method: str, beam: int, metric: str) -> Question:
    """The question that a command's options ask about the session's model.

    Raises:
        LayerdropError: the model has no such stack, number of layers or metric.
    """
    shapes = dict(model_shape(session.model).items())
    if stack is None and len(shapes) > 1:
        raise LayerdropError(f"{session.path} has an encoder and a decoder: say --stack encoder or --stack decoder")
    stack = stack or next(iter(shapes))
    if stack not in shapes:
        raise LayerdropError(f"{session.path} has no {stack}: leave out --stack {stack}")
    check_keep(keep, shapes[stack].layers, stack)
    if KINDS[metric] is not None and session.kind not in KINDS[metric]:
        kind = session.kind.replace("_", " ")
        raise LayerdropError(f"--metric {metric}: {session.path} is for {kind}, which has no {metric}; use loss")
    return Question(stack, shapes[stack].layers, keep, method, beam, metric)


def run(session: Session, batches: Batches, asked: Question, state: SearchState) -> dict[int, Compared]:
    """Run the search, continuing from *state*, which is extended.

    Returns:
        number of layers kept -> the comparison of the subsets of this size, the whole model's size first.

    Raises:
        LayerdropError: the whole model's loss is not finite.
    """
    bounds, tokens = _work(asked), batches.tokens()
    found: dict[int, Compared] = {}
    progress = tqdm(
        total=sum(evaluations for _, evaluations in bounds.values()) * sum(tokens),
        initial=sum(stage["evaluations"] * sum(tokens[: stage["batches"]]) for stage in state.stages),
        desc=f"search {asked.method}",
        bar_format=PERCENT,
    )

    def rank(candidates: list[Subset]) -> list[Subset]:
        size = len(candidates[0])
        other = every_other(asked.layers, size)
        subsets = candidates if other in set(candidates) else [*candidates, other]
        stage = state.stage(size, len(subsets))
        stage["evaluations"] = layer_evaluations(subsets)
        progress.total += (stage["evaluations"] - bounds[size][1]) * sum(tokens)
        progress.set_postfix_str(f"{len(subsets):,} x {size} of {asked.layers} layers")
        found[size] = Compared(candidates, subsets, stage)

        def after(number: int) -> None:
            state.save()
            progress.update(stage["evaluations"] * tokens[number])

        _compare(session, batches, asked, found[size], after)
        return found[size].ranked(asked.compared_by)

    with progress:
        (whole,) = rank([tuple(range(asked.layers))])
        if not math.isfinite(found[asked.layers].values(whole, session.per_token)["loss"]):
            raise LayerdropError(f"{session.path}: the whole model's loss is not finite: did the model diverge?")
        search(asked.layers, asked.keep, asked.width, rank)
    return found


def _compare(session: Session, batches: Batches, asked: Question, compared: Compared, after: Callable) -> None:
    """Add to the sums of a stage those of the batches that are not done yet; *after* is called after each of them."""
    subsets, stage = compared.subsets, compared.stage
    other = every_other(asked.layers, stage["size"])
    timed = range(0, len(batches), max(1, len(batches) // TIMED)) if len(subsets) > 1 else ()
    for number, sample in itertools.islice(enumerate(batches), stage["batches"], None):
        seconds, found = _timed(lambda sample=sample: measure_subsets(session, sample, asked.stack, subsets))
        if number in timed:
            alone, expected = _timed(lambda sample=sample: measure_alone(session, sample, asked.stack, other))
            _check_equal(found[other], expected, asked)
            stage["timed"]["shared"] += seconds
            stage["timed"]["alone"] += len(subsets) * alone
        _add(stage, [found[subset] for subset in subsets])
        after(number)


def _add(stage: dict, found: Sequence[Measured]) -> None:
    """Add the measurements of a batch, one for each subset, to the sums of *stage*."""
    stage["losses"] = (np.array(stage["losses"]) + [measured.losses.sum() for measured in found]).tolist()
    if found[0].correct is not None:
        correct = [int(measured.correct.sum()) for measured in found]
        stage["correct"] = (np.array(stage["correct"] or [0] * len(found)) + correct).tolist()
    stage["tokens"] += int(found[0].tokens.sum())
    stage["examples"] += len(found[0].losses)
    stage["batches"] += 1


def _check_equal(found: Measured, expected: Measured, asked: Question) -> None:
    if not np.allclose(found.losses, expected.losses, rtol=1e-4, atol=1e-4, equal_nan=True):
        raise LayerdropError(
            f"the layers of this model's {asked.stack} cannot be run one by one: their losses are not the model's;"
            " please report it"
        )


def _timed(compute: Callable[[], Any]) -> tuple[float, Any]:
    """The seconds that *compute* takes, and its result."""
    start = time.perf_counter()
    result = compute()
    return time.perf_counter() - start, result


def measure_on(session: Session, batches: Batches, stack: str, subsets: Iterable[Subset]) -> dict[Subset, Measured]:
    """Measure the examples of *batches* with each of *subsets*, of any sizes, as the only layers of *stack*.

    Returns:
        subset -> measurements of the examples, in the order of their indices.
    """
    by_size: dict[int, set[Subset]] = {}
    for subset in subsets:
        by_size.setdefault(len(subset), set()).add(subset)
    numbers: list[np.ndarray] = []
    parts: dict[Subset, list[Measured]] = {}
    for sample in tqdm(batches, desc="test", unit="batch"):
        numbers.append(numbers_of(sample))
        for same_size in by_size.values():
            for subset, measured in measure_subsets(session, sample, stack, same_size).items():
                parts.setdefault(subset, []).append(measured)
    return {subset: in_order(numbers, measured) for subset, measured in parts.items()}


class Costs(NamedTuple):
    """Predicted minutes on all batches.

    Attributes:
        layer: of one layer.
        subset: of what runs for each subset beside its layers: embeddings, output layer, an encoder's decoder.
    """

    layer: float
    subset: float

    def minutes(self, asked: Question) -> float:
        """Of a whole search."""
        counts = _work(asked).values()
        return sum(subsets * self.subset + evaluations * self.layer for subsets, evaluations in counts)


def costs(session: Session, batches: Batches, asked: Question) -> Costs:
    """Predict the costs of a search from the times of the middle one of *batches*."""
    tokens, middle = batches.tokens(), len(batches) // 2
    sample = next(itertools.islice(batches, middle, None))
    single = [(layer,) for layer in range(asked.layers)]
    whole = tuple(range(asked.layers))
    measure_alone(session, sample, asked.stack, whole)  # packs the weights
    of_whole, _ = _timed(lambda: measure_alone(session, sample, asked.stack, whole))
    of_first, _ = _timed(lambda: measure_alone(session, sample, asked.stack, single[0]))
    of_one, _ = _timed(lambda: measure_subsets(session, sample, asked.stack, single[:1]))
    of_all, _ = _timed(lambda: measure_subsets(session, sample, asked.stack, single))
    layer = max(0.0, of_whole - of_first) / (asked.layers - 1)
    subset = max(0.0, (of_all - of_one) / (asked.layers - 1) - layer)
    batches_alike = sum(tokens) / tokens[middle]
    return Costs(layer * batches_alike / 60, subset * batches_alike / 60)


def refuse_long(predicted: Costs, asked: Question, most: float) -> None:
    """Raise LayerdropError if a search takes more than *most* minutes by its *predicted* costs."""
    minutes = predicted.minutes(asked)
    if minutes <= most:
        return
    instead = {
        method: predicted.minutes(replace(asked, method=method))
        for method in ("beam", "greedy")
        if predicted.minutes(replace(asked, method=method)) < minutes and method != asked.method
    }
    shorter = [f"--method {method} (about {duration(of)})" for method, of in instead.items()]
    others = ", ".join([*shorter, "fewer --max-examples, or a larger --max-minutes"])
    subsets = sum(subsets for subsets, _ in work(asked.layers, asked.keep, asked.width).values())
    raise LayerdropError(
        f"comparing {subsets:,} subsets of the {asked.stack}'s {asked.layers} layers would take about"
        f" {duration(minutes)} here, more than --max-minutes {most:g}: use {others}"
    )


def duration(minutes: float) -> str:
    """*minutes* in words: "40 s", "12 minutes", "30 hours" or "2,000 days"."""
    for unit, size in (("days", 2 * 24 * 60), ("hours", 2 * 60), ("minutes", 2)):
        if minutes >= size:
            return f"{minutes / {'days': 1440, 'hours': 60, 'minutes': 1}[unit]:,.0f} {unit}"
    return f"{max(1, math.ceil(minutes * 60))} s"


def _work(asked: Question) -> dict[int, tuple[int, int]]:
    """:func:`work`, and of the whole model and, where they may not be among the subsets, of :func:`every_other`."""
    extra = asked.width is not None
    found = {
        size: (subsets + extra, evaluations + size * extra)
        for size, (subsets, evaluations) in work(asked.layers, asked.keep, asked.width).items()
    }
    return {asked.layers: (1, asked.layers)} | found
