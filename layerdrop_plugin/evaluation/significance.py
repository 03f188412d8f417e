"""Whether two measurements of the same examples differ by more than chance, and by Holm's method over many of them."""

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import LayerdropError

LEVEL = 0.05
LEAST = 5  # examples to choose on, and to test on
RESAMPLES = 1000
TESTS = {
    "loss": "paired t-test of the examples' losses",
    "accuracy": "McNemar's exact test",
    "accuracies": "paired t-test of the examples' accuracies, means over seeds",
    "bleu": "sacrebleu's paired bootstrap over sentences",
    "bootstrap": f"paired bootstrap over examples, {RESAMPLES:,} resamples",
}


def paired_t_test(differences: np.ndarray) -> float:
    """Two-sided p-value of the mean of *differences* (one per example) being 0.

    It is a test of the mean itself, which is what a change in the loss is; with hundreds of examples the mean is
    close to normal however the differences are spread.
    """
    if len(differences) < 2 or not differences.any():
        return 1.0
    if np.ptp(differences) == 0:
        return 0.0
    return float(stats().ttest_1samp(differences, 0.0).pvalue)


def mcnemar_test(before: np.ndarray, after: np.ndarray) -> float:
    """Two-sided exact p-value that as many answers turn wrong as turn right; *before* and *after* are booleans."""
    broken, mended = int((before & ~after).sum()), int((~before & after).sum())
    if broken + mended == 0:
        return 1.0
    return float(stats().binomtest(broken, broken + mended).pvalue)


def bootstrap_test(difference: Callable[[np.ndarray], float], examples: int) -> float:
    """Two-sided p-value of a *difference* being 0, by resampling the examples that it is of with replacement.

    As sacrebleu's paired bootstrap: the share of resamples whose difference is further from their mean than the real
    one is from 0 (Koehn 2004, with one added to both counts). The draws are the same in every call.

    Args:
        difference: numbers of examples, an example perhaps several times -> the difference on them.
        examples: how many there are.
    """
    real = abs(difference(np.arange(examples)))
    if real == 0:
        return 1.0
    draw = np.random.default_rng(12345)  # sacrebleu's own seed
    found = np.array([difference(draw.integers(examples, size=examples)) for _ in range(RESAMPLES)])
    return float((np.abs(found - found.mean()) > real).sum() + 1) / (RESAMPLES + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for being *p_values* of one family of tests (Holm 1979, step-down), in their order."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = least
    return corrected


def halves(count: int, seed: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Split *count* examples: what is chosen on the first half is tested on the second, or its p-value is too small.

    Returns:
        Places of the examples of each, ascending, drawn with *seed*; None if a half would have less than LEAST.
    """
    if count < 2 * LEAST:
        return None
    drawn = np.random.default_rng(seed).permutation(count)
    return np.sort(drawn[: count // 2]), np.sort(drawn[count // 2 :])


def stats():
    """scipy.stats.

    Raises:
        LayerdropError: scipy is not installed.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise LayerdropError("tests of significance need scipy: pip install 'layerdrop_plugin[report]'") from error
    return stats
