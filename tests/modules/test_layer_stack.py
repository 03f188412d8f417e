import random

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from layerdrop_plugin.modules.drop_seed import DropSeed
from layerdrop_plugin.modules.layer_stack import LayerStack, draw_kept

NUMBERS = st.integers(0, 2**31)


@given(NUMBERS, NUMBERS, st.integers(0, 100), st.lists(st.floats(0, 0.99), min_size=1, max_size=20))
def test_a_draw_is_a_function_of_its_arguments_alone(seed, update, micro_batch, rates):
    """Law 4: whatever else consumes random numbers in between."""
    first = draw_kept(DropSeed(seed, update, micro_batch, "encoder"), rates)
    torch.manual_seed(random.randint(0, 9))
    torch.rand(5)
    assert draw_kept(DropSeed(seed, update, micro_batch, "encoder"), rates) == first


def test_layers_are_dropped_at_their_rates():
    rates = [0.0, 0.2, 0.5, 0.9]
    draws = [draw_kept(DropSeed(1, update, 0, "encoder"), rates) for update in range(4000)]
    for depth, rate in enumerate(rates):
        dropped = sum(depth not in kept for kept in draws) / len(draws)
        assert abs(dropped - rate) < 0.03


def test_each_argument_changes_the_draw():
    rates = [0.5] * 64
    draws = {
        draw_kept(DropSeed(seed, update, micro, stack), rates)
        for seed in (1, 2)
        for update in (0, 1)
        for micro in (0, 1)
        for stack in ("encoder", "decoder")
    }
    assert len(draws) == 16


def stack(layers=8, rate=0.5, **options):
    return LayerStack([nn.Linear(2, 2) for _ in range(layers)], [rate] * layers, **options)


def kept_in_one_forward(layers: LayerStack) -> list[int]:
    everything = list(layers._modules.values())
    with layers.forward_pass():
        return [everything.index(layer) for layer in layers]


def test_a_resumed_stack_draws_what_the_uninterrupted_one_would():
    whole, resumed = stack(), stack()
    draws = {}
    for update in range(6):
        for micro_batch in range(3):
            whole.set_num_updates(update)  # as fairseq: before every micro-batch, the same number again
            whole.set_num_updates(update)
            list(whole)  # iterating outside a forward draws nothing
            draws[update, micro_batch] = kept_in_one_forward(whole)
    assert len({tuple(kept) for kept in draws.values()}) > 10
    for update in range(3, 6):
        for micro_batch in range(3):
            resumed.set_num_updates(update)
            assert kept_in_one_forward(resumed) == draws[update, micro_batch]


def test_validation_between_training_forwards_changes_no_draw():
    plain, validated = stack(), stack()
    validated.eval()
    assert kept_in_one_forward(validated) == list(range(8))
    validated.train()
    assert [kept_in_one_forward(plain) for _ in range(4)] == [kept_in_one_forward(validated) for _ in range(4)]


def test_outside_a_forward_all_layers_are_there():
    layers = stack()
    assert len(list(layers)) == 8
    with layers.forward_pass() as left_out:
        kept = list(layers)
    assert len(left_out) == 2 * (8 - len(kept))
    assert len(list(layers)) == 8


def test_warmup_begins_without_drops():
    layers = stack(rate=0.9, warmup_updates=100)
    assert kept_in_one_forward(layers) == list(range(8))
    layers.set_num_updates(100)
    assert len(kept_in_one_forward(layers)) < 8


def test_slices_and_later_layers_are_never_dropped():
    layers = stack(rate=0.9)
    assert len(list(layers[2:5])) == 3
    layers.append(nn.Linear(2, 2))
    assert all(8 in kept_in_one_forward(layers) for _ in range(10))
