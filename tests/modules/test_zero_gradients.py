import torch
from torch import nn

from layerdrop_plugin.modules.zero_gradients import with_zero_gradients


def test_idle_parameters_get_zero_gradients_and_the_value_passes():
    used, idle = nn.Linear(3, 3), nn.Linear(3, 2)
    x = torch.randn(4, 3)
    y = with_zero_gradients(used(x), idle.parameters())
    assert torch.equal(y, used(x))
    y.pow(2).sum().backward()
    assert used.weight.grad.abs().sum() > 0
    for parameter in idle.parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()


def test_frozen_parameters_and_no_grad_cost_nothing():
    idle = nn.Linear(3, 2)
    x = torch.randn(4, 3)
    with torch.no_grad():
        assert with_zero_gradients(x, idle.parameters()) is x
    idle.requires_grad_(False)
    assert with_zero_gradients(x, idle.parameters()) is x


def test_the_result_may_be_changed_in_place():
    idle = nn.Linear(3, 2)
    x = torch.randn(4, 3, requires_grad=True)
    y = with_zero_gradients(x * 2, idle.parameters())
    y += 1
    y.sum().backward()
    assert torch.equal(x.grad, torch.full((4, 3), 2.0))
