"""Scores of layers by contribution and by the greedy search, against their definitions on small models."""

import checkpoints
import numpy as np
import pytest
import torch

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation import layer_scores, layer_search, losses, session
from layerdrop_plugin.evaluation.search_state import SearchState
from layerdrop_plugin.pruning.gates import gated, stacks_of
from layerdrop_plugin.pruning.plan import Plan, StackPlan


def hidden_states(loaded, sample) -> dict[str, list[torch.Tensor]]:
    """By stack the input of each layer and the output of the last, each (batch, time, channels) in double precision."""
    found = {}
    with torch.no_grad():
        for stack, layers in stacks_of(loaded.model).items():
            states, hooks = [], []
            for layer in layers:
                hooks.append(layer.register_forward_pre_hook(lambda _, x, states=states: states.append(x[0])))
            last = layers[len(layers) - 1]
            hooks.append(
                last.register_forward_hook(
                    lambda _, x, y, states=states: states.append(y[0] if isinstance(y, tuple) else y)
                )
            )
            losses.measure(loaded, sample)
            for hook in hooks:
                hook.remove()
            found[stack] = [x.transpose(0, 1).double() for x in states]
    return found


@pytest.mark.parametrize("per", ["example", "token"])
@pytest.mark.parametrize("kind", ["classification", "masked_lm", "translation", "language_modeling"])
def test_contribution_is_one_minus_the_cosine_of_input_and_output(kind, per, sessions):
    loaded = sessions[kind]
    found = layer_scores.contribution(loaded, "valid", per)
    changes = {}
    for sample in loaded.batches("valid"):
        source = sample["net_input"]["src_tokens"]
        for stack, states in hidden_states(loaded, sample).items():
            tokens = source if stack == "encoder" else sample["net_input"].get("prev_output_tokens", source)
            for layer, (before, after) in enumerate(zip(states, states[1:], strict=False)):
                for row, words in enumerate(tokens):
                    seen = words.ne(1)
                    x, y = before[row][seen].numpy(), after[row][seen].numpy()
                    if per == "example":
                        first = kind in ("classification", "masked_lm")
                        x, y = (vectors[:1] if first else vectors.mean(0, keepdims=True) for vectors in (x, y))
                    cosine = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
                    changes.setdefault((stack, layer), []).extend(1 - cosine)
    assert found.method == "contribution" and found.per == per and found.model == loaded.fingerprint
    assert found.examples == len(loaded.examples("valid"))
    for (stack, layer), values in changes.items():
        assert found.scores[f"{stack}.layers"][layer] == pytest.approx(np.mean(values), abs=1e-6)
        error = np.std(values) / len(values) ** 0.5
        assert found.standard_error[f"{stack}.layers"][layer] == pytest.approx(error, abs=1e-6)
    assert sum(map(len, found.scores.values())) == len(changes)


def test_a_layer_that_changes_nothing_has_no_contribution(sessions):
    loaded = sessions["language_modeling"]
    layer = stacks_of(loaded.model)["decoder"][1]
    layer.gate.value = torch.zeros(1)
    try:
        first, second = layer_scores.contribution(loaded, "valid").scores["decoder.layers"]
    finally:
        layer.gate.value = None
    assert first > 1e-3 and second == pytest.approx(0, abs=1e-12)


@pytest.fixture(scope="module")
def translator(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("translator") / "model.pt"
    checkpoints.save(path, data, "translation", "--encoder-layers 4 --decoder-layers 1")
    return session.load(path, data / "nmt", cpu=True)


def test_the_greedy_search_orders_the_layers_of_each_stack(translator, tmp_path):
    found = layer_scores.greedy_loss(translator, "valid", tmp_path / "loss.json", max_examples=10)
    batches = translator.batches("valid", 10)

    def loss(layers):
        with gated(translator.model, Plan(encoder=StackPlan(layers))):
            return losses.measure_all(translator, batches).loss_per_token

    left, measured = (0, 1, 2, 3), [loss((0, 1, 2, 3))]
    for score in (1, 2, 3):
        left = min((tuple(layer for layer in left if layer != other) for other in left), key=loss)
        measured.append(loss(left))
        (removed,) = (layer for layer in range(4) if found.scores["encoder.layers"][layer] == score)
        assert removed not in left
        assert {layer for layer in range(4) if found.scores["encoder.layers"][layer] > score} == set(left)
    assert [entry["loss"] for entry in found.signature["greedy"]["encoder"]] == pytest.approx(measured, abs=1e-5)
    assert [entry["layers"] for entry in found.signature["greedy"]["encoder"]] == [4, 3, 2, 1]
    assert found.signature["greedy"]["encoder"][0]["removed"] is None
    assert found.scores["decoder.layers"] == [1] and found.method == "loss" and found.examples == 10


def test_an_interrupted_greedy_search_goes_on(translator, tmp_path, monkeypatch):
    whole = layer_scores.greedy_loss(translator, "valid", tmp_path / "a.json", max_examples=10)
    save, saved = SearchState.save, []

    def interrupted(state):
        save(state)
        saved.append(state)
        if len(saved) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(SearchState, "save", interrupted)
        layer_scores.greedy_loss(translator, "valid", tmp_path / "b.json", max_examples=10)
    counted = []
    add = layer_search._add
    monkeypatch.setattr(layer_search, "_add", lambda *found: (counted.append(1), add(*found)))
    again = layer_scores.greedy_loss(translator, "valid", tmp_path / "b.json", max_examples=10)
    assert again.scores == whole.scores and again.signature == whole.signature
    assert len(counted) == 4 + 1 - 3  # one batch: the encoder's sizes, the decoder's, those done before
    with pytest.raises(LayerdropError, match="is a search of other settings"):
        layer_scores.greedy_loss(translator, "valid", tmp_path / "b.json", max_examples=9)
    layer_scores.remove_states(translator, tmp_path / "b.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.json.decoder.state.json",
        "a.json.encoder.state.json",
    ]
