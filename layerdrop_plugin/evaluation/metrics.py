"""Metrics and their confidence intervals, as pure functions of a model's answers to the examples.

*Answers* are a dictionary of lists with one entry for each example, as evaluate.json and result files hold them:

    example                 index in the split
    label, prediction       classification: names of the correct and of the predicted class
    target, prediction      regression: numbers, or lists of numbers if the model has several outputs
    loss                    nats, summed over the example's tokens; for regression the squared error
    tokens                  language models, translation: number of target tokens
    hypothesis, reference   translation: sentences

Units: accuracy in percent; f1, mcc, pearson, spearman and their means times 100, as fairseq prints them; mse in the
target's unit squared; loss_nats in nats per example, nll_loss_nats in nats and nll_loss in bits per target token; bleu
from 0 to 100. If all predictions or all targets are equal, mcc, pearson and spearman are 0; fairseq prints nan for
pearson and spearman.
"""

import json
import math
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np

from ..errors import LayerdropError
from . import CLASSIFICATION_METRICS
from .significance import RESAMPLES, stats

CONFIDENCE = 0.95
POSITIVE = "1"  # name of the positive class of F1, as in fairseq
# Metrics that can be a headline, in the order of preference.
HEADLINES = (*CLASSIFICATION_METRICS, "bleu", "nll_loss")

Answers = dict[str, list]
Columns = dict[str, np.ndarray]


def columns(answers: Answers) -> Columns:
    """Convert *answers* to arrays, which the metrics are computed from.

    Returns:
        ``loss``, ``tokens``, ``target`` and ``prediction`` (examples,); for classification ``label`` and ``prediction``
        as integers, POSITIVE as 1; for translation ``bleu`` (examples, 10), see :func:`bleu_statistics`.
    """
    found = {name: np.array(answers[name]) for name in ("loss", "tokens", "target") if name in answers}
    if "label" in answers:
        others = sorted({*answers["label"], *answers["prediction"]} - {POSITIVE})
        codes = {name: number + (number > 0) for number, name in enumerate(others)} | {POSITIVE: 1}
        found |= {side: np.array([codes[name] for name in answers[side]]) for side in ("label", "prediction")}
    elif "prediction" in answers:
        found["prediction"] = np.array(answers["prediction"])
    if "hypothesis" in answers:
        found["bleu"] = bleu_statistics(answers["hypothesis"], answers["reference"])
    return found


def correct(answers: Columns) -> np.ndarray:
    """Whether each predicted class is correct: booleans (examples,)."""
    return answers["label"] == answers["prediction"]


def accuracy(answers: Columns) -> float:
    """Accuracy in percent."""
    right = correct(answers)
    return 100 * int(right.sum()) / len(right)


def f1(answers: Columns) -> float:
    """F1 of the class POSITIVE times 100, for two classes.

    Computed from counts, as a bootstrap calls it thousands of times and scikit-learn takes 2 ms for a call.
    """
    told, found = answers["label"] == 1, answers["prediction"] == 1
    either = int(told.sum() + found.sum())
    return 100 * 2 * int((told & found).sum()) / either if either else 0.0


def mcc(answers: Columns) -> float:
    """Matthews' correlation coefficient times 100, for two or more classes (Gorodkin 2004), computed from counts."""
    label, prediction = answers["label"], answers["prediction"]
    classes = int(max(label.max(), prediction.max())) + 1
    told, found = (np.bincount(side, minlength=classes).astype(float) for side in (label, prediction))
    count, right = float(len(label)), float((label == prediction).sum())
    spread = (count**2 - told @ told) * (count**2 - found @ found)
    return 100 * float((right * count - told @ found) / math.sqrt(spread)) if spread > 0 else 0.0


def pearson(answers: Columns) -> float:
    """Pearson's correlation of predictions and targets, times 100."""
    return 100 * _correlation(stats().pearsonr, answers)


def spearman(answers: Columns) -> float:
    """Spearman's rank correlation of predictions and targets, times 100; equal values have their mean rank."""
    return 100 * _correlation(stats().spearmanr, answers)


def mse(answers: Columns) -> float:
    """Mean squared error over all targets."""
    return float(answers["loss"].sum() / answers["target"].size)


def loss_nats(answers: Columns) -> float:
    """Mean loss in nats per example."""
    return float(answers["loss"].mean())


def nll_loss_nats(answers: Columns) -> float:
    """Mean loss in nats per target token."""
    return float(answers["loss"].sum() / answers["tokens"].sum())


def nll_loss(answers: Columns) -> float:
    """Mean loss in bits per target token."""
    return nll_loss_nats(answers) / math.log(2)


def ppl(answers: Columns) -> float:
    """Perplexity per target token; infinite if it overflows double precision."""
    return float(np.exp(nll_loss_nats(answers)))


def bleu(answers: Columns) -> float:
    """sacrebleu's corpus BLEU from the statistics of the sentences."""
    lengths, matches = np.split(answers["bleu"].sum(0), [2])
    counts, totals = np.split(matches, 2)
    made, wanted = map(int, lengths)
    return float(sacrebleu_metrics().BLEU.compute_bleu(counts.tolist(), totals.tolist(), made, wanted, "exp").score)


def acc_and_f1(answers: Columns) -> float:
    """Mean of accuracy and F1."""
    return (accuracy(answers) + f1(answers)) / 2


def pearson_and_spearman(answers: Columns) -> float:
    """Mean of the two correlations."""
    return (pearson(answers) + spearman(answers)) / 2


VALUES: dict[str, Callable[[Columns], float]] = {
    function.__name__: function
    for function in (
        *(accuracy, f1, mcc, acc_and_f1, loss_nats, pearson, spearman, pearson_and_spearman, mse),
        *(bleu, nll_loss, nll_loss_nats, ppl),
    )
}
# kind of model -> its metrics, the headline first. Those in BINARY need two classes, one of them named POSITIVE.
BY_KIND = {
    "classification": ("accuracy", "f1", "mcc", "acc_and_f1", "loss_nats"),
    "regression": ("pearson", "spearman", "pearson_and_spearman", "mse"),
    "masked_lm": ("nll_loss", "nll_loss_nats", "ppl"),
    "language_modeling": ("nll_loss", "nll_loss_nats", "ppl"),
    "translation": ("bleu", "nll_loss", "nll_loss_nats", "ppl"),
}
BINARY = ("f1", "acc_and_f1")


def names_of(kind: str, classes: Sequence[str] = (), translated: bool = True) -> list[str]:
    """Names of the metrics of a model, the headline first.

    Args:
        kind: kind of model, a key of BY_KIND.
        classes: names of a classifier's classes.
        translated: whether there are translations; BLEU is left out otherwise.
    """
    binary = len(classes) == 2 and POSITIVE in classes
    return [
        name for name in BY_KIND[kind] if (binary or name not in BINARY) and (translated or name != "bleu")
    ]  # fmt: skip


def interval(metric: str, value: float, examples: int, right: int | None = None) -> list[float] | None:
    """95 % confidence interval of a metric, which accounts for the choice of test examples.

    Args:
        metric: name of the metric.
        value: its value, in the unit of this module.
        examples: number of test examples.
        right: number of correct answers; needed for accuracy only.

    Returns:
        [low, high]: Wilson's interval for accuracy, Fisher's z-transform for a Pearson correlation; None for other
        metrics, and for correlations of 1 or of 3 examples at most.

    Raises:
        LayerdropError: scipy is not installed.
    """
    if metric == "accuracy":
        found = stats().binomtest(right, examples).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
        return [100 * float(found.low), 100 * float(found.high)]
    if metric == "pearson" and examples > 3 and abs(value) < 100:
        reach = stats().norm.ppf((1 + CONFIDENCE) / 2) / math.sqrt(examples - 3)
        middle = math.atanh(value / 100)
        return [100 * math.tanh(middle - reach), 100 * math.tanh(middle + reach)]
    return None


def bleu_and_chrf(hypotheses: list[str], references: list[str]) -> tuple[dict, dict, dict]:
    """Compute sacrebleu's BLEU and chrF, from 0 to 100.

    Returns:
        Three dictionaries with the keys ``bleu`` and ``chrf``: the values; their 95 % intervals [low, high] by
        sacrebleu's bootstrap over sentences, None if sacrebleu gives none (for a score of 0); sacrebleu's signatures.

    Raises:
        LayerdropError: sacrebleu is not installed.
    """
    values, intervals, signatures = {}, {}, {}
    for name, metric in (("bleu", sacrebleu_metrics().BLEU()), ("chrf", sacrebleu_metrics().CHRF())):
        found = metric.corpus_score(hypotheses, [references], n_bootstrap=RESAMPLES)
        signatures[name] = str(metric.get_signature())
        told = json.loads(found.format(width=6, is_json=True, signature=signatures[name]))
        values[name] = float(found.score)
        intervals[name] = None
        if "confidence_mean" in told:
            middle, reach = told["confidence_mean"], told["confidence_var"]
            intervals[name] = [middle - reach, middle + reach]
    return values, intervals, signatures


def bleu_statistics(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """The counts of each sentence from which corpus BLEU is computed, by summing them over sentences.

    Returns:
        (sentences, 10): length of the hypothesis, length of the reference, number of matching n-grams and number of
        n-grams in the hypothesis for n from 1 to 4.
    """
    scorer = sacrebleu_metrics().BLEU(
        effective_order=True
    )  # sacrebleu warns otherwise for single sentences; the counts are the same
    found = [scorer.sentence_score(made, [wanted]) for made, wanted in zip(hypotheses, references, strict=True)]
    return np.array([[score.sys_len, score.ref_len, *score.counts, *score.totals] for score in found])


def _correlation(correlate: Callable, answers: Columns) -> float:
    first, second = (answers[side].ravel() for side in ("prediction", "target"))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(correlate(first, second).statistic)


def sacrebleu_metrics() -> ModuleType:
    """The module ``sacrebleu.metrics``.

    Raises:
        LayerdropError: sacrebleu is not installed.
    """
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise LayerdropError("BLEU needs sacrebleu: pip install 'layerdrop_plugin[report]'") from error
    return metrics
