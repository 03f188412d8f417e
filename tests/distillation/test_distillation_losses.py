"""Differences of outputs and hidden states against a computation by hand."""

import math

import pytest
import torch

from layerdrop_plugin.distillation.losses import HiddenPair, divergence, hidden_difference, squared_difference


def test_divergence_is_the_teachers_from_the_child_at_a_temperature():
    """Two rows; the logits halved at T = 2 are log 3 and log 9 beside 0."""
    teacher, child = (
        2 * torch.tensor([[math.log(3), 0.0], [0.0, 0.0]]),
        2 * torch.tensor([[0.0, 0.0], [math.log(9), 0]]),
    )
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    expected += 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert divergence(teacher, child, 2.0).item() == pytest.approx(expected, rel=1e-6)
    assert divergence(teacher, teacher, 2.0).item() == pytest.approx(0, abs=1e-7)


def test_half_precision_is_summed_in_single_precision():
    """4,096 differences of 4 in half precision: their squares' sum, 65,536, is beyond its range."""
    ones = torch.full((4096, 1), 4.0, dtype=torch.float16)
    assert squared_difference(ones, 0 * ones).item() == 65536
    assert divergence(ones, 0 * ones, 1.0).dtype is torch.float32
    pair = HiddenPair(ones[:, None] * 100, 0 * ones[:, None], torch.ones(1, 4096, dtype=torch.bool))
    assert hidden_difference([pair], torch.ones(1)).item() == 160000


def test_hidden_states_at_padding_do_not_count_and_examples_count_by_their_size():
    """Two examples of one and two places, width 2, two pairs of which one is equal: (9 · 1 + (1 + 4) / 2 · 2) / 2."""
    teacher = torch.zeros(2, 2, 2)
    child = torch.tensor([[[3.0, 3.0], [1.0, 1.0]], [[100.0, 100.0], [2.0, 2.0]]])  # length x batch x width
    places = torch.tensor([[True, False], [True, True]])
    pairs = [HiddenPair(child, teacher, places), HiddenPair(child, child, places)]
    assert hidden_difference(pairs, torch.tensor([1.0, 2.0])).item() == pytest.approx((9 + 5) / 2)
    assert hidden_difference([], torch.ones(2)).item() == 0
