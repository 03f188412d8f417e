"""Losses by example against fairseq's own criterions."""

import shutil

import checkpoints
import memory
import numpy as np
import pytest
import torch
from fairseq import criterions
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from omegaconf import OmegaConf

from layerdrop_plugin.evaluation import losses, session

CRITERIONS = {
    "classification": "sentence_prediction",
    "masked_lm": "masked_lm",
    "translation": "cross_entropy",
    "language_modeling": "cross_entropy",
}


def fairseqs(loaded, name, sample):
    """The summed loss and the sample size by fairseq's criterion *name*."""
    cfg = OmegaConf.structured(criterions.CRITERION_DATACLASS_REGISTRY[name]())
    cfg._set_parent(OmegaConf.create({"optimization": {"sentence_avg": False}, "common": {"tpu": False}}))
    criterion = criterions.CRITERION_REGISTRY[name].build_criterion(cfg, loaded.task)
    with torch.no_grad():
        loss, size, log = criterion.eval()(loaded.model, sample)
    return float(loss), int(size), log


@pytest.mark.parametrize("kind", CRITERIONS)
def test_losses_of_examples_sum_to_fairseqs(kind, sessions):
    loaded = sessions[kind]
    correct = 0
    for sample in loaded.batches("test"):
        found = losses.measure(loaded, sample)
        loss, size, log = fairseqs(loaded, CRITERIONS[kind], sample)
        assert found.losses.shape == found.tokens.shape == (len(sample["id"]),)
        assert found.losses.sum() == pytest.approx(loss, rel=1e-5)
        assert found.tokens.sum() == size
        assert torch.equal(losses.sentence_losses(loaded, sample), torch.from_numpy(found.losses))
        if kind == "classification":
            correct += int(log["ncorrect"])
    whole = losses.measure_all(loaded, loaded.batches("test"))
    if kind == "classification":
        assert whole.accuracy == pytest.approx(100 * correct / 21) and whole.loss == whole.loss_per_token
    else:
        assert whole.accuracy is None


@pytest.mark.parametrize("kind", CRITERIONS)
def test_losses_come_in_the_order_of_the_examples_whatever_the_batches(kind, files, sessions):
    path, data = files[kind]
    alone = session.load(path, data, batch_size=1, cpu=True)
    one, seven = (losses.measure_all(loaded, loaded.batches("test")) for loaded in (alone, sessions[kind]))
    assert np.allclose(one.losses, seven.losses, atol=1e-5)
    assert np.array_equal(one.tokens, seven.tokens)
    first = alone.task.dataset("test")
    example = first.collater([first[0]])
    assert losses.measure(alone, example).losses[0] == pytest.approx(one.losses[0], abs=1e-5)


def test_an_encoders_output_may_be_given(sessions):
    loaded = sessions["translation"]
    for sample in loaded.batches("test"):
        whole, given = (losses.measure(loaded, sample, out) for out in (None, losses.encode(loaded, sample)))
        assert np.array_equal(whole.losses, given.losses)


def test_translations_losses_are_without_label_smoothing(sessions):
    loaded = sessions["translation"]
    sample = next(iter(loaded.batches("test")))
    smoothed = LabelSmoothedCrossEntropyCriterion(loaded.task, False, 0.1).eval()
    with torch.no_grad():
        log = smoothed(loaded.model, sample)[2]
    assert losses.measure(loaded, sample).losses.sum() == pytest.approx(float(log["nll_loss"]), rel=1e-5)


def test_an_adaptive_softmax(data, tmp_path):
    more = "--adaptive-softmax-cutoff 10,20 --criterion adaptive_loss"
    path = checkpoints.save(tmp_path / "adaptive.pt", data, "language_modeling", more)
    loaded = session.load(path, data / "lm", batch_size=4, cpu=True)
    for sample in loaded.batches("test"):
        with torch.no_grad():
            features = loaded.model(**sample["net_input"])[0]
            logs = loaded.model.decoder.adaptive_softmax.get_log_prob(features, None)  # of all words, not the targets
        targets = sample["target"]
        expected = -logs.gather(2, targets.unsqueeze(2)).squeeze(2).masked_fill(targets == 1, 0.0).sum(1)
        assert np.allclose(losses.measure(loaded, sample).losses, expected.numpy(), rtol=1e-5)


def test_regression_counts_squared_errors(data, tmp_path):
    folder = shutil.copytree(data / "nlu", tmp_path / "nlu")
    lines = (data / "test.label").read_text().split()
    (folder / "label" / "test.label").write_text("".join(f"{float(label) + 0.5}\n" for label in lines))
    more = "--num-classes 1 --regression-target --best-checkpoint-metric loss"
    path = checkpoints.save(tmp_path / "regression.pt", data, "classification", more)
    loaded = session.load(path, folder, batch_size=4, cpu=True)
    assert loaded.kind == "regression"
    found = losses.measure_all(loaded, loaded.batches("test"))
    assert found.correct is None and len(found.losses) == 21
    targets = np.array([float(label) + 0.5 for label in lines])
    dataset = loaded.dataset("test")
    sample = dataset.collater([dataset[number] for number in range(21)])
    with torch.no_grad():
        given = {"features_only": True, "classification_head_name": "sentence_classification_head"}
        answers = loaded.model(**sample["net_input"], **given)[0].view(-1).numpy()
    assert np.allclose(found.losses, (answers - targets) ** 2, atol=1e-4)


ADAPTIVE = "--adaptive-softmax-cutoff 10,20 --criterion adaptive_loss"
SLICED = {"masked_lm": "", "translation": "", "language_modeling": "", "adaptive": ADAPTIVE}


@pytest.mark.parametrize("kind", SLICED)
def test_losses_over_a_large_vocabulary_take_a_bounded_memory(kind, data, tmp_path, monkeypatch):
    """However many tokens a batch has; and slices of it give the same losses as the whole."""
    task = "language_modeling" if kind == "adaptive" else kind
    folder = shutil.copytree(data / checkpoints.KINDS[task][0], tmp_path / "data")
    for words in folder.glob("dict*.txt"):
        words.write_text(words.read_text() + "".join(f"rare{number} 1\n" for number in range(60_000)))
    (tmp_path / checkpoints.KINDS[task][0]).symlink_to(folder)
    path = checkpoints.save(tmp_path / "model.pt", tmp_path, task, SLICED[kind])
    loaded = session.load(path, folder, batch_size=None, max_tokens=1000, cpu=True)
    (sample, *_) = loaded.batches("test")
    found = []
    assert memory.peak(lambda: found.append(losses.measure(loaded, sample))) > 8 * 2**20
    monkeypatch.setattr(losses, "LOGITS", 2**18)  # 1 MB
    assert memory.peak(lambda: found.append(losses.measure(loaded, sample))) < 4 * 2**20
    whole, sliced = found
    assert np.allclose(sliced.losses, whole.losses, rtol=1e-6)
    assert np.array_equal(sliced.tokens, whole.tokens)
