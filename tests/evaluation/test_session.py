"""Sessions: the model on our classes, every example of a subset once, and what is refused."""

import shutil
from dataclasses import replace

import checkpoints
import numpy as np
import pytest
import torch
from fairseq.data import Dictionary

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation import session
from layerdrop_plugin.importance.estimation import estimate
from layerdrop_plugin.models.roberta import LayerDropRobertaModel
from layerdrop_plugin.models.transformer import LayerDropTransformerModel
from layerdrop_plugin.models.transformer_lm import LayerDropTransformerLanguageModel
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune
from layerdrop_plugin.pruning.scores import fingerprint

CLASSES = {
    "classification": LayerDropRobertaModel,
    "masked_lm": LayerDropRobertaModel,
    "translation": LayerDropTransformerModel,
    "language_modeling": LayerDropTransformerLanguageModel,
}


@pytest.mark.parametrize("kind", CLASSES)
def test_a_session_has_the_checkpoints_model_and_every_example_once(kind, files, sessions):
    path, data = files[kind]
    loaded = sessions[kind]
    assert type(loaded.model) is CLASSES[kind] and not loaded.model.training
    saved = checkpoint.read(path)["model"]
    for name, weight in loaded.model.state_dict().items():
        assert torch.equal(weight, saved[name])
    assert loaded.kind == kind and loaded.sha256 == checkpoint.sha256(path)
    assert loaded.fingerprint == fingerprint(loaded.model.state_dict())
    for subset in ("train", "test"):
        numbers = [int(number) for sample in loaded.batches(subset) for number in sample["id"]]
        assert sorted(numbers) == list(range(len(loaded.dataset(subset)))) == loaded.examples(subset).tolist()
    if kind in ("classification", "translation"):  # the others cut text into blocks
        assert len(loaded.dataset("test")) == 21
    assert loaded.signature("test", "typed")["data_sha256"] == loaded.split("test").sha256()


def said(caplog):
    """The lines that a session logged."""
    return [record.message for record in caplog.records if record.name == session.__name__]


def texts(loaded, subset):
    """The inputs of all examples of *subset*, sorted, without padding."""
    padding, found = loaded.task.source_dictionary.pad(), []
    for sample in loaded.batches(subset):
        found += [[int(token) for token in row if token != padding] for row in sample["net_input"]["src_tokens"]]
    return sorted(found)


@pytest.mark.parametrize("kind", ["classification", "translation"])
def test_a_training_set_in_several_files_is_read_whole(kind, files, sessions, tmp_path):
    path, data = files[kind]
    folder = shutil.copytree(data, tmp_path / "data")
    for file in [*folder.rglob("valid.*")]:
        file.rename(file.with_name(file.name.replace("valid.", "train1.")))
    loaded = session.load(path, folder, batch_size=7, cpu=True)
    assert texts(loaded, "train") == sorted(texts(sessions[kind], "train") + texts(sessions[kind], "valid"))
    found = estimate(loaded, "train")
    parts = [estimate(sessions[kind], subset) for subset in ("train", "valid")]
    assert found.examples == 150 and found.data == loaded.split("train").sha256() != parts[0].data
    assert found.loss == pytest.approx((120 * parts[0].loss + 30 * parts[1].loss) / 150, rel=1e-4)


@pytest.mark.parametrize("kind", ["masked_lm", "translation", "language_modeling"])
def test_a_training_set_in_several_folders_is_read_whole(kind, files, sessions, tmp_path, caplog):
    path, data = files[kind]
    folder = shutil.copytree(data, tmp_path / "data")
    for file in [*folder.glob("train.*")]:
        file.unlink()
        shutil.copy(folder / file.name.replace("train.", "valid."), file)
    loaded = session.load(path, f"{data}:{folder}", batch_size=7, cpu=True)
    if kind != "masked_lm":  # whose inputs are masked at random
        assert texts(loaded, "train") == sorted(texts(sessions[kind], "train") + texts(sessions[kind], "valid"))
    parts = [len(sessions[kind].dataset(subset)) for subset in ("train", "valid")]
    numbers = [int(number) for sample in loaded.batches("train") for number in sample["id"]]
    assert sorted(numbers) == list(range(sum(parts)))
    few = replace(loaded, batch_size=None, max_tokens=40).batches("train")
    assert all(sample["net_input"]["src_tokens"].numel() <= 40 for sample in few)
    assert estimate(loaded, "train").examples == sum(parts) and not said(caplog)
    assert texts(loaded, "test") == texts(sessions[kind], "test")
    assert said(caplog) == [f"fairseq reads 'test' of {data} only: left out is that of {folder}"]


def test_batches_are_as_large_as_asked_for(sessions):
    for kind in ("classification", "translation"):
        assert max(len(sample["id"]) for sample in sessions[kind].batches("test")) == 7
        few = replace(sessions[kind], batch_size=None, max_tokens=40)
        assert all(sample["net_input"]["src_tokens"].numel() <= 40 for sample in few.batches("test"))


def test_a_sample_of_examples_is_drawn_with_the_seed(sessions):
    loaded = sessions["translation"]
    chosen = loaded.examples("test", 8)
    assert len(set(chosen.tolist())) == 8 and np.array_equal(chosen, loaded.examples("test", 8))
    assert any(not np.array_equal(chosen, replace(loaded, seed=seed).examples("test", 8)) for seed in range(2, 9))
    numbers = sorted(int(number) for sample in loaded.batches("test", 8) for number in sample["id"])
    assert numbers == chosen.tolist()
    assert len(loaded.examples("test", 1000)) == 21
    with pytest.raises(LayerdropError, match="ask for at least 1"):
        loaded.examples("test", 0)


@pytest.mark.parametrize("kind", ["classification", "translation"])
def test_a_stock_child_comes_on_our_classes(kind, files, tmp_path):
    path, data = files[kind]
    stacks = {stack: StackPlan((1,)) for stack in ("encoder", "decoder") if kind == "translation" or stack == "encoder"}
    state = prune(Parent.load(path), Plan(**stacks)).state
    assert not state["cfg"]["model"]["_name"].startswith("layerdrop")
    checkpoint.write(state, tmp_path / "child.pt")
    child = session.load(tmp_path / "child.pt", data, cpu=True)
    assert type(child.model) is CLASSES[kind]
    assert sum(len(sample["id"]) for sample in child.batches("test")) == 21


def test_half_precision_is_loaded_as_single(files, tmp_path):
    path, data = files["classification"]
    state = checkpoint.read(path)
    state["model"] = {name: weight.half() for name, weight in state["model"].items()}
    checkpoint.write(state, tmp_path / "half.pt")
    loaded = session.load(tmp_path / "half.pt", data, cpu=True)
    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.float32}


def refused(match, *args, **kwargs):
    with pytest.raises(LayerdropError, match=match) as caught:
        list(session.load(*args, **kwargs).batches("test"))
    assert "\n" not in str(caught.value)


def test_wrong_files_are_refused_in_one_line(files, data, tmp_path):
    path, nlu = files["classification"]
    refused("does not exist", tmp_path / "none.pt", nlu)
    refused("data folder .* does not exist", path, tmp_path / "none")
    refused("cannot load|needs data for classification", path, data / "nmt")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused("cannot load", path, empty)
    (empty / "no.pt").write_text("no checkpoint")
    refused("not a whole PyTorch file", empty / "no.pt", nlu)


@pytest.mark.parametrize("kind", ["classification", "translation", "language_modeling"])
def test_another_dictionary_is_refused(kind, files, tmp_path):
    path, data = files[kind]
    other = shutil.copytree(data, tmp_path / "other")
    for file in other.rglob("dict*.txt"):
        if file.parent.name != "label":
            words = Dictionary.load(str(file))
            words.add_symbol("more")
            words.save(str(file))
    refused("dictionary|vocabulary", path, other)


def test_empty_missing_and_too_long_subsets_are_refused(files, sessions, data, tmp_path):
    path, nlu = files["classification"]
    with pytest.raises(LayerdropError, match="no split 'other'"):
        sessions["classification"].batches("other")
    hollow = shutil.copytree(nlu, tmp_path / "hollow")
    for part in ("input0", "label"):
        (hollow / part / "test.bin").write_bytes(b"")
    refused("no examples", path, hollow)
    short = checkpoints.save(tmp_path / "short.pt", data, "classification", "--max-positions 4")
    refused("all 21 examples of 'test' in .* are too long: at most 4 tokens", short, nlu)


def test_examples_that_are_too_long_are_left_out_and_counted(data, tmp_path, caplog):
    for kind, folder, more in (
        ("classification", "nlu", "--max-positions 12"),
        ("translation", "nmt", "--max-source-positions 12"),
    ):
        caplog.clear()
        path = checkpoints.save(tmp_path / f"{kind}.pt", data, kind, more)
        loaded = session.load(path, data / folder, batch_size=7, cpu=True)
        lengths = loaded.split("train").sizes() + (kind == "classification")  # and the mark at the beginning
        short = np.flatnonzero(lengths <= 12)
        assert 0 < len(short) < 120
        batches = loaded.batches("train")
        numbers = [int(number) for sample in batches for number in sample["id"]]
        assert sorted(numbers) == batches.examples.tolist() == short.tolist()
        some = loaded.batches("train", 20)
        assert set(some.examples) < set(short.tolist()) and len(some.examples) == 20
        assert batches.left_out == 120 - len(short) == some.left_out
        assert [line.split(" in ")[0] for line in said(caplog)] == [f"{120 - len(short)} of 120 examples of 'train'"]
        found = estimate(loaded, "train")
        assert (found.examples, found.signature["left_out"]) == (len(short), 120 - len(short))
        few = replace(loaded, batch_size=None, max_tokens=9).batches("train")  # as fairseq-train leaves them out
        assert few.examples.tolist() == np.flatnonzero(lengths <= 9).tolist()


@pytest.mark.parametrize("kind", ["classification", "translation", "masked_lm", "language_modeling"])
def test_examples_are_read_when_their_batch_is_asked_for(kind, sessions, monkeypatch):
    loaded, read = sessions[kind], []
    dataset = type(loaded.dataset("train"))
    get = dataset.__getitem__
    monkeypatch.setattr(dataset, "__getitem__", lambda self, number: read.append(int(number)) or get(self, number))
    batches = loaded.batches("train", 20)
    assert len(read) <= 7 and len(batches.examples) == 20
    for once_more in range(2):  # every pass gives the same batches, in the same order
        read.clear()
        for count, sample in enumerate(batches, start=1):
            assert sorted(read[7 * (count - 1) :]) == sorted(sample["id"].tolist())
        assert count == len(batches) == 3, once_more
        assert sorted(read) == batches.examples.tolist()


def test_labels_that_the_model_does_not_know_are_refused(files, data, tmp_path):
    path, nlu = files["classification"]
    bare = shutil.copytree(nlu, tmp_path / "bare")
    for file in (bare / "label").glob("test.*"):
        file.unlink()
    refused("labels|cannot read", path, bare)
    one = checkpoints.save(tmp_path / "one.pt", data, "classification", "--num-classes 1")
    refused("other labels than the model's 1 classes", one, nlu)


def test_models_that_are_not_ours_are_refused(files, tmp_path):
    path, data = files["classification"]
    state = checkpoint.read(path)
    head = [name for name in state["model"] if name.startswith("classification_heads")]
    without = state | {"model": {name: weight for name, weight in state["model"].items() if name not in head}}
    checkpoint.write(without, tmp_path / "headless.pt")
    refused("no classification head", tmp_path / "headless.pt", data)
    other = state | {"cfg": state["cfg"] | {"task": state["cfg"]["task"] | {"_name": "speech_to_text"}}}
    checkpoint.write(other, tmp_path / "speech.pt")
    refused("trained for the task 'speech_to_text'", tmp_path / "speech.pt", data)
