"""`layerdrop latency` on small random stock models: what is measured, on which sentences, and what it refuses."""

import argparse
import json
import shutil

import pytest
import torch
from samples import save_classifier, save_nlu_data, save_translation_data, save_translator

from layerdrop_plugin.cli import latency as command
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation import engines, latency, workloads

LENGTHS = [3, 9, 5, 12, 7, 4, 30, 6, 8, 10, 11]  # tokens with the end mark; fairseq puts one more before


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A binarised sentence_prediction folder with one split."""
    return save_nlu_data(tmp_path_factory.mktemp("data") / "nlu", {"test": LENGTHS})


@pytest.fixture(scope="module")
def models(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {"deep": save_classifier(data, folder / "deep.pt", 6), "flat": save_classifier(data, folder / "flat.pt", 1)}


@pytest.fixture(scope="module")
def mt_data(tmp_path_factory):
    """A translation folder with the same lengths of sources."""
    sentences = [list(range(length - 1)) for length in LENGTHS]
    sentences = [[word % 20 for word in sentence] for sentence in sentences]
    return save_translation_data(tmp_path_factory.mktemp("data") / "mt", sentences)


@pytest.fixture(scope="module")
def translators(mt_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("translators")
    return {
        name: save_translator(mt_data, folder / f"{name}.pt", layers) for name, layers in (("deep", 4), ("flat", 1))
    }


def test_measurement(data, models):
    threads = torch.get_num_threads()
    found = latency.measure(models, data, "test", (1, 4), threads=1, repeats=3, command="typed")
    assert json.loads(json.dumps(found)) == found
    assert (found["type"], found["threads"], found["batch_sizes"], found["command"]) == (
        "layerdrop.latency", 1, [1, 4], "typed",
    )  # fmt: skip
    assert found["task"] == "classification"
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
        rounds = zip(flat["all_ms_per_sentence"][size], deep["all_ms_per_sentence"][size], strict=True)
        spread = flat["spread"][size]
        assert spread["rounds"] == [one / of for one, of in rounds]
        assert [spread["least"], flat["ratio"][size], spread["greatest"]] == sorted(spread["rounds"])
    assert found["version"] == 2 and "spread" not in deep
    assert torch.get_num_threads() == threads


def test_models_take_turns_on_the_same_batches(data, models, monkeypatch):
    seen = []
    monkeypatch.setattr(workloads.Classification, "run", lambda self, name, batches: seen.append((name, batches)) or [])
    latency.measure(models, data, "test", (4,), repeats=3)
    # the warm-up, then the rounds: every one begins with the next model
    assert [name for name, _ in seen] == ["flat", "deep", "deep", "flat", "flat", "deep", "deep", "flat"]
    assert len({id(batches) for _, batches in seen}) == 1
    given = [batch["deep"] for batch in seen[0][1]]
    tokens = [batch["src_tokens"] for batch in given]
    assert [batch.shape[0] for batch in tokens] == [4, 4]
    assert all(batch["flat"]["src_tokens"] is batch["deep"]["src_tokens"] for batch in seen[0][1])
    for batch in given:
        assert (batch["src_tokens"] != 1).sum(1).tolist() == batch["src_lengths"].tolist()  # 1 is the padding
    assert tokens[0].shape[1] <= tokens[1].shape[1]  # sorted by length


def test_the_timed_forward_is_the_classifier_in_eval_mode_without_gradients(data, models, monkeypatch):
    calls = []
    engine = engines.load(models["flat"], data, 1, 4, torch.float32)
    engine.head, engine.model.forward = (
        "head",
        lambda **inputs: calls.append((inputs, engine.model.training, torch.is_grad_enabled())) or [0],
    )
    workload = workloads.Classification({"model": engine})
    workload.run("model", [{"model": {"src_tokens": 1}}, {"model": {"src_tokens": 2}}])
    assert calls[0] == ({"src_tokens": 1, "features_only": True, "classification_head_name": "head"}, False, False)
    assert len(calls) == 2


def test_translations_are_fairseqs_beam_search(mt_data, translators, monkeypatch):
    passes = []
    run = workloads.Translation.run
    monkeypatch.setattr(workloads.Translation, "run", lambda *args: passes.append(run(*args)) or passes[-1])
    found = latency.measure(translators, mt_data, "test", (2, 5), threads=1, repeats=3, beam=3)
    assert json.loads(json.dumps(found)) == found
    assert (found["task"], found["generation"]["beam"], found["sentences"]) == ("translation", 3, 10)
    drawn = sorted(LENGTHS)[:-1]  # the longest does not fit
    assert found["mean_tokens"] == sum(drawn) / 10
    deep, flat = found["models"]
    assert (deep["checkpoint"]["decoder_layers"], flat["checkpoint"]["decoder_layers"]) == (4, 1)
    # Words of the best hypothesis, counted with the dictionary instead: an end mark is the last token and no word.
    hypotheses = [hypothesis for batch in passes[-1] for hypothesis in batch]
    assert {len(one) for one in hypotheses} == {3}  # the beam's size
    words = sum(sum(token != 2 for token in one[0]["tokens"].tolist()) for one in hypotheses)
    assert all(one[0]["tokens"][-1] == 2 for one in hypotheses)
    assert words == flat["target_tokens"]["5"] > 0
    for model in (deep, flat):
        for size in ("2", "5"):
            median = sorted(model["all_seconds"][size])[1]
            assert model["tokens_per_second"][size] == model["target_tokens"][size] / median
            assert model["sentences_per_second"][size] == 10 / median
    assert deep["speed"] == {"2": 1.0, "5": 1.0}
    for size in ("2", "5"):
        rates, base = ([one["target_tokens"][size] / s for s in one["all_seconds"][size]] for one in (flat, deep))
        assert flat["spread"][size]["rounds"] == [rate / of for rate, of in zip(rates, base, strict=True)]
        assert flat["speed"][size] == sorted(flat["spread"][size]["rounds"])[1]


def test_kinds_of_models_do_not_mix(data, models, mt_data, translators, tmp_path):
    with pytest.raises(LayerdropError, match="cannot load|translates and"):
        latency.measure({"one": models["deep"], "other": translators["deep"]}, data, "test")
    kinds = {"one": argparse.Namespace(kind="classification"), "other": argparse.Namespace(kind="translation")}
    with pytest.raises(LayerdropError, match="'other' translates and 'one' classifies: time them apart"):
        workloads.choose_workload(kinds)


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
    words = [str(data), "--path", *map(str, models.values()), "--name", *models]
    words += ["--out", str(tmp_path / "latency.json")]
    words += ["--batch-sizes", "2", "--repeats", "1", "--threads", "1"]
    command.run(parser.parse_args(words))
    found = json.loads((tmp_path / "latency.json").read_text())
    assert found["batch_sizes"] == [2] and found["sentences"] == 10
    assert [model["name"] for model in found["models"]] == ["deep", "flat"]
    printed = capsys.readouterr().out
    assert (
        "ms at batch 2" in printed and "; time vs deep: " in printed and "(1 round, unreliable) at batch 2" in printed
    )
    assert "Ratios of 1 round are not reliable" in printed and found["models"][1]["spread"]["2"]["unreliable"] is True
    assert found["task"] == "classification"
    for wrong in (["--batch-sizes", "0"], ["--batch-sizes", "4,4"], ["--threads", "-1"], ["--model", "noname"]):
        with pytest.raises(SystemExit):
            parser.parse_args([*words, *wrong])
    for names, match in ((["x", "x"], "same name"), (["x"], "--name has 1 values for 2 checkpoints")):
        with pytest.raises(LayerdropError, match=match):
            command.run(parser.parse_args([*words, "--name", *names]))


def test_checkpoints_are_named_after_their_folders_and_the_options_of_version_0_1_0_work(tmp_path):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    paths = [str(tmp_path / name / "checkpoint_best.pt") for name in ("a", "b", "b/../b")]
    args = parser.parse_args(["data", "--path", *paths[:2], "--out", "x"])
    assert command._names(args) == ["a", "b"] and args.subset == "test"
    args = parser.parse_args(["data", "--path", *paths, "--out", "x"])
    assert command._names(args) == ["a", *paths[1:]]
    words = ["--model", f"x={paths[0]}", "--model=y=b=c", "--data", "data", "--split", "valid", "--out", "x"]
    args = parser.parse_args(words)
    assert command._names(args) == ["x", "y"] and args.path == [paths[0], "b=c"]
    assert (args.data, args.subset) == ("data", "valid")


def test_command_for_translations(mt_data, translators, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    out = tmp_path / "latency.json"
    words = ["--model", f"flat={translators['flat']}", "--data", str(mt_data), "--out", str(out), "--repeats", "1"]
    with pytest.raises(LayerdropError, match="a batch of 32 needs as many sentences"):  # the default
        command.run(parser.parse_args(words))
    command.run(parser.parse_args([*words, "--batch-sizes", "5"]))
    assert json.loads(out.read_text())["generation"]["beam"] == 4
    assert "tokens/s and" in (printed := capsys.readouterr().out) and "sentences/s at batch 5" in printed
