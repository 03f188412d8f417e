import json
import math
import os
import sys

import builders
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_plans import importance_of, shapes

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.scores import Scores, fingerprint
from layerdrop_plugin.pruning.shape import ModelShape, StackShape

SCORES = {"encoder.self_attn": [[3.0, 4.0], []], "encoder.ffn": [[0.0, 0.0], [1.0, -1.0]], "encoder.layers": [6.0, 8.0]}
SHAPE = ModelShape(StackShape(2, heads=2, ffn=2, embed_dim=4, sizes={"self_attn": (2, None), "ffn": (2, 2)}))
ABOUT = {"method": "importance", "model": "a1", "data": "b2", "examples": 5, "loss": 0.5, "per": "example"}


@pytest.fixture
def importance():
    return Scores.of(SCORES, SCORES, **ABOUT, signature={"seed": 1})


@pytest.fixture
def edited(importance, tmp_path):
    """Save the file, let a function change its data, and load it again."""

    def load(change):
        data = {"version": 1} | json.loads(json.dumps(vars(importance)))
        path = tmp_path / "importance.json"
        path.write_text(json.dumps(change(data) or data))
        return Scores.load(path)

    return load


def test_normalized_by_layer(importance):
    assert importance.normalized == {
        "encoder.self_attn": [[0.6, 0.8], []],
        "encoder.ffn": [[0.0, 0.0], pytest.approx([math.sqrt(0.5), -math.sqrt(0.5)])],
        "encoder.layers": [0.6, 0.8],
    }


@given(st.data())
def test_the_file_holds_everything(data):
    shape = data.draw(shapes())
    importance = importance_of(shape, lambda: data.draw(st.floats(-1e9, 1e9)))
    importance.check(shape, "any", "it")
    for key, rows in importance.normalized.items():
        for row in [rows] if key.endswith("layers") else rows:
            assert math.hypot(*row) == pytest.approx(1) or not any(row)


def test_saved_and_loaded(importance, tmp_path):
    path = tmp_path / "importance.json"
    importance.save(path)
    assert Scores.load(path) == importance
    assert os.listdir(tmp_path) == ["importance.json"]
    assert json.loads(path.read_text())["version"] == 1


def test_rows_may_be_tensors(importance):
    tensors = {key: [torch.tensor(row) if row else None for row in rows] for key, rows in SCORES.items() if "." in key}
    tensors["encoder.layers"] = torch.tensor(SCORES["encoder.layers"])
    assert Scores.of(tensors, SCORES, **ABOUT, signature={"seed": 1}) == importance


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(LayerdropError, match="by importance.*have nan where"):
        Scores.of(SCORES | {"encoder.layers": [math.nan, 1.0]}, SCORES, **ABOUT, signature={})
    with pytest.raises(LayerdropError, match="'standard_error' of encoder.layers have inf"):
        Scores.of(SCORES, SCORES | {"encoder.layers": [math.inf, 1.0]}, **ABOUT, signature={})


def put(value, *places):
    """An edit that puts *value* in a place."""

    def change(data):
        for place in places[:-1]:
            data = data[place]
        data[places[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: [data], 'no JSON object with "version": 1'),
        (put(2, "version"), 'no JSON object with "version": 1'),
        (lambda data: {key: value for key, value in data.items() if key != "loss"}, "has no 'loss'"),
        (lambda data: {key: value for key, value in data.items() if key != "normalized"}, "has no 'normalized'"),
        (put(7, "model"), "strings or null"),
        (put({}, "scores"), "no map"),
        (put([], "normalized"), "no map"),
        (put([1.0], "scores", "encoder.heads"), "unknown part 'encoder.heads'"),
        (put(3, "scores", "encoder.ffn"), "'scores' of encoder.ffn are no list"),
        (put([1.0, 2.0], "scores", "encoder.ffn"), "'scores' of encoder.ffn are no list"),
        (put(math.nan, "normalized", "encoder.self_attn", 0, 1), "'normalized' of encoder.self_attn have nan"),
        (put(math.inf, "scores", "encoder.layers", 0), "'scores' of encoder.layers have inf"),
        (put(-math.inf, "standard_error", "encoder.ffn", 0, 0), "have -inf"),
        (put(None, "scores", "encoder.layers", 0), "have None"),
        (put("1", "scores", "encoder.layers", 0), "have 1 where a finite number"),
        (put(10**400, "scores", "encoder.layers", 0), "have 10000000000000000000 where a finite number"),
        (put(True, "scores", "encoder.layers", 0), "have True"),
        (put([1.0], "scores", "encoder.layers", 0), "have .1.0. where"),
        (put([1.0], "scores", "encoder.self_attn", 0), "'normalized' have other rows than its 'scores'"),
        (put([[1.0, 2.0]], "standard_error", "encoder.self_attn"), "'standard_error' have other rows"),
        (lambda data: data["normalized"].pop("encoder.ffn") and None, "'normalized' have other rows"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(change, message, edited):
    with pytest.raises(LayerdropError, match=message) as caught:
        edited(change)
    assert "importance.json cannot be used" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stacks_with_different_numbers_of_layers_are_refused(edited):
    def change(data):
        for name in ("scores", "normalized", "standard_error"):
            data[name]["encoder.layers"] = [1.0]

    with pytest.raises(LayerdropError, match=r"different numbers of layers: \[1, 2\]"):
        edited(change)


def test_files_that_are_none(tmp_path):
    with pytest.raises(LayerdropError, match="cannot read the importance file nowhere.json"):
        Scores.load("nowhere.json")
    (tmp_path / "text.json").write_text("heads")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for name in ("text", "binary"):
        with pytest.raises(LayerdropError, match=f"{name}.json is not JSON") as caught:
            Scores.load(tmp_path / f"{name}.json")
        assert "\n" not in str(caught.value)


def test_a_failed_save_leaves_the_old_file(importance, tmp_path):
    with pytest.raises(LayerdropError, match="does not exist"):
        importance.save(tmp_path / "nowhere" / "importance.json")
    assert not list(tmp_path.iterdir())


def test_saving_takes_no_step_of_python_for_each_unit(tmp_path):
    """A training run writes the file again and again."""

    def calls(units: int) -> int:
        rows = {"encoder.ffn": [torch.rand(units, dtype=torch.float64) for _ in range(3)], "encoder.layers": [1.0] * 3}
        counted = 0

        def count(frame, event, argument):
            nonlocal counted
            counted += event == "call"

        sys.setprofile(count)
        try:
            Scores.of(rows, rows, **ABOUT, signature={}).save(tmp_path / "importance.json")
        finally:
            sys.setprofile(None)
        return counted

    calls(1)  # what is imported and cached at first
    assert calls(4000) == calls(1000)


def stack(layers=2, **sizes):
    return StackShape(layers, heads=2, ffn=2, embed_dim=4, sizes={"self_attn": (2, None), "ffn": (2, 2)} | sizes)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (ModelShape(decoder=stack()), "of encoder.self_attn, which the model does not have"),
        (
            ModelShape(stack(3, self_attn=(2, None, 1), ffn=(2, 2, 2))),
            "of 2 encoder layers, but the model has 3",
        ),
        (ModelShape(stack(self_attn=(1, None))), "of 2 heads in self_attn of encoder layer 0, but the model has 1"),
        (ModelShape(stack(ffn=(2, None))), "of 2 units in ffn of encoder layer 1, but the model has 0"),
    ],
)
def test_another_shape_is_refused(importance, shape, message):
    importance.check(SHAPE, "a1", "i.json")
    with pytest.raises(LayerdropError, match=f"^i.json has scores {message}") as caught:
        importance.check(shape, None, "i.json")
    assert "\n" not in str(caught.value)


def test_other_weights_are_refused(importance, edited):
    importance.check(SHAPE, None, "i.json")
    with pytest.raises(LayerdropError, match="i.json was estimated on a model with other weights"):
        importance.check(SHAPE, "c3", "i.json")
    edited(put(None, "model")).check(SHAPE, "c3", "i.json")


@pytest.mark.parametrize("arch", ["layerdrop_roberta", "layerdrop_transformer", "layerdrop_transformer_lm"])
def test_the_fingerprint_is_that_of_the_layers_weights(arch, tmp_path):
    model = builders.build(arch)
    state = builders.state_of(model, arch)
    checkpoint.write(state, tmp_path / "model.pt")
    read = checkpoint.read(tmp_path / "model.pt")
    before = fingerprint(model.state_dict())
    assert Parent(read).fingerprint == before == fingerprint(model.double().state_dict())
    with torch.no_grad():
        next(model.parameters()).add_(1)  # an embedding
    assert fingerprint(model.state_dict()) == before
    with torch.no_grad():
        next(weight for name, weight in model.named_parameters() if "fc1.bias" in name).add_(1)
    assert fingerprint(model.state_dict()) != before


def test_the_fingerprint_sees_names_and_shapes():
    weight = torch.arange(6.0)
    name = "encoder.layers.{}.fc1.weight"
    shaped = [
        {name.format(0): weight.view(2, 3)},
        {name.format(0): weight.view(3, 2)},
        {name.format(1): weight.view(2, 3)},
        {name.format(0).replace("encoder", "decoder"): weight.view(2, 3)},
    ]
    assert len({fingerprint(weights) for weights in shaped}) == 4
    inner = {name.format(0).replace("encoder.", "encoder.sentence_encoder."): weight.view(2, 3)}
    assert fingerprint(inner) == fingerprint(shaped[0])


def test_a_checkpoints_own_scores_fit(parent):
    state = checkpoint.read(parent)
    importance_of(Parent(state).shape, lambda: 1.0).check(Parent(state).shape, Parent(state).fingerprint, "it")
