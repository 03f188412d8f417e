"""Tests of significance against examples worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerdrop_plugin.evaluation.significance import holm, mcnemar_test, paired_t_test

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def test_holm_by_hand():
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, 1 x 0.04, none less than the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@given(P_VALUES)
def test_holm_keeps_the_order_and_lies_between_the_p_value_and_bonferronis(p_values):
    corrected = holm(p_values)
    for p, found in zip(p_values, corrected, strict=True):
        assert p <= found <= min(1.0, len(p_values) * p) + 1e-12
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    assert [corrected[index] for index in order] == sorted(corrected)
    assert min(corrected) == min(1.0, len(p_values) * min(p_values))


@given(P_VALUES, st.randoms())
def test_holm_does_not_look_at_the_order_of_the_tests(p_values, random):
    shuffled = list(enumerate(p_values))
    random.shuffle(shuffled)
    corrected = dict(zip((index for index, _ in shuffled), holm([p for _, p in shuffled]), strict=True))
    assert [corrected[index] for index in range(len(p_values))] == holm(p_values)


def test_mcnemar_by_hand():
    before = np.array([True] * 8 + [False] * 4)
    after = np.array([False] * 6 + [True] * 2 + [True] + [False] * 3)  # 6 turned wrong, 1 turned right
    assert mcnemar_test(before, after) == pytest.approx(2 * (1 + 7) / 2**7)
    assert mcnemar_test(after, before) == mcnemar_test(before, after)
    assert mcnemar_test(before, before) == 1.0


def test_paired_t_test_by_hand():
    differences = np.array([1.0, 2.0, 3.0])  # t = 2 / (1 / sqrt 3) with two degrees of freedom
    t = 2 * math.sqrt(3)
    assert paired_t_test(differences) == pytest.approx(1 - t / math.sqrt(2 + t * t))
    assert paired_t_test(-differences) == paired_t_test(differences)
    assert paired_t_test(np.zeros(5)) == 1.0
    assert paired_t_test(np.full(5, 0.25)) == 0.0
    assert paired_t_test(np.array([3.0])) == 1.0
