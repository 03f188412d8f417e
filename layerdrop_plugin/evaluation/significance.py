"""Paired tests of two measurements of the same examples, and Holm's correction for multiple tests."""

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from ..errors import LayerdropError

LEVEL = 0.05
TESTS = {
    "loss": "paired t-test of the examples' losses",
    "accuracy": "McNemar's exact test",
    "bleu": "sacrebleu's paired bootstrap over sentences",
}


def paired_t_test(differences: np.ndarray) -> float:
    """Two-sided p-value of the hypothesis that the mean of *differences* (examples,) is 0.

    With hundreds of examples the mean is close to normal for any distribution of the differences.
    """
    if len(differences) < 2 or not differences.any():
        return 1.0
    if np.ptp(differences) == 0:
        return 0.0
    return float(stats().ttest_1samp(differences, 0.0).pvalue)


def mcnemar_test(before: np.ndarray, after: np.ndarray) -> float:
    """Two-sided exact p-value of the hypothesis that as many answers become wrong as right.

    Args:
        before, after: whether each answer is correct, booleans (examples,).
    """
    broken, mended = int((before & ~after).sum()), int((~before & after).sum())
    if broken + mended == 0:
        return 1.0
    return float(stats().binomtest(broken, broken + mended).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """*p_values* of one family of tests, corrected by Holm's step-down method (Holm 1979), in the same order."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = least
    return corrected


def stats() -> ModuleType:
    """scipy.stats.

    Raises:
        LayerdropError: scipy is not installed.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise LayerdropError("tests of significance need scipy: pip install 'layerdrop_plugin[report]'") from error
    return stats
