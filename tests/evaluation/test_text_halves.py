"""The two halves of the examples: disjoint, complete, no text in both, labels in equal shares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation.text_halves import hold_out, split, text_halves

EXAMPLES = st.lists(st.tuples(st.integers(0, 15), st.sampled_from("abc")), max_size=60)


@given(EXAMPLES, st.integers(0, 99))
def test_halves_are_disjoint_and_keep_equal_texts_together(examples, seed):
    texts, labels = [text for text, _ in examples], [label for _, label in examples]
    halves = split(texts, labels, seed)
    assert sorted(np.concatenate(halves)) == list(range(len(examples)))
    one, other = ({texts[place] for place in half} for half in halves)
    assert not one & other and all(list(half) == sorted(half) for half in halves)
    again = split(texts, labels, seed)
    assert all(map(np.array_equal, halves, again))


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=60), st.integers(0, 99))
def test_labels_of_different_texts_are_in_equal_shares(labels, seed):
    halves = split(range(len(labels)), labels, seed)
    for label in set(labels):
        counts = [sum(labels[place] == label for place in half) for half in halves]
        assert abs(counts[0] - counts[1]) <= 1
    assert abs(len(halves[0]) - len(halves[1])) <= 1


def test_the_seed_draws_the_halves():
    halves = [split(range(40), None, seed)[0].tolist() for seed in range(3)]
    assert len(set(map(tuple, halves))) == 3 and all(len(half) == 20 for half in halves)


@pytest.mark.parametrize("kind", ["classification", "masked_lm", "translation", "language_modeling"])
def test_the_examples_of_a_subset(kind, sessions):
    loaded = sessions[kind]
    batches = loaded.batches("valid")
    halves = text_halves(loaded, batches)
    assert sorted([*halves.chosen_on, *halves.tested_on]) == batches.examples.tolist()
    dataset = loaded.dataset("valid")
    if kind == "classification":
        ones = [sum(int(dataset[number]["target"]) for number in half) for half in halves]
        assert abs(ones[0] - ones[1]) <= 1


def test_masks_do_not_hide_that_texts_are_equal(sessions, monkeypatch):
    """A masked language model's example has other masks each time; here each is there twice."""
    loaded = sessions["masked_lm"]
    (sample, *_) = loaded.batches("valid")
    words = sample["target"].ne(loaded.task.source_dictionary.pad())
    masked = sample["net_input"]["src_tokens"].masked_fill(words, loaded.task.mask_idx)
    other = sample | {"id": sample["id"] + 1000, "net_input": {"src_tokens": masked}}
    halves = text_halves(loaded, [sample, other])
    for half in halves:
        assert {number + 1000 for number in half if number < 1000} == {number for number in half if number >= 1000}


def test_too_few_examples_are_refused(sessions):
    loaded = sessions["classification"]
    with pytest.raises(LayerdropError, match="9 examples are too few to choose layers on one half"):
        text_halves(loaded, loaded.batches("valid", 9))


@given(st.lists(st.integers(0, 30), min_size=2, max_size=80), st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_held_out_examples_share_no_text_with_the_others(texts, seed):
    if len(set(texts)) < 2:
        with pytest.raises(LayerdropError, match="too few"):
            hold_out(texts, 0.2, seed)
        return
    held = hold_out(texts, 0.2, seed)
    assert held == sorted(set(held)) == hold_out(texts, 0.2, seed)
    assert 0 < len(held) < len(texts)
    assert not {texts[place] for place in held} & {text for place, text in enumerate(texts) if place not in set(held)}


def test_about_a_fifth_is_held_out():
    assert len(hold_out(range(1000), 0.2, 1)) == 200
