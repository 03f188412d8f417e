"""`layerdrop latency` on a small random stock RoBERTa: what is measured, on which sentences, and what it refuses."""

import argparse
import json
import shutil

import pytest
import torch

from layerdrop_plugin import latency
from layerdrop_plugin.cli import latency as command
from layerdrop_plugin.errors import LayerdropError

LENGTHS = [3, 9, 5, 12, 7, 4, 30, 6, 8, 10, 11]  # tokens with the end mark; fairseq puts one more before


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A binarised sentence_prediction folder with one split."""
    from fairseq.data import Dictionary, indexed_dataset

    folder = tmp_path_factory.mktemp("data")
    sentences = [torch.arange(length) % 20 + 4 for length in LENGTHS]
    items = {"input0": sentences, "label": [torch.tensor([4, 2])] * len(LENGTHS)}
    for part, words in (("input0", 20), ("label", 2)):
        (folder / part).mkdir()
        dictionary = Dictionary()
        for word in range(words):
            dictionary.add_symbol(f"w{word}")
        dictionary.save(str(folder / part / "dict.txt"))
        builder = indexed_dataset.make_builder(str(folder / part / "test.bin"), "mmap", vocab_size=len(dictionary))
        for item in items[part]:
            builder.add_item(item)
        builder.finalize(str(folder / part / "test.idx"))
    return folder


def save_model(data, path, layers):
    """Build a stock RoBERTa as fairseq-train would and save it as its checkpoints look."""
    from fairseq import options, tasks
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from omegaconf import OmegaConf

    parser = options.get_training_parser()
    shape = f"--encoder-layers {layers} --encoder-embed-dim 8 --encoder-ffn-embed-dim 16 --encoder-attention-heads 2"
    use = "--task sentence_prediction --num-classes 2 --init-token 0 --criterion sentence_prediction"
    words = f"--arch roberta --max-positions 20 {shape} {use}".split()
    args = options.parse_args_and_arch(parser, [str(data), *words])
    cfg = convert_namespace_to_omegaconf(args)
    model = tasks.setup_task(cfg.task).build_model(cfg.model)
    history = [{"criterion_name": "x", "optimizer_name": "x", "lr_scheduler_state": {}, "num_updates": 0}]
    state = {
        "args": None,
        "cfg": OmegaConf.to_container(cfg),
        "model": model.state_dict(),
        "optimizer_history": history,
        "extra_state": {"train_iterator": {"epoch": 1}},
    }
    torch.save(state, path)
    return str(path)


@pytest.fixture(scope="module")
def models(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {"deep": save_model(data, folder / "deep.pt", 6), "flat": save_model(data, folder / "flat.pt", 1)}


def test_measurement(data, models):
    threads = torch.get_num_threads()
    found = latency.measure(models, data, "test", (1, 4), threads=1, repeats=3, command="typed")
    assert json.loads(json.dumps(found)) == found
    assert (found["type"], found["threads"], found["batch_sizes"], found["command"]) == (
        "layerdrop.latency", 1, [1, 4], "typed",
    )  # fmt: skip
    # Of the 11 sentences one is longer than the 20 positions, and 10 hold two full batches of 4.
    assert found["sentences"] == 8
    assert min(LENGTHS) + 1 < found["mean_tokens"] < 13
    deep, flat = found["models"]
    assert (deep["name"], deep["checkpoint"]["encoder_layers"]) == ("deep", 6)
    assert (flat["name"], flat["checkpoint"]["encoder_layers"]) == ("flat", 1)
    assert deep["ratio"] == {"1": 1.0, "4": 1.0}
    for size in ("1", "4"):
        assert len(flat["all_ms_per_sentence"][size]) == 3
        assert sorted(flat["all_ms_per_sentence"][size])[1] == flat["ms_per_sentence"][size] > 0
        assert flat["ratio"][size] == flat["ms_per_sentence"][size] / deep["ms_per_sentence"][size]
    assert torch.get_num_threads() == threads


def test_models_take_turns_on_the_same_batches_in_eval_mode(data, models, monkeypatch):
    seen = []

    def one_pass(model, head, batches):
        seen.append((len(model.encoder.sentence_encoder.layers), model.training, head, batches))
        return 1.0

    monkeypatch.setattr(latency, "_one_pass", one_pass)
    latency.measure(models, data, "test", (4,), repeats=3)
    # the warm-up, then the repeats: every one in the order opposite to the one before
    assert [layers for layers, *_ in seen] == [1, 6, 6, 1, 1, 6, 6, 1]
    assert {training for _, training, *_ in seen} == {False}
    assert {head for *_, head, _ in seen} == {"sentence_classification_head"}
    assert len({id(batches) for *_, batches in seen}) == 1
    tokens = [batch["src_tokens"] for batch in seen[0][-1]]
    assert [batch.shape[0] for batch in tokens] == [4, 4]
    for batch in seen[0][-1]:
        assert (batch["src_tokens"] != 1).sum(1).tolist() == batch["src_lengths"].tolist()  # 1 is the padding
    assert tokens[0].shape[1] <= tokens[1].shape[1]  # sorted by length


def test_the_timed_forward_is_the_classifier_without_gradients(data, models):
    calls = []

    def model(**inputs):
        calls.append((inputs, torch.is_grad_enabled()))

    assert latency._one_pass(model, "head", [{"src_tokens": 1}, {"src_tokens": 2}]) > 0
    assert calls[0] == ({"src_tokens": 1, "features_only": True, "classification_head_name": "head"}, False)
    assert len(calls) == 2


def test_choice_of_sentences():
    sizes = [5, 9, 3, 100, 7, 4, 8, 6]
    chosen = latency.choose(sizes, 10, batch_size=2, max_sentences=5, seed=1)
    assert len(chosen) == 4 == len(set(chosen)) and 3 not in chosen
    assert [sizes[index] for index in chosen] == sorted(sizes[index] for index in chosen)
    assert chosen == latency.choose(sizes, 10, 2, 5, seed=1)
    assert any(chosen != latency.choose(sizes, 10, 2, 5, seed=seed) for seed in range(2, 9))
    assert sorted(latency.choose(sizes, 10, 1, 100, seed=1)) == [0, 1, 2, 4, 5, 6, 7]
    for most in (7, 8):
        with pytest.raises(LayerdropError, match=f"a batch of 8 .* has 7 .* --max-sentences is {most}"):
            latency.choose(sizes, 10, 8, most, seed=1)


def test_what_is_refused(data, models, tmp_path):
    with pytest.raises(LayerdropError, match="no split 'other'"):
        latency.measure(models, data, "other")
    broken = tmp_path / "broken.pt"
    broken.write_text("no checkpoint")
    with pytest.raises(LayerdropError, match="broken.pt") as caught:
        latency.measure({**models, "broken": str(broken)}, data, "test")
    assert "\n" not in str(caught.value)


def test_a_model_of_another_dictionary_is_refused_in_one_line(data, models, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(data, other)
    with open(other / "input0" / "dict.txt", "a") as file:
        file.write("more 1\n")
    with pytest.raises(LayerdropError, match="deep.pt") as caught:
        latency.measure(models, other, "test")
    assert "\n" not in str(caught.value)


def test_command(data, models, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    named = [word for name, path in models.items() for word in ("--model", f"{name}={path}")]
    words = [*named, "--data", str(data), "--out", str(tmp_path / "latency.json")]
    words += ["--batch-sizes", "2", "--repeats", "1", "--threads", "1"]
    command.run(parser.parse_args(words))
    found = json.loads((tmp_path / "latency.json").read_text())
    assert found["batch_sizes"] == [2] and found["sentences"] == 10
    assert [model["name"] for model in found["models"]] == ["deep", "flat"]
    assert "ms at batch 2" in capsys.readouterr().out
    for wrong in (["--batch-sizes", "0"], ["--batch-sizes", "4,4"], ["--threads", "-1"], ["--model", "noname"]):
        with pytest.raises(SystemExit):
            parser.parse_args([*words, *wrong])
    with pytest.raises(LayerdropError, match="same name"):
        command.run(parser.parse_args([*words, "--model", f"deep={models['flat']}"]))
