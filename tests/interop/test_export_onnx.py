"""What export-onnx writes answers in ONNX Runtime as the checkpoint does: any batch, length and padding; real sizes."""

import json
import sys

import builders
import exporting
import numpy as np
import pytest
from hf_folders import expected, load
from test_like_transformers import KINDS, rows_of, tokens_of

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.interop import export_onnx
from layerdrop_plugin.interop.export_onnx import export_folder
from layerdrop_plugin.interop.onnx_session import start

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def run(folder, ids, mask):
    inputs = {"input_ids": np.asarray(ids, np.int64), "attention_mask": np.asarray(mask, np.int64)}
    return start(folder / "model.onnx", 1).run(None, inputs)[0]


def encoded(folder, texts):
    """Ids and mask of the folder's own tokenizer.json, which pads."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found = tokenizer.encode_batch([tuple(parts) if len(parts) > 1 else parts[0] for parts in texts])
    return [each.ids for each in found], [each.attention_mask for each in found]


@pytest.mark.parametrize(("name", "output"), [("bert_classes", "logits"), ("xlm_roberta", "hidden")])
def test_outputs_are_those_of_transformers(imported, tmp_path, name, output):
    said = export_folder(imported(name)[0] / "checkpoint.pt", tmp_path / "out")
    assert any("fused: 2 Attention" in line for line in said)
    want = expected(name)
    for kind, texts in KINDS.items():
        ids, mask = encoded(tmp_path / "out", texts)
        assert (np.array(ids) == want[f"{kind}_ids"]).all()
        found = run(tmp_path / "out", ids, mask)
        if output == "logits":
            np.testing.assert_allclose(found, want[f"{kind}_logits"], atol=1e-4)
        else:
            visible = np.array(mask, bool)
            np.testing.assert_allclose(found[visible], want[f"{kind}_hidden"][-1][visible], atol=1e-4)
    labels = tmp_path / "out" / "labels.json"
    assert labels.exists() == (output == "logits")
    assert output == "hidden" or json.loads(labels.read_text()) == ["very_bad", "so-so", "good"]


@pytest.mark.parametrize("plan", [exporting.UNEVEN, exporting.NO_FFN])
def test_children_keep_their_real_sizes_and_answers(imported, tmp_path, plan):
    """Batches of 1 to 4, any length, more padding than there need be; what stands at padding does not matter."""
    child = exporting.child_of(imported("bert_classes")[0], plan, tmp_path / "child")
    export_folder(child / "checkpoint.pt", tmp_path / "out")
    hub, back = load(child), {row: number for number, row in enumerate(rows_of(child))}
    weights = onnx.load(tmp_path / "out" / "model.onnx").graph.initializer
    assert plan is exporting.NO_FFN or any(3 in tensor.dims for tensor in weights)  # FFN units
    rng, places = np.random.default_rng(1), np.array(rows_of(child))
    for texts in (KINDS["single"], KINDS["pair"], KINDS["single"][2:3], KINDS["single"][:2]):
        tokens = tokens_of(hub, texts)
        scores = hub.predict("sentence_classification_head", tokens, return_logits=True).detach().numpy()
        ids, mask = places[tokens.numpy()], tokens.ne(1).numpy()
        ids, mask = (np.pad(value, ((0, 0), (0, 3))) for value in (ids, mask))
        ids = np.where(mask, ids, rng.integers(0, len(back), ids.shape))
        np.testing.assert_allclose(run(tmp_path / "out", ids, mask), scores, atol=1e-4)


def test_eight_bits_are_near_and_say_how_near(imported, tmp_path):
    out = tmp_path / "out"
    printed = builders.run(
        "layerdrop", "export-onnx", imported("roberta_classes")[0] / "checkpoint.pt", out, "--int8"
    ).stdout.splitlines()
    assert printed[-1] == f"wrote {out}" and any(line.startswith("8 bits: answers to random") for line in printed)
    ids, mask = encoded(out, KINDS["single"])
    moved = np.abs(run(out, ids, mask) - expected("roberta_classes")["single_logits"])
    assert 1e-6 < moved.max() < 0.2
    types = {tensor.data_type for tensor in onnx.load(out / "model.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in types
    record = json.loads((out / "layerdrop.json").read_text())
    assert (record["quantization"], record["engine"], record["labels"]) == ("int8", "onnxruntime", ["0", "1"])
    assert record["checkpoint"]["encoder_layers"] == 2


def test_a_graph_that_the_optimizer_would_change_is_not_fused(imported, tmp_path, monkeypatch):
    """Its check can fail: here the optimizer removes the mask from the scores."""
    from onnxruntime.transformers import optimizer

    optimize = optimizer.optimize_model

    def spoil(*args, **options):
        found = optimize(*args, **options)
        for node in found.model.graph.node:
            if node.op_type == "SkipLayerNormalization":
                node.attribute[0].f = 1.0
        return found

    monkeypatch.setattr(optimizer, "optimize_model", spoil)
    said = export_folder(imported("bert_classes")[0] / "checkpoint.pt", tmp_path / "out")
    assert any("not fused: ONNX Runtime's optimizer would move answers by" in line for line in said)
    monkeypatch.setattr(optimizer, "optimize_model", lambda *_args, **_options: 1 / 0)
    said = export_folder(imported("bert_classes")[0] / "checkpoint.pt", tmp_path / "other")
    assert any("not fused: ONNX Runtime's optimizer fails (division by zero)" in line for line in said)
    ids, mask = encoded(tmp_path / "out", KINDS["pair"])
    np.testing.assert_allclose(run(tmp_path / "out", ids, mask), expected("bert_classes")["pair_logits"], atol=1e-4)


def test_a_graph_with_other_answers_is_refused(imported, tmp_path, monkeypatch):
    trace = export_onnx._trace

    def other(found, path):
        trace(found, path)
        found.model.classification_heads[found.head_name].out_proj.bias.data += 1

    monkeypatch.setattr(export_onnx, "_trace", other)
    with pytest.raises(LayerdropError, match="the graph's answers differ from the checkpoint's by"):
        export_folder(imported("bert_classes")[0] / "checkpoint.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_engine_that_is_not_installed_is_named(imported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        LayerdropError, match=r"onnxruntime is not installed: run  pip install 'layerdrop_plugin\[onnx\]'"
    ):
        export_folder(imported("bert_classes")[0] / "checkpoint.pt", tmp_path / "out")
