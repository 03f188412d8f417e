"""Paired tests of two measurements on the same examples, and Holm's correction for multiple tests."""

from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np

from ..errors import LayerdropError

LEVEL = 0.05  # level of significance
LEAST = 5  # minimum number of examples in each half, see halves
RESAMPLES = 1000
BOOTSTRAP_SEED = 12345  # sacrebleu's
TESTS = {
    "loss": "paired t-test of the examples' losses",
    "accuracy": "McNemar's exact test",
    "accuracies": "paired t-test of the examples' accuracies, means over seeds",
    "bleu": "paired bootstrap over sentences",
    "bootstrap": f"paired bootstrap over examples, {RESAMPLES:,} resamples",
}


def paired_t_test(differences: np.ndarray) -> float:
    """Two-sided p-value of the hypothesis that the mean of *differences* (examples,) is 0.

    With hundreds of examples the mean is close to normal for any distribution of the differences.

    Raises:
        LayerdropError: scipy is not installed.
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

    Raises:
        LayerdropError: scipy is not installed.
    """
    broken, mended = int((before & ~after).sum()), int((~before & after).sum())
    if broken + mended == 0:
        return 1.0
    return float(stats().binomtest(broken, broken + mended).pvalue)


def bootstrap_test(difference: Callable[[np.ndarray], float], examples: int, resamples: int = RESAMPLES) -> float:
    """Two-sided p-value of the hypothesis that a *difference* is 0, by resampling examples with replacement.

    As in sacrebleu's paired bootstrap, the p-value is the share of resamples whose difference is further from the mean
    of the resamples than the observed difference is from 0 (Koehn 2004, with one added to both counts). The resamples
    are the same in every call.

    Args:
        difference: computes the difference on the examples with the given indices, which may repeat.
        examples: number of examples.
        resamples: number of resamples; no p-value is smaller than 1 / (resamples + 1).
    """
    observed = abs(difference(np.arange(examples)))
    if observed == 0:
        return 1.0
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    resampled = np.array([difference(generator.integers(examples, size=examples)) for _ in range(resamples)])
    return float((np.abs(resampled - resampled.mean()) > observed).sum() + 1) / (resamples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the *p_values* of one family of tests by Holm's step-down method (Holm 1979); the order is kept."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = least
    return corrected


def halves(count: int, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Split *count* examples at random, to select on one half and to test on the other without selection bias.

    Returns:
        Ascending positions of the examples in each half, drawn with *seed*; None if a half would have fewer than LEAST.
    """
    if count < 2 * LEAST:
        return None
    drawn = np.random.default_rng(seed).permutation(count)
    return np.sort(drawn[: count // 2]), np.sort(drawn[count // 2 :])


def stats() -> ModuleType:
    """The module ``scipy.stats``.

    Raises:
        LayerdropError: scipy is not installed.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise LayerdropError("tests of significance need scipy: pip install 'layerdrop_plugin[report]'") from error
    return stats
