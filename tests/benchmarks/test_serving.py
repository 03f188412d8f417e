"""The smallest run of the benchmark of engines: that it ends well, that its check can fail, what it leaves."""

import importlib.util
import json

import pytest

pytest.importorskip("onnxruntime")

TRANSFORMERS = importlib.util.find_spec("transformers") is not None


def test_serving(benchmark, tmp_path, capsys, monkeypatch):
    """Then once more, where the child of a third of the layers has others than the reference."""
    serving = benchmark("serving")
    out = tmp_path / "new" / "serving.json"
    assert serving.main(["--smoke", "--seed", "3", "--out", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (found["type"], found["threads"], found["seed"]) == ("layerdrop.benchmark.serving", 1, 3)
    assert found["onnxruntime"] and bool(found["transformers"]) == TRANSFORMERS
    children = ["whole", "a third of the layers", "half of heads and units"]
    engines = ["ours", "ONNX Runtime", "ONNX Runtime int8"]
    names = [f"{child}, {engine}" for child in children for engine in engines]
    assert list(found["models"]) == ["whole, stock fairseq", *["whole, transformers"] * TRANSFORMERS, *names]
    for name, model in found["models"].items():
        assert model["same_features"] and (model["difference"] < 1e-4) == ("int8" not in name)
        for workload in ("batch", "single"):
            ratio = model[workload]["over_stock"]
            assert model[workload]["ms"] > 0 and 0 < ratio["min"] <= ratio["median"] <= ratio["max"]
    goals = {name: model["single"]["goal"] for name, model in found["models"].items() if model["single"]["goal"]}
    assert sorted(goals.values()) == [0.07, 0.15, 0.3]
    assert capsys.readouterr().out.count("of stock fairseq whole: ") == 3
    monkeypatch.setattr(
        serving.head_pruning, "prune_by_zeros", lambda parent, plan, args: serving.head_pruning.child_of(parent, plan)
        if len(plan.layers) == 3 and not plan.ffn
        else serving.head_pruning.child_of(parent, serving.StackPlan((1,))),
    )  # fmt: skip
    assert serving.main(["--smoke", "--seed", "3"]) == 1
    assert "features are not stock fairseq's: a third of the layers, ours; a third" in capsys.readouterr().err
