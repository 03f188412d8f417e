"""Searches on data: rankings, going on after an interruption, predicted times, and the record of their results."""

import itertools
import json
import math

import checkpoints
import numpy as np
import pytest

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation import layer_search, losses, search_summary, session
from layerdrop_plugin.evaluation.layer_search import Compared, Costs, Question, question
from layerdrop_plugin.evaluation.search_state import SearchState
from layerdrop_plugin.evaluation.shared_prefixes import measure_alone
from layerdrop_plugin.evaluation.significance import mcnemar_test, paired_t_test
from layerdrop_plugin.evaluation.text_halves import text_halves


@pytest.fixture(scope="module")
def classifier(data, tmp_path_factory):
    """A session of a classifier of 5 layers, and the batches of both halves of its data."""
    path = tmp_path_factory.mktemp("classifier") / "model.pt"
    checkpoints.save(path, data, "classification", "--encoder-layers 5")
    loaded = session.load(path, data / "nlu", batch_size=6, cpu=True)
    halves = text_halves(loaded, loaded.batches("valid"))
    return loaded, *(loaded.batches_of("valid", half) for half in halves)


def search(classifier, tmp_path, method, metric="loss", keep=2, beam=3):
    """The comparisons of a search, and the record of its results."""
    loaded, chosen_on, tested_on = classifier
    asked = question(loaded, None, keep, method, beam, metric)
    state = SearchState(tmp_path / f"{method}-{metric}-{beam}.json", {})
    compared = layer_search.run(loaded, chosen_on, asked, state)
    return compared, search_summary.describe(loaded, asked, compared, tested_on, finalists=3)


def alone(loaded, batches, subset):
    """The measurements of *batches* with *subset*, in the order of the examples."""
    parts = [(losses.numbers_of(sample), measure_alone(loaded, sample, "encoder", subset)) for sample in batches]
    return losses.in_order(*map(list, zip(*parts, strict=True)))


def test_one_half_chooses_and_the_other_tests(classifier, tmp_path):
    loaded, chosen_on, tested_on = classifier
    compared, record = search(classifier, tmp_path, "exhaustive")
    assert json.loads(json.dumps(record)) == record and list(compared) == [5, 2]
    values = {subset: alone(loaded, chosen_on, subset).loss for subset in itertools.combinations(range(5), 2)}
    ranked = sorted(values, key=values.get)
    assert [tuple(entry["layers"]) for entry in record["ranked"]] == ranked and record["compared"] == 10
    assert [entry["tested_on"] is None for entry in record["ranked"][:4]] == [False, False, False, True]
    best, other, whole = (alone(loaded, tested_on, subset) for subset in (ranked[0], (1, 4), (0, 1, 2, 3, 4)))
    for entry, measured in ((record["best"], best), (record["every_other"], other), (record["whole"], whole)):
        assert entry["tested_on"]["loss"] == pytest.approx(measured.loss, abs=1e-6)
        assert entry["tested_on"]["accuracy"] == measured.accuracy and entry["tested_on"]["bleu"] is None
    assert record["best"]["chosen_on"]["loss"] == pytest.approx(values[ranked[0]], abs=1e-6) == record["losses"][0]
    assert record["best"]["plan"] == {"version": 1, "encoder": {"layers": list(ranked[0])}}
    assert record["every_other"]["layers"] == [1, 4] and record["rank_of_every_other"] == ranked.index((1, 4)) + 1
    assert record["test"]["p"] == pytest.approx(paired_t_test(best.losses - other.losses), abs=1e-6)
    assert record["test"]["difference"] == pytest.approx(best.loss - other.loss, abs=1e-6)
    assert record["examples"] == 30 == sum(record[half]["examples"] for half in ("chosen_on", "tested_on"))
    assert record["layer_evaluations"] == {"shared": math.comb(6, 2) - 1, "alone": 20} and record["sizes"] == []
    assert record["time"]["expected"] == 0.7 and record["time"]["reached"] > 0


def test_accuracy_chooses_and_of_equal_accuracy_the_lower_loss(classifier, tmp_path):
    loaded, chosen_on, tested_on = classifier
    compared, record = search(classifier, tmp_path, "exhaustive", "accuracy")
    values = {subset: alone(loaded, chosen_on, subset) for subset in itertools.combinations(range(5), 2)}
    ranked = sorted(values, key=lambda subset: (-values[subset].accuracy, values[subset].loss))
    assert [tuple(entry["layers"]) for entry in record["ranked"]] == ranked
    best, other = (alone(loaded, tested_on, subset).correct for subset in (ranked[0], (1, 4)))
    assert record["test"]["metric"] == "accuracy" and record["test"]["p"] == mcnemar_test(other, best)


def test_greedy_and_beam_tell_the_best_of_every_size(classifier, tmp_path):
    loaded, chosen_on, _ = classifier
    greedy, beam = (search(classifier, tmp_path, method)[1] for method in ("greedy", "beam"))
    widest = search(classifier, tmp_path, "beam", beam=100)[1]
    assert [size["size"] for size in greedy["sizes"]] == [4, 3, 2]
    assert [size["subsets"] for size in greedy["sizes"]] == [5, 4, 3]
    left = tuple(range(5))
    for size in greedy["sizes"]:
        left = min(itertools.combinations(left, size["size"]), key=lambda subset: alone(loaded, chosen_on, subset).loss)
        assert size["best"]["layers"] == list(left) and size["best"]["tested_on"]
        assert size["every_other"]["chosen_on"] and size["every_other"]["tested_on"]
    assert greedy["best"]["layers"] == list(left) == greedy["sizes"][-1]["best"]["layers"]
    for size, others in zip(greedy["sizes"], beam["sizes"], strict=True):
        assert others["best"]["chosen_on"]["loss"] <= size["best"]["chosen_on"]["loss"]
    assert widest["best"]["layers"] == search(classifier, tmp_path, "exhaustive")[1]["best"]["layers"]


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("method", ["exhaustive", "greedy"])
def test_an_interrupted_search_goes_on_with_the_batches_that_are_missing(method, classifier, tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    _, expected = search(classifier, tmp_path / "whole", method)
    calls, measure = [], layer_search.measure_subsets

    def killed(*args):
        calls.append(1)
        if len(calls) in (3, 6):
            raise KilledError
        return measure(*args)

    monkeypatch.setattr(layer_search, "measure_subsets", killed)
    for _ in range(2):
        with pytest.raises(KilledError):
            search(classifier, tmp_path, method)
    _, record = search(classifier, tmp_path, method)
    sizes = 2 if method == "exhaustive" else 4
    assert len(calls) == sizes * (len(classifier[1]) + len(classifier[2])) + 2  # nothing twice but what was killed
    for found in (expected, record):
        del found["time"]
    assert record == expected


def test_states_of_other_settings_are_refused(tmp_path):
    path = tmp_path / "state.json"
    state = SearchState(path, {"keep": 2, "seed": 1})
    stage = state.stage(2, 10)
    stage["batches"] += 1
    state.save()
    assert SearchState(path, {"keep": 2, "seed": 1}).stage(2, 10) == stage and state.batches == 1
    with pytest.raises(LayerdropError, match=r"search of other settings \(keep, seed\): choose another --out"):
        SearchState(path, {"keep": 3, "seed": 2})
    path.write_text(json.dumps(state.record | {"stages": [{"size": 2}]}))
    with pytest.raises(LayerdropError, match="a stage without batches, correct"):
        SearchState(path, {"keep": 2, "seed": 1})
    path.write_text("{}")
    with pytest.raises(LayerdropError, match="no search of ours"):
        SearchState(path, {})


def test_losses_that_are_not_finite_are_the_worst():
    stage = {"losses": [math.nan, 2.0, 1.0], "correct": None, "tokens": 4, "examples": 2}
    compared = Compared([(0,), (1,), (2,)], [(0,), (1,), (2,)], stage)
    assert compared.ranked("loss") == [(2,), (1,), (0,)] and compared.values((1,), True)["loss"] == 0.5
    assert Compared([(0,), (1,)], [(0,), (1,), (2,)], stage).ranked("loss") == [(1,), (0,)]


def test_a_search_that_takes_days_is_refused_at_once():
    asked, days = Question("encoder", 24, 12), Costs(layer=0.01, subset=0.001)
    minutes = 0.01 * (math.comb(25, 12) - 1 + 24) + 0.001 * (math.comb(24, 12) + 1)
    assert days.minutes(asked) == pytest.approx(minutes)
    with pytest.raises(LayerdropError, match="2,704,156 subsets of the encoder's 24 layers would take about 38 days"):
        layer_search.refuse_long(days, asked, 720)
    with pytest.raises(LayerdropError, match=r"use --method beam \(about 3 hours\), --method greedy \(about 25 m"):
        layer_search.refuse_long(days, asked, 720)
    layer_search.refuse_long(days, Question("encoder", 24, 12, "beam"), 720)
    with pytest.raises(LayerdropError, match=r"use --method greedy \(about 25 minutes\), fewer --max-ex"):
        layer_search.refuse_long(days, Question("encoder", 24, 12, "beam"), 1)
    assert [layer_search.duration(minutes) for minutes in (0.001, 1.5, 2, 150, 10**6)] == [
        "1 s", "90 s", "2 minutes", "2 hours", "694 days",
    ]  # fmt: skip


def test_costs_are_predicted_from_one_batch(classifier):
    loaded, chosen_on, _ = classifier
    predicted = layer_search.costs(loaded, chosen_on, question(loaded, None, 2, "greedy", 8, "loss"))
    assert predicted.layer >= 0 and predicted.subset >= 0 and max(predicted) < 1


def test_tokens_of_batches_include_padding(classifier):
    _, chosen_on, _ = classifier
    assert chosen_on.tokens() == [sample["net_input"]["src_tokens"].numel() for sample in chosen_on]
    assert np.all(np.array(chosen_on.tokens()) > 0)
