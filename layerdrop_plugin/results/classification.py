"""The result of a sentence classifier or regressor, from what `fairseq-validate` printed.

Beside what every result has (record.py): `correct`, the number of right answers (accuracy only, else null).

Units: accuracy in percent; f1, acc_and_f1, mcc, pearson and spearman times 100, as fairseq prints them; mse in the
target's unit squared. Intervals have the metric's unit.

fairseq-validate rounds accuracy to one decimal of a percent, so `correct` = round(accuracy x examples / 100) is exact
up to 1,000 examples and off by at most examples / 2,000 beyond.
"""

import math
import os

from ..errors import LayerdropError
from ..evaluation import CLASSIFICATION_METRICS as METRICS
from ..evaluation.metrics import interval
from . import record
from .fairseq_log import FairseqLog


def score(log: str | os.PathLike, subject: record.Subject, metric: str | None = None) -> record.Result:
    """Read the log of one fairseq-validate run; return its result.

    Args:
        log: path of the captured output of `fairseq-validate --log-format json …`.
        subject: what was evaluated.
        metric: the headline, one of METRICS; by default the first of them that the log has.

    Raises:
        LayerdropError: log, checkpoint or data cannot be read, or do not belong together.
    """
    log, examples = FairseqLog(log), len(subject.split.sizes())
    log.refuse_other_checkpoint(subject.checkpoint)
    loss, metrics = read_metrics(log, log.results_of_all(subject.split.name, examples))
    headline = metric or next(known for known in METRICS if known in metrics)
    if headline not in metrics:
        raise LayerdropError(f"{log.path} reports no {headline}, only {', '.join(metrics)}")
    correct = correct_answers(metrics["accuracy"], examples) if headline == "accuracy" else None
    measured = {
        "examples": examples,
        "metric": {"name": headline, "value": metrics[headline]},
        "metrics": metrics,
        "correct": correct,
        "interval": interval(headline, metrics[headline], examples, correct),
        "loss": loss,
    }
    return record.build(subject, measured)


def read_metrics(log: FairseqLog, found: dict[str, str]) -> tuple[float, dict[str, float]]:
    """The loss as printed and the metrics in a results line *found* of *log*.

    Raises:
        LayerdropError: a number is not finite.
    """
    loss = log.number(found, "loss")
    metrics = {name: log.number(found, name) for name in METRICS if name in found}
    if "accuracy" not in metrics:
        metrics["mse"] = loss * math.log(2)  # fairseq divides the mean squared error by ln 2 as it does entropies
    return loss, metrics


def correct_answers(accuracy: float, examples: int) -> int:
    """Number of right answers behind an accuracy that was rounded to one decimal of a percent.

    Raises:
        LayerdropError: no number of right answers out of `examples` gives that accuracy.
    """
    correct = round(accuracy * examples / 100)
    # Half a step of the rounding; a little more, as fairseq computes in single precision.
    if not 0 <= correct <= examples or abs(100 * correct / examples - accuracy) > 0.0501:
        raise LayerdropError(f"an accuracy of {accuracy:g} % cannot come from {examples} examples: was the log edited?")
    return correct
