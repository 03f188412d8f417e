"""Linear layers of one input as one product: the same numbers, whatever happens to their weights in between."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from layerdrop_plugin.modules.packed_linear import pack, packed_linear

X = torch.zeros(1, 3)
WIDTHS = st.lists(st.integers(1, 5), min_size=1, max_size=4)


def layers_of(*widths, seed=0):
    torch.manual_seed(seed)
    return [nn.Linear(3, width) for width in widths]


def together(*widths):
    layers = layers_of(*widths)
    pack(*layers)
    return layers


def assert_packed(layers):
    x = torch.randn(2, 4, 3, dtype=layers[0].weight.dtype)
    with torch.no_grad():
        product = packed_linear(x, *layers)
        assert product is not None
        torch.testing.assert_close(product(x), torch.cat([layer(x) for layer in layers], -1), atol=1e-6, rtol=0)


@given(widths=WIDTHS)
@settings(deadline=None)
def test_one_product_gives_what_the_layers_give(widths):
    layers, apart = layers_of(*widths), layers_of(*widths)
    pack(*layers)
    for layer, other in zip(layers, apart, strict=True):
        assert layer.weight.equal(other.weight)
        assert layer.bias.equal(other.bias)
        assert layer.weight.requires_grad
    assert_packed(layers)
    assert_packed(layers[1:] or layers)  # those behind the first lie together too


def test_there_is_no_second_copy_of_the_weights():
    """Not even a change that no version counter shows can be missed."""
    layers = together(4, 4, 4)
    assert_packed(layers)
    layers[1].weight.data.mul_(2)
    layers[2].load_state_dict({"weight": torch.ones(4, 3), "bias": torch.ones(4)})
    assert_packed(layers)


def test_laying_together_again_moves_nothing():
    layers = together(4, 2)
    before = [parameter.data_ptr() for layer in layers for parameter in layer.parameters()]
    pack(*layers)
    assert before == [parameter.data_ptr() for layer in layers for parameter in layer.parameters()]


@pytest.mark.parametrize("move", [copy.deepcopy, lambda layers: nn.ModuleList(layers).double()])
def test_weights_that_were_moved_apart_are_run_one_by_one(move):
    layers = list(move(together(4, 4)))
    with torch.no_grad():
        assert packed_linear(X, *layers) is None
    pack(*layers)
    assert_packed(layers)


def test_where_layers_have_to_be_run_one_by_one():
    layers = together(4, 4)
    assert packed_linear(X, *layers) is None  # their weights want gradients
    for parameter in nn.ModuleList(layers).parameters():
        parameter.requires_grad_(False)
    assert packed_linear(X, *layers) is not None
    hook = layers[1].register_forward_hook(lambda *_: None)
    assert packed_linear(X, *layers) is None
    hook.remove()
    assert packed_linear(X, layers[1], layers[0]) is None  # not in this order
    assert packed_linear(X, layers[0], nn.Identity()) is None


def test_layers_without_a_bias_and_on_no_device_stay_as_they_are():
    pack(nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False))
    with torch.device("meta"):
        pack(nn.Linear(3, 2), nn.Linear(3, 2))
