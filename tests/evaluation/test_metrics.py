"""Metrics from answers, against scikit-learn's, scipy's and sacrebleu's; intervals; the tests of differences."""

import math
import warnings

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from layerdrop_plugin.evaluation import metrics
from layerdrop_plugin.evaluation.comparison import compare
from layerdrop_plugin.evaluation.significance import TESTS, mcnemar_test, paired_t_test


def answered(names):
    """Labels and predictions among *names*."""
    pairs = st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), min_size=1, max_size=60)
    return pairs.map(lambda found: dict(zip(("label", "prediction"), map(list, zip(*found, strict=True)), strict=True)))


@settings(max_examples=25, deadline=None)
@given(answered(["0", "1"]))
def test_classifications_are_counted_as_scikit_learn_does(answers):
    columns = metrics.columns(answers)
    label, prediction = (list(map(int, answers[side])) for side in ("label", "prediction"))
    assert metrics.accuracy(columns) == pytest.approx(100 * accuracy_score(label, prediction))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no class 1 at all
        f1 = f1_score(label, prediction)
    assert metrics.f1(columns) == pytest.approx(100 * f1)
    assert metrics.mcc(columns) == pytest.approx(100 * matthews_corrcoef(label, prediction), abs=1e-9)
    assert metrics.acc_and_f1(columns) == pytest.approx((metrics.accuracy(columns) + 100 * f1) / 2)


@settings(max_examples=25, deadline=None)
@given(answered(["bad", "1", "good", "0"]))
def test_matthews_of_many_classes_is_scikit_learns(answers):
    expected = matthews_corrcoef(answers["label"], answers["prediction"])
    assert metrics.mcc(metrics.columns(answers)) == pytest.approx(100 * expected, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 40))
def test_correlations_are_scipys(seed, examples):
    draw = np.random.default_rng(seed)
    target = draw.integers(0, 5, examples).astype(float)  # with ties
    prediction = target + draw.normal(size=examples)
    if np.ptp(target) == 0:
        target[0] += 1
    columns = {"target": target, "prediction": prediction, "loss": (target - prediction) ** 2}
    assert metrics.pearson(columns) == pytest.approx(100 * stats.pearsonr(prediction, target)[0])
    assert metrics.spearman(columns) == pytest.approx(100 * stats.spearmanr(prediction, target)[0])
    assert metrics.mse(columns) == pytest.approx(np.mean((target - prediction) ** 2))


def test_answers_all_alike_are_no_correlation():
    same = {"label": ["1", "0", "1"], "prediction": ["1", "1", "1"]}
    assert metrics.mcc(metrics.columns(same)) == 0
    flat = metrics.columns({"target": [1.0, 2.0], "prediction": [0.1, 0.1]})
    assert metrics.pearson(flat) == metrics.spearman(flat) == 0


def test_intervals_are_wilsons_and_fishers():
    p, z, n = 29 / 40, stats.norm.ppf(0.975), 40
    middle, reach = (p + z * z / 2 / n), z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    expected = [100 * (middle - reach) / (1 + z * z / n), 100 * (middle + reach) / (1 + z * z / n)]
    assert metrics.interval("accuracy", 72.5, 40, 29) == pytest.approx(expected)
    low, high = metrics.interval("pearson", 80.0, 40)
    assert low < 80 < high
    assert math.atanh(high / 100) - math.atanh(low / 100) == pytest.approx(2 * z / math.sqrt(37))
    assert metrics.interval("f1", 71.2, 40) is None


def test_losses_per_token():
    columns = metrics.columns({"loss": [3.0, 1.0], "tokens": [3, 1]})
    assert metrics.nll_loss_nats(columns) == 1 and metrics.nll_loss(columns) == pytest.approx(1 / math.log(2))
    assert metrics.ppl(columns) == pytest.approx(math.e)


def test_which_metrics_a_model_has():
    assert metrics.names_of("classification", ("1", "0"))[:2] == ["accuracy", "f1"]
    for classes in (("good", "bad"), ("0", "1", "2")):  # there is no class that F1 were of
        assert metrics.names_of("classification", classes) == ["accuracy", "mcc", "loss_nats"]
    assert metrics.names_of("translation", translated=False)[0] == "nll_loss"
    names = {name for kind in metrics.BY_KIND for name in metrics.names_of(kind, ("1", "0"))}
    assert names == set(metrics.VALUES)


WORDS = ["the", "a", "cat", "dog", "sat", "on", "mat", "and", "slept", "ran", "very", "well", "today"]


def sentences(seed, count=40):
    """References, and two systems' hypotheses that miss some of their words."""
    draw = np.random.default_rng(seed)
    references = [" ".join(draw.choice(WORDS, size=draw.integers(5, 14))) for _ in range(count)]
    systems = [
        [" ".join(word for word in line.split() if draw.random() > share) for line in references]
        for share in (0.1, 0.13)
    ]  # fmt: skip
    return references, systems


@pytest.mark.parametrize("seed", range(3))
def test_bleu_from_statistics_is_sacrebleus(seed):
    references, (hypotheses, _) = sentences(seed)
    columns = metrics.columns({"hypothesis": hypotheses, "reference": references})
    expected = sacrebleu.corpus_bleu(hypotheses, [references]).score
    assert metrics.bleu(columns) == pytest.approx(expected)
    values, intervals, signatures = metrics.bleu_and_chrf(hypotheses, references)
    assert values["bleu"] == pytest.approx(expected)
    assert intervals["bleu"][0] < expected < intervals["bleu"][1] and "tok:13a" in signatures["bleu"]


def test_differences_of_bleu_are_tested_as_sacrebleu_does():
    references, systems = sentences(0)
    pair = [metrics.columns({"hypothesis": lines, "reference": references}) for lines in systems]
    found = compare("bleu", [tuple(pair)])
    test = PairedTest([*zip("ab", systems, strict=True)], {"BLEU": BLEU()}, [references], "bs", 1000)
    first, second = test()[1]["BLEU"]
    assert found.difference == pytest.approx(second.score - first.score)
    assert 0.01 < second.p_value < 0.99  # or it would say little
    assert found.p == pytest.approx(second.p_value, abs=0.05) and found.test == TESTS["bootstrap"]


def classified(seed, right, examples=200):
    """A classifier's answers of which about *right* (a share) are right, the same examples at the same seed."""
    draw = np.random.default_rng(1)
    label = draw.integers(0, 2, examples)
    easy = draw.random(examples)  # examples that are hard for one model are so for another
    chance = 0.7 * easy + 0.3 * np.random.default_rng(seed).random(examples)
    hit = chance < np.quantile(chance, right)
    prediction = np.where(hit, label, 1 - label)
    return metrics.columns(
        {"label": [*map(str, label)], "prediction": [*map(str, prediction)], "loss": np.where(hit, 0.1, 2.0).tolist()}
    )


def test_one_pair_is_tested_by_the_metrics_own_test():
    base, other = classified(2, 0.9), classified(3, 0.75)
    found = compare("accuracy", [(base, other)])
    assert found.test == TESTS["accuracy"] and found.difference == pytest.approx(-15)
    assert found.p == mcnemar_test(metrics.correct(base), metrics.correct(other)) < 0.01
    found = compare("loss_nats", [(base, other)])
    assert found.p == paired_t_test(other["loss"] - base["loss"]) and found.test == TESTS["loss"]
    for name in ("f1", "mcc"):
        found = compare(name, [(base, other)])
        assert found.test == TESTS["bootstrap"] and found.difference < 0 and found.p < 0.01
        assert compare(name, [(base, other)]) == found  # the draws are the same each time
        assert compare(name, [(base, base)])[:2] == (0.0, 1.0)


def test_seeds_are_compared_with_their_like():
    pairs = [(classified(seed, 0.8), classified(seed + 10, right)) for seed, right in ((1, 0.7), (2, 0.75), (3, 0.8))]
    found = compare("accuracy", pairs)
    assert found.difference == pytest.approx(-5) and found.test == TESTS["accuracies"]
    means = [np.mean([metrics.correct(pair[side]) for pair in pairs], axis=0) for side in (0, 1)]
    assert found.p == paired_t_test(means[1] - means[0])
    over = compare("mcc", pairs)
    assert over.difference == pytest.approx(np.mean([compare("mcc", [pair]).difference for pair in pairs]))
    assert 0 < over.p < 1
