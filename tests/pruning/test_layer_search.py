"""Which subsets of layers a search compares, without a model: values are drawn at random."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning import layer_search
from layerdrop_plugin.pruning.layer_search import layer_evaluations, search, without_one, work

SIZES = st.integers(2, 7).flatmap(lambda layers: st.tuples(st.just(layers), st.integers(1, layers - 1)))


class Values:
    """A random value of each subset; ``rank`` sorts by them and keeps what it was asked for."""

    def __init__(self, seed):
        self.seed, self.asked = seed, []

    def __call__(self, subset):
        return random.Random(f"{self.seed} {subset}").random()

    def rank(self, subsets):
        assert len(set(subsets)) == len(subsets) and all(list(subset) == sorted(set(subset)) for subset in subsets)
        self.asked.append(subsets)
        return sorted(subsets, key=self)


@given(SIZES, st.integers(0, 10**6))
def test_the_exhaustive_search_finds_the_best_of_all_subsets(sizes, seed):
    layers, keep = sizes
    values = Values(seed)
    found = search(layers, keep, None, values.rank)
    assert list(found) == [keep] and len(found[keep]) == math.comb(layers, keep)
    assert found[keep][0] == min(itertools.combinations(range(layers), keep), key=values)


@given(SIZES, st.integers(0, 10**6))
def test_the_greedy_search_removes_the_layer_that_leaves_the_best(sizes, seed):
    layers, keep = sizes
    values = Values(seed)
    found = search(layers, keep, 1, values.rank)
    left = tuple(range(layers))
    for size in range(layers - 1, keep - 1, -1):
        left = min((tuple(layer for layer in left if layer != gone) for gone in left), key=values)
        assert found[size][0] == left and len(found[size]) == size + 1
    assert list(found) == list(range(layers - 1, keep - 1, -1))


@given(SIZES, st.integers(0, 10**6), st.integers(1, 5))
def test_a_beam_is_at_no_size_worse_than_the_greedy_search(sizes, seed, width):
    values = Values(seed)
    greedy, beam = (search(*sizes, wide, values.rank) for wide in (1, width))
    assert all(values(beam[size][0]) <= values(greedy[size][0]) for size in greedy)
    widest = search(*sizes, 10**6, values.rank)
    assert widest[sizes[1]] == search(*sizes, None, values.rank)[sizes[1]]


@given(SIZES, st.integers(0, 10**6), st.sampled_from([None, 1, 2, 8]))
def test_the_work_is_known_before_the_search(sizes, seed, width):
    values = Values(seed)
    search(*sizes, width, values.rank)
    counted = {len(subsets[0]): (len(subsets), layer_evaluations(subsets)) for subsets in values.asked}
    bounds = work(*sizes, width)
    assert list(bounds) == list(counted)
    for size, counts in counted.items():
        assert all(count <= bound for count, bound in zip(counts, bounds[size], strict=True))
        assert counts == bounds[size] or width not in (None, 1)


def test_layers_that_run_for_all_subsets():
    for layers, keep in ((12, 6), (12, 4), (5, 1)):
        every = list(itertools.combinations(range(layers), keep))
        assert layer_evaluations(every) == math.comb(layers + 1, keep) - 1
    assert layer_evaluations(without_one([(0, 1, 2)])) == 5  # 0, 01, 02, 1, 12
    assert work(48, 24, None)[24][0] == math.comb(48, 24)  # at once


@pytest.mark.parametrize(("keep", "layers"), [(0, 6), (-1, 6), (6, 6), (7, 6), (1, 1)])
def test_a_number_of_layers_that_leaves_nothing_to_choose_is_refused(keep, layers):
    with pytest.raises(LayerdropError, match=f"cannot choose {keep} layers to keep: the encoder has {layers}"):
        layer_search.check_keep(keep, layers, "encoder")
