"""Each benchmark's smallest run: that it ends well, agrees with stock fairseq and leaves its figures. Timings say
nothing here."""

import json

import pytest
import torch


def run(module, path, *options):
    """The status of a smoke run, and the record that it leaves at *path*."""
    status = module.main(["--smoke", "--out", str(path), *options])
    return status, json.loads(path.read_text(encoding="utf-8"))


def assert_complete(found, kind):
    """A record names everything that it takes to compare its figures with another's."""
    assert found["type"] == f"layerdrop.benchmark.{kind}"
    assert found["device"] == "cpu"
    assert found["threads"] == 1
    assert found["seed"] == 3
    assert {"python", "torch", "fairseq", "layerdrop_plugin"} <= found["versions"].keys()
    assert found["command"].startswith(f"python benchmarks/{kind}.py --smoke --out ")
    assert found["settings"]["smoke"]
    assert found["device_name"]


def assert_ratio(found):
    assert 0 < found["min"] <= found["lower"] <= found["median"] <= found["upper"] <= found["max"]


def test_generate(benchmark, tmp_path, capsys):
    status, found = run(benchmark("generate"), tmp_path / "new" / "generate.json", "--seed", "3")
    assert status == 0
    assert_complete(found, "generate")
    models = found["models"]
    layers = {
        "stock": [2, 2],
        "whole": [2, 2],
        "half the decoder": [2, 1],
        "half of both": [1, 1],
        "half the encoder, 1 decoder layer": [1, 1],
    }
    fairseq = {name: model for name, model in models.items() if "same_hypotheses" in model}
    assert {name: model["layers"] for name, model in models.items()} == {
        name: layers[name.split(", CTranslate2")[0]] for name in models
    }
    assert [model["goal"] for model in fairseq.values()] == [None, 1.4, 2.3, 2.5]
    assert all(model["same_hypotheses"] for model in fairseq.values())
    for model in models.values():
        assert len(model["seconds"]) == 2
        assert model["tokens_per_second"] > 0
        assert_ratio(model["speed"])
    assert models["stock"]["speed"]["median"] == 1
    assert "half of both" in capsys.readouterr().out


def test_generate_with_ctranslate2(benchmark, tmp_path, capsys):
    pytest.importorskip("ctranslate2")
    _, found = run(benchmark("generate"), tmp_path / "generate.json", "--seed", "3")
    exported = {name: model for name, model in found["models"].items() if "quantization" in model}
    assert len(exported) == 8 and found["ctranslate2"]
    assert exported["half the encoder, 1 decoder layer, CTranslate2 int8"]["goal"] == 12
    for model in exported.values():
        assert model["sentences_same"] > found["settings"]["sentences"] / 2
    assert " of 6" in capsys.readouterr().out


def test_generate_without_ctranslate2(benchmark, tmp_path, capsys, monkeypatch):
    generate = benchmark("generate")
    monkeypatch.setattr(generate.ct2_search, "installed", lambda: False)
    status, found = run(generate, tmp_path / "generate.json")
    assert status == 0 and len(found["models"]) == 4
    assert "CTranslate2 is not installed and was left out" in capsys.readouterr().err


def test_generate_tells_different_hypotheses(benchmark, tmp_path, capsys, monkeypatch):
    """Its check can fail: here this plugin's models have other weights than stock fairseq's."""
    generate = benchmark("generate")
    build = generate.build

    def build_other(arch, child, task):
        model = build(arch, child, task)
        if arch == generate.translation.OURS:
            with torch.no_grad():
                model.decoder.layers[0].fc2.weight.normal_()
        return model

    monkeypatch.setattr(generate, "build", build_other)
    status, found = run(generate, tmp_path / "generate.json")
    assert status == 1
    models = found["models"].values()
    assert [model["same_hypotheses"] for model in models if "same_hypotheses" in model] == [True, False, False, False]
    assert "hypotheses differ from stock fairseq's: whole, half the decoder, half of both" in capsys.readouterr().err


def test_training(benchmark, tmp_path):
    status, found = run(benchmark("training"), tmp_path / "training.json", "--seed", "3", "--layers", "3")
    assert status == 0
    assert_complete(found, "training")
    assert found["layer_shares"].keys() == {"encoder", "decoder"}
    assert [row["rate"] for row in found["rates"]] == [0, 0.2, 0.5]
    assert found["rates"][0]["dropped"] == pytest.approx({"encoder": 0, "decoder": 0})
    assert found["rates"][0]["expected_over_whole"] == pytest.approx(1)
    assert any(found["rates"][2]["dropped"].values())
    for row in found["rates"]:
        assert row["same_losses"]
        for name in ("ours_over_stock", "stock_over_whole", "ours_over_whole"):
            assert_ratio(row[name])
    assert found["variants"].keys() >= {"stock, p = 0.5", "ours, p = 0.5", "no layers"}
    for variant in found["variants"].values():
        assert len(variant["seconds"]) == 2
        assert {"step_ms", "forward_ms", "backward_ms", "optimizer_ms"} <= variant.keys()


def test_training_tells_different_draws(benchmark, tmp_path, capsys, monkeypatch):
    """Its check can fail: here stock fairseq's models drop other layers than this plugin's."""
    training = benchmark("training")
    monkeypatch.setattr(training, "draw_kept", lambda draw, rates: (0,))
    status, found = run(training, tmp_path / "training.json")
    assert status == 1
    assert [row["same_losses"] for row in found["rates"]] == [True, False, False]
    assert "losses differ from stock fairseq's: p = 0.2, p = 0.5" in capsys.readouterr().err


@pytest.mark.parametrize(
    "ratios, goal, at_least, expected",
    [
        ([0.50, 0.52, 0.51], 0.60, False, "met"),
        ([0.70, 0.72, 0.71], 0.60, False, "MISSED"),
        ([0.40, 0.59, 0.80], 0.60, False, "not decided"),
        ([1.50, 1.52, 1.51], 1.4, True, "met"),
        ([1.50, 1.52, 1.51], 1.6, True, "MISSED"),
        ([1.61], 1.6, True, "met"),
    ],
)
def test_a_goal_is_not_decided_where_rounds_disagree_by_more_than_the_distance_to_it(
    benchmark, ratios, goal, at_least, expected
):
    side_by_side = benchmark("side_by_side")
    found = side_by_side.ratio(ratios, [1.0] * len(ratios))
    assert side_by_side.verdict(found, goal, at_least) == expected
