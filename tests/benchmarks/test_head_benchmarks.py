"""The smallest runs of the benchmarks of heads: that they end well, that their checks can fail, what they leave."""

import importlib
import importlib.util
import json
from argparse import Namespace

import torch

TRANSFORMERS = importlib.util.find_spec("transformers") is not None


def run(module, path, *options):
    """The status of a smoke run, and the record that it leaves at *path*."""
    status = module.main(["--smoke", "--seed", "3", "--out", str(path), *options])
    return status, json.loads(path.read_text(encoding="utf-8"))


def assert_complete(found, kind):
    assert found["type"] == f"layerdrop.benchmark.{kind}"
    assert found["command"].startswith(f"python benchmarks/{kind}.py --smoke --seed 3 ")
    assert (found["device"], found["threads"], found["seed"]) == ("cpu", 1, 3)
    assert found["settings"]["smoke"]
    assert {"python", "torch", "fairseq", "layerdrop_plugin"} <= found["versions"].keys()


def assert_ratio(found):
    assert 0 < found["min"] <= found["median"] <= found["max"]


def test_head_pruning(benchmark, tmp_path, capsys):
    status, found = run(benchmark("head_pruning"), tmp_path / "new" / "head_pruning.json")
    assert status == 0
    assert_complete(found, "head_pruning")
    models = found["models"]
    pruned = ["half the heads", "half the heads and units", "half the layers"]
    assert list(models) == [
        "stock",
        *(["transformers"] if TRANSFORMERS else []),
        "whole",
        "whole, three products",
        *pruned,
    ]
    assert bool(found["transformers"]) == TRANSFORMERS
    for model in models.values():
        assert model["same_features"]
        for workload in ("batch", "single"):
            timed = model[workload]
            assert timed["ms"] > 0
            assert len(timed["seconds"]) == 2
            for ratio in timed["over"].values():
                assert_ratio(ratio)
    whole, heads, both, layers = (models[name]["parameters_of_layers"] for name in ["whole", *pruned])
    assert models["stock"]["parameters_of_layers"] == whole > heads > both
    assert 2 * layers == whole
    goals = {name: [model[w]["goals"].get("stock") for w in ("batch", "single")] for name, model in models.items()}
    assert goals["whole"] == [0.85, 0.60]
    assert goals["half the heads"] == [0.70, 0.50]
    assert goals["half the heads and units"] == [0.45, 0.33]
    out = capsys.readouterr().out
    assert out.count("at most 0.6 of stock") == 1
    assert out.count("of transformers:") == 8 * TRANSFORMERS


def test_head_pruning_tells_different_features(benchmark, tmp_path, capsys, monkeypatch):
    """Its check can fail: here the pruned models keep other heads than the reference."""
    head_pruning = benchmark("head_pruning")
    child_of = head_pruning.child_of

    def prune_others(parent, plan):
        others = {layer: tuple(head + 1 for head in heads) for layer, heads in plan.self_attn.items()}
        return child_of(parent, head_pruning.StackPlan(plan.layers, self_attn=others, ffn=plan.ffn))

    monkeypatch.setattr(head_pruning, "child_of", prune_others)
    status, found = run(head_pruning, tmp_path / "head_pruning.json")
    assert status == 1
    different = [name for name, model in found["models"].items() if not model["same_features"]]
    assert different == ["half the heads", "half the heads and units"]
    assert f"features are not stock fairseq's: {', '.join(different)}" in capsys.readouterr().err


def test_sentences_of_a_benchmark(benchmark):
    """Random sentences: of the lengths asked for, the first the longest, padded behind their end mark."""
    words = benchmark("translation").make_task(60).source_dictionary
    tokens = benchmark("roberta").make_sentences(words, 50, 4, 9, seed=1)
    assert tokens.shape == (50, 9)
    lengths = tokens.ne(words.pad()).sum(1)
    assert lengths[0] == 9
    assert set(lengths.tolist()) == set(range(4, 10))
    for row, length in zip(tokens, lengths, strict=True):
        assert row[0] == words.bos()
        assert row[length - 1] == words.eos()
        assert row[1 : length - 1].ge(words.nspecial).all()


def test_importance(benchmark, tmp_path, capsys):
    status, found = run(benchmark("importance"), tmp_path / "new" / "importance.json")
    assert status == 0
    assert_complete(found, "importance")
    assert found["same_scores"]
    assert found["difference"] <= 1e-5
    assert list(found["runs"]) == ["training step", "alongside training", "estimate alone", "loop over examples"]
    for timed in found["runs"].values():
        assert timed["ms"] > 0
        assert len(timed["seconds"]) == 2
    assert [(row["wanted"], row["goal"]) for row in found["ratios"]] == [
        ("at most", 0.72),
        ("at most", 1.03),
        ("at least", 2.3),
    ]
    for row in found["ratios"]:
        assert_ratio(row)
    assert "loop over examples" in capsys.readouterr().out


def test_importance_leaves_the_model_as_it_was(benchmark):
    """The four runs take turns with one model: none of them may change what the next one sees."""
    importance = benchmark("importance")
    args = Namespace(layers=2, width=16, heads=2, vocabulary=60, batch=3, shortest=4, longest=7, batches=1, seed=1)
    args.device = torch.device("cpu")
    runs = importance.Runs(args)
    (sample,) = importance.make_batches(args, runs.words)
    before = runs.estimate(sample)
    assert before.shape == (2, 2)
    for run_of in (runs.train, runs.train_and_record, runs.loop):
        run_of(sample)
    torch.testing.assert_close(runs.estimate(sample), before, atol=0, rtol=0)


def test_importance_tells_different_scores(benchmark, tmp_path, capsys, monkeypatch):
    """Its check can fail: here the loop sees a word less of every sentence."""
    importance = benchmark("importance")
    alone = importance.alone

    def shorter(sample, row):
        one = alone(sample, row)
        one["net_input"]["src_tokens"] = one["net_input"]["src_tokens"][:, :-1]
        return one

    monkeypatch.setattr(importance, "alone", shorter)
    status, found = run(importance, tmp_path / "importance.json")
    assert status == 1
    assert not found["same_scores"]
    assert "give heads different scores" in capsys.readouterr().err


def test_load_time(benchmark, tmp_path, capsys):
    status, found = run(benchmark("load_time"), tmp_path / "load_time.json")
    assert not status
    assert_complete(found, "load_time")
    assert list(found["models"]) == ["loading", "reading"] and len(found["torch_seconds"]) == 1
    assert found["bytes"] > 1000 and "at most 1.3" in capsys.readouterr().out


def test_peak_memory(benchmark, tmp_path, capsys):
    status, found = run(benchmark("peak_memory"), tmp_path / "peak_memory.json")
    assert not status
    assert_complete(found, "peak_memory")
    for model in found["models"].values():
        assert len(model["packed_bytes"]) == len(model["plain_bytes"]) == 1
        assert model["over_plain"]["median"] < 1.2
    assert list(found["models"]) == ["encoder", "translation"]
    assert "at most 1.05" in capsys.readouterr().out
