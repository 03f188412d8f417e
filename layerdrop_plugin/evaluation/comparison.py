"""Tests whether the metrics of two models on the same examples differ significantly.

    accuracy                    McNemar's exact test
    losses, mse                 paired t-test of the examples' losses
    every other metric          paired bootstrap over the examples, as sacrebleu's (significance.bootstrap_test)

If both models were trained with several seeds, they are compared seed by seed, and the difference is the mean of the
seeds' differences. Losses are averaged over the seeds for each example, and the paired t-test is of these means.
Accuracy is then tested in the same way, from the share of seeds that answer an example correctly. The bootstrap draws
the same examples for all seeds. The p-values therefore account for the choice of examples, not for the choice of seeds.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from . import metrics
from .metrics import Columns
from .significance import RESAMPLES, TESTS, bootstrap_test, mcnemar_test, paired_t_test

# metric -> the value of each example (examples,) whose mean is the metric, up to a constant factor
PER_EXAMPLE: dict[str, Callable[[Columns], np.ndarray]] = {
    "accuracy": metrics.correct,
    **dict.fromkeys(("loss_nats", "mse", "nll_loss", "nll_loss_nats"), lambda answers: answers["loss"]),
}
NOT_COMPARED = ("ppl",)  # it is a function of nll_loss


class Comparison(NamedTuple):
    """Result of a test.

    Attributes:
        difference: metric of the second model minus that of the first, in the metric's unit.
        p: two-sided p-value.
        test: name of the test.
    """

    difference: float
    p: float
    test: str


def compare(metric: str, pairs: Sequence[tuple[Columns, Columns]], resamples: int = RESAMPLES) -> Comparison:
    """Compare two models by *metric*.

    Args:
        metric: a key of ``metrics.VALUES``.
        pairs: for each seed, the answers of the first and of the second model to the same examples, as
            :func:`metrics.columns` returns them.
        resamples: number of resamples, for metrics that are tested by a bootstrap.
    """
    value = metrics.VALUES[metric]
    difference = float(np.mean([value(other) - value(base) for base, other in pairs]))
    if metric not in PER_EXAMPLE:

        def resampled(chosen: np.ndarray) -> float:
            drawn = (({name: column[chosen] for name, column in side.items()} for side in pair) for pair in pairs)
            return float(np.mean([value(other) - value(base) for base, other in drawn]))

        examples = len(next(iter(pairs[0][0].values())))
        return Comparison(difference, bootstrap_test(resampled, examples, resamples), TESTS["bootstrap"])
    base, other = ([PER_EXAMPLE[metric](side) for side in sides] for sides in zip(*pairs, strict=True))
    if metric == "accuracy" and len(pairs) == 1:
        return Comparison(difference, mcnemar_test(base[0], other[0]), TESTS["accuracy"])
    p_value = paired_t_test(np.mean(other, axis=0) - np.mean(base, axis=0))
    return Comparison(difference, p_value, TESTS["accuracies" if metric == "accuracy" else "loss"])
