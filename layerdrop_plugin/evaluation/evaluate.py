"""Evaluate checkpoints on the same examples: metrics, answers, and each checkpoint compared with the first."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor
from tqdm import tqdm

from ..errors import LayerdropError
from . import metrics
from .comparison import NOT_COMPARED, compare
from .losses import Measured, in_order, measure, numbers_of
from .metrics import Answers
from .session import Session

LOSS_DIGITS = 6  # decimals of the losses in the answers


class Evaluated(NamedTuple):
    """Result of :func:`evaluate`.

    Attributes:
        kind: kind of model, see :class:`Session`.
        classes: names of the classes in the model's order; empty for other models than classifiers.
        answers: answers to the examples, see metrics.py.
        metrics: name -> value, see metrics.py.
        sampled: whether only some of the subset's examples were drawn.
        skipped: number of examples of the subset that are too long and were left out.
        sha256: SHA-256 of the examples' indices and targets as the model's task reads them, masks included. It is equal
            for two models that were evaluated on the same examples with the same targets.
        beam: beam size of the translations; None without translations.
        references_from: origin of the references, see translations.Examples; None without translations.
    """

    kind: str
    classes: tuple[str, ...]
    answers: Answers
    metrics: dict[str, float]
    sampled: bool
    skipped: int
    sha256: str
    beam: int | None = None
    references_from: str | None = None


def evaluate(session: Session, subset: str, max_examples: int | None = None, beam: int | None = None) -> Evaluated:
    """Evaluate the session's model on *subset*.

    Args:
        max_examples: maximum number of examples, drawn with the session's seed; None is all.
        beam: also translate with this beam size; for translation models only.

    Raises:
        LayerdropError: as :meth:`Session.batches`, or a metric is not finite.
    """
    measured, numbers, digest = _measured(session, subset, max_examples)
    classes = classes_of(session)
    answers: Answers = {"example": numbers, **_answers(measured, classes)}
    origin = None
    if beam:
        sentences, origin = _translations(session, subset, np.array(numbers), beam)
        answers |= sentences
    columns = metrics.columns(answers) | {"loss": measured.losses}  # not rounded
    names = metrics.names_of(session.kind, classes, translated=bool(beam))
    values = {name: metrics.VALUES[name](columns) for name in names}
    for name, value in values.items():
        if not math.isfinite(value):
            raise LayerdropError(f"{session.path}: {name} is {value} on '{subset}': did the model diverge?")
    skipped = session.left_out(subset)
    sampled = len(numbers) + skipped < len(session.dataset(subset))
    return Evaluated(session.kind, classes, answers, values, sampled, skipped, digest, beam, origin)


def headline(session: Session, metric: str | None, translated: bool) -> str:
    """The name of the headline metric of the session's model.

    Args:
        metric: the metric to use; None selects the first that fits the model.
        translated: whether there are translations to compute BLEU from.

    Raises:
        LayerdropError: *metric* does not fit the model.
    """
    known = metrics.names_of(session.kind, classes_of(session), translated)
    names = [name for name in known if name in metrics.HEADLINES]
    if metric in (None, *names):
        return metric or names[0]
    why = ""
    if metric in metrics.BINARY and session.kind == "classification":
        why = f": that is of two classes, one of them named {metrics.POSITIVE}"
    raise LayerdropError(f"{session.path} is not measured by {metric}{why}; choose {', '.join(names)}")


def classes_of(session: Session) -> tuple[str, ...]:
    """Names of a classifier's classes, in the model's order; empty for other models."""
    if session.kind != "classification":
        return ()
    words = session.task.label_dictionary
    return tuple(words[words.nspecial + number] for number in range(session.cfg["task"]["num_classes"]))


def refuse_other_model(session: Session, first: Evaluated, path: str | Path) -> None:
    """Raise LayerdropError if the session's model differs in kind or classes from *first*, the evaluation of *path*."""
    if session.kind != first.kind:
        raise LayerdropError(f"{session.path} is for {session.kind}, {path} for {first.kind}: evaluate them apart")
    classes = classes_of(session)
    if classes != first.classes:
        counts = f"{session.path} has {len(classes)} classes, {path} has {len(first.classes)}"
        raise LayerdropError(f"{counts}: evaluate them apart")


def refuse_other_examples(path: str | Path, evaluated: Evaluated, first_path: str | Path, first: Evaluated) -> None:
    """Raise LayerdropError if two models had different examples or targets, so that paired tests are impossible."""
    if evaluated.sha256 != first.sha256:
        counts = [len(model.answers["example"]) for model in (evaluated, first)]
        how = f"{counts[0]} and {counts[1]} examples" if counts[0] != counts[1] else "other targets or masks"
        raise LayerdropError(
            f"{path} and {first_path} read the data differently ({how}): their tasks' options or the lengths that they"
            " can read differ; evaluate them apart"
        )


def compare_with_first(models: Sequence[Evaluated]) -> list[dict[str, dict]]:
    """Compare each of *models* with the first one.

    Returns:
        For each model but the first: metric -> ``difference``, ``p`` and ``test``, see :class:`comparison.Comparison`.
    """
    base, *others = (metrics.columns(model.answers) for model in models)
    names = [name for name in models[0].metrics if name not in NOT_COMPARED]
    rows = tqdm(others, desc="compare", unit="model", disable=not others)
    return [{name: compare(name, [(base, other)])._asdict() for name in names} for other in rows]


def _measured(session: Session, subset: str, max_examples: int | None) -> tuple[Measured, list[int], str]:
    """Measurements of the examples, their indices (ascending), and the SHA-256 of their indices and targets."""
    parts, seen, targets = [], [], {}
    padding = session.task.target_dictionary.pad() if session.per_token else None
    for sample in tqdm(session.batches(subset, max_examples), desc=f"evaluate {session.path}", unit="batch"):
        parts.append(measure(session, sample))
        seen.append(numbers_of(sample))
        for number, target in zip(seen[-1].tolist(), sample["target"].cpu(), strict=True):
            targets[number] = _without_padding(target, padding)
    digest = hashlib.sha256()
    for number in sorted(targets):
        digest.update(f"{number} {targets[number]}\n".encode())
    return in_order(seen, parts), sorted(targets), digest.hexdigest()


def _without_padding(target: Tensor, padding: int | None) -> list:
    """A *target* (tokens,) as a list, without *padding* at both ends, as its length depends on the batch."""
    target = target.view(-1)
    if padding is not None:
        places = target.ne(padding).nonzero().view(-1)
        target = target[int(places[0]) : int(places[-1]) + 1] if len(places) else target[:0]
    return target.tolist()


def _answers(measured: Measured, classes: Sequence[str]) -> Answers:
    losses = np.round(measured.losses, LOSS_DIGITS).tolist()
    if classes:
        sides = {"label": measured.targets, "prediction": measured.predictions}
        return {side: [classes[number] for number in numbers] for side, numbers in sides.items()} | {"loss": losses}
    if measured.predictions is not None:
        return {"target": measured.targets.tolist(), "prediction": measured.predictions.tolist(), "loss": losses}
    return {"loss": losses, "tokens": measured.tokens.tolist()}


def _translations(session: Session, subset: str, numbers: np.ndarray, beam: int) -> tuple[Answers, str]:
    from . import translations  # needs sacrebleu

    examples = translations.examples(session, subset, numbers)
    progress = tqdm(examples.batches, desc=f"translate {session.path}", unit="batch")
    hypotheses = translations.translator(session, progress, beam)()
    return {"hypothesis": hypotheses, "reference": examples.references}, examples.origin
