"""Whether a model's metric differs from another's on the same examples by more than chance.

    accuracy                    McNemar's exact test
    losses, mse                 paired t-test of the examples' losses
    every other metric          paired bootstrap over the examples, as sacrebleu's (significance.bootstrap_test)

Several seeds of both models are compared seed by seed: the difference is the mean of the seeds' differences. What an
example lost (or whether its answer was right) is averaged over the seeds, and the paired t-test is of these means, of
accuracies too; the bootstrap draws the same examples for all seeds. So the test speaks of the choice of the examples,
not of the choice of the seeds.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from . import metrics
from .metrics import Columns
from .significance import RESAMPLES, TESTS, bootstrap_test, mcnemar_test, paired_t_test

# metric -> what it is the mean of, up to a factor
PER_EXAMPLE: dict[str, Callable[[Columns], np.ndarray]] = {
    "accuracy": metrics.correct,
    **dict.fromkeys(("loss_nats", "mse", "nll_loss", "nll_loss_nats"), lambda answers: answers["loss"]),
}
NOT_COMPARED = ("ppl",)  # it is a function of nll_loss


class Comparison(NamedTuple):
    """A model's metric minus another's, in the metric's unit, the two-sided p-value and the name of the test."""

    difference: float
    p: float
    test: str


def compare(metric: str, pairs: Sequence[tuple[Columns, Columns]], resamples: int = RESAMPLES) -> Comparison:
    """Compare the second of each of *pairs* (one a seed) with the first, which answered the same examples.

    Args:
        resamples: of a bootstrap.
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
