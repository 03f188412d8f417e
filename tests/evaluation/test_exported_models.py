"""Exported models in `layerdrop latency` and `layerdrop evaluate`: the same answers, measured in their engine."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import builders
import numpy as np
import pytest
import torch
from samples import save_dataset

sys.path.insert(0, str(Path(__file__).parents[1] / "interop"))

from hf_folders import REFERENCES, load  # noqa: E402

from layerdrop_plugin.errors import LayerdropError  # noqa: E402
from layerdrop_plugin.evaluation import engines, evaluate, latency, session  # noqa: E402
from layerdrop_plugin.evaluation.engines.session import load_session  # noqa: E402
from layerdrop_plugin.interop.export_hf import export_folder as export_hf  # noqa: E402
from layerdrop_plugin.interop.export_onnx import export_folder as export_onnx  # noqa: E402
from layerdrop_plugin.interop.import_hf import import_folder  # noqa: E402

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

TEXTS = ["the service was good", "good", "a b c d e", "the cafe was not", "service", "was the good", "b", "d e f"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A checkpoint, its exported forms, and a data folder in its pieces."""
    root = tmp_path_factory.mktemp("world")
    import_folder(REFERENCES / "bert_classes", root / "model")
    path, hub = root / "model" / "checkpoint.pt", load(root / "model")
    export_onnx(path, root / "onnx")
    export_onnx(path, root / "int8", int8=True)
    export_hf(path, root / "hf")
    for part in ("input0", "label"):
        (root / "data" / part).mkdir(parents=True)
        shutil.copy(root / "model" / part / "dict.txt", root / "data" / part)
    save_dataset(root / "data" / "input0" / "test", [hub.encode(text)[1:] for text in TEXTS], 85)
    labels = [torch.tensor([4 + number % 3, 2]) for number in range(len(TEXTS))]
    save_dataset(root / "data" / "label" / "test", labels, 7)
    return root


def test_they_take_turns_with_their_checkpoint(world):
    models = {"checkpoint": world / "model" / "checkpoint.pt", "onnx": world / "onnx"}
    models |= {"file": world / "onnx" / "model.onnx", "int8": world / "int8"}
    found = latency.measure(models, world / "data", "test", (1, 4), threads=1, repeats=1)
    assert json.loads(json.dumps(found)) == found
    rows = {model["name"]: model for model in found["models"]}
    assert list(rows) == list(models) and found["sentences"] == 8
    for name in ("onnx", "int8", "file"):
        row, file = rows[name], (world / ("int8" if name == "int8" else "onnx") / "model.onnx")
        assert row["ms_per_sentence"]["4"] > 0 and row["checkpoint"]["weight_bytes"] == file.stat().st_size
        assert row["checkpoint"]["encoder_layers"] == 2 and row["checkpoint"]["path"] == str(models[name])


def test_engines_answer_alike(world):
    batch = {"net_input": {"src_tokens": torch.tensor([[0, 10, 11, 2], [0, 12, 2, 1]])}}
    batch["net_input"]["src_lengths"] = torch.tensor([4, 3])
    paths = (world / "model" / "checkpoint.pt", world / "onnx", world / "int8")
    loaded = [engines.load(path, world / "data", 1, 1, torch.float32) for path in paths]
    with torch.no_grad():
        exact, found, rounded = (engine.answers(batch) for engine in loaded)
    np.testing.assert_allclose(found, exact, atol=1e-4)
    assert 0 < np.abs(rounded - exact).max() < 0.2


def test_an_edited_model_is_refused(world, tmp_path):
    folder = shutil.copytree(world / "int8", tmp_path / "edited")
    engines.load(folder, world / "data", 1, 1, torch.float32).check()
    model = onnx.load(folder / "model.onnx")
    bias = next(tensor for tensor in model.graph.initializer if list(tensor.dims) == [3])
    bias.raw_data = np.array([5, 0, 0], np.float32).tobytes()
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(LayerdropError, match="edited does not answer as it did when it was exported"):
        latency.measure({"edited": folder}, world / "data", "test", (1,), repeats=1)


def test_it_is_evaluated_in_its_engine(world, tmp_path):
    path = world / "model" / "checkpoint.pt"
    whole = evaluate.evaluate(session.load(path, world / "data"), "test")
    found = evaluate.evaluate(load_session(world / "onnx", world / "data"), "test")
    assert found.answers["prediction"] == whole.answers["prediction"] and found.sha256 == whole.sha256
    np.testing.assert_allclose(found.answers["loss"], whole.answers["loss"], atol=1e-4)
    printed = builders.run(
        *("layerdrop", "evaluate", world / "data", "--path", path, world / "onnx", world / "int8", "--cpu"),
        *("--out", tmp_path / "out"),
    ).stdout
    rows = json.loads((tmp_path / "out" / "evaluate.json").read_text())["results"]
    assert [row["name"] for row in rows] == ["model", "onnx", "int8"] and "# model" in printed
    assert rows[0]["metric"] == rows[1]["metric"] and not rows[1]["fairseq"] and rows[0]["fairseq"]
    assert rows[2]["checkpoint"]["weight_bytes"] == (world / "int8" / "model.onnx").stat().st_size


def test_memory_is_that_of_the_engine_alone(world):
    engine = engines.load(world / "onnx", world / "data", 1, 1, torch.float32)
    batch = {"net_input": {"src_tokens": torch.tensor([[0, 10, 2]])}}
    peak = engine.peak_bytes([engine.prepare(batch)])
    assert 10e6 < peak < 150e6  # torch alone is more


@pytest.mark.skipif(importlib.util.find_spec("transformers") is not None, reason="transformers is installed")
def test_an_engine_that_is_not_installed_is_named(world):
    with pytest.raises(LayerdropError, match="transformers is not installed, in which .* runs: run  pip install"):
        engines.load(world / "hf", world / "data", 1, 1, torch.float32)


def test_data_of_another_dictionary_are_refused(world, tmp_path):
    (shutil.copytree(world / "onnx", tmp_path / "bare") / "layerdrop.json").unlink()
    for path in (tmp_path / "bare", tmp_path / "bare" / "model.onnx"):
        with pytest.raises(LayerdropError, match="has no layerdrop.json beside it"):
            engines.load(path, world / "data", 1, 1, torch.float32)
    other = shutil.copytree(world / "data", tmp_path / "other")
    with open(other / "input0" / "dict.txt", "a", encoding="utf-8") as file:
        file.write("more 1\n")
    with pytest.raises(LayerdropError, match="is of a model with another dictionary than that of"):
        engines.load(world / "onnx", other, 1, 1, torch.float32)
