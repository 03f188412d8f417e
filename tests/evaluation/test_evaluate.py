"""Evaluations of sessions: what they hold, whatever the batches; who may be compared with whom."""

import shlex

import builders
import checkpoints
import numpy as np
import pytest

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation import evaluate as evaluation
from layerdrop_plugin.evaluation import fairseq_commands, losses, session
from layerdrop_plugin.evaluation.evaluate import evaluate

ANSWERS = {
    "classification": {"example", "label", "prediction", "loss"},
    "masked_lm": {"example", "loss", "tokens"},
    "language_modeling": {"example", "loss", "tokens"},
    "translation": {"example", "loss", "tokens"},
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_answers_are_of_every_example_whatever_the_batches(kind, files, sessions):
    path, data = files[kind]
    alone = session.load(path, data, batch_size=1, cpu=True)
    seven, one = (evaluate(loaded, "test") for loaded in (sessions[kind], alone))
    assert set(seven.answers) == ANSWERS[kind]
    assert seven.answers["example"] == list(range(len(sessions[kind].dataset("test"))))
    assert {len(column) for column in seven.answers.values()} == {len(seven.answers["example"])}
    assert seven.sha256 == one.sha256 and (seven.sampled, seven.skipped) == (False, 0)
    assert seven.metrics == pytest.approx(one.metrics, abs=1e-4)
    measured = losses.measure_all(alone, alone.batches("test"))
    assert np.allclose(one.answers["loss"], measured.losses, atol=1e-6)
    if kind == "classification":
        right = [told == found for told, found in zip(one.answers["label"], one.answers["prediction"], strict=True)]
        assert right == measured.correct.tolist()


def test_classes_have_the_names_of_the_data(sessions, data):
    loaded = sessions["classification"]
    assert sorted(evaluation.classes_of(loaded)) == ["0", "1"]
    assert evaluate(loaded, "test").answers["label"] == (data / "test.label").read_text().split()
    assert evaluation.classes_of(sessions["masked_lm"]) == ()


def test_translations_are_answers_too(sessions, data):
    found = evaluate(sessions["translation"], "test", max_examples=4, beam=2)
    lines = (data / "test.b").read_text().splitlines()
    assert found.answers["reference"] == [lines[number] for number in found.answers["example"]]
    assert len(found.answers["hypothesis"]) == 4 and found.references_from == "tokenised"
    assert next(iter(found.metrics)) == "bleu" and found.sampled


def test_other_masks_and_other_samples_are_other_examples(files):
    path, data = files["masked_lm"]
    first, again, other = (evaluate(session.load(path, data, seed=seed, cpu=True), "test") for seed in (1, 1, 2))
    evaluation.refuse_other_examples("b.pt", again, "a.pt", first)
    with pytest.raises(LayerdropError, match="b.pt and a.pt read the data differently .other targets or masks."):
        evaluation.refuse_other_examples("b.pt", other, "a.pt", first)


def test_examples_that_are_too_long_are_counted_and_left_out_by_fairseq_too(sessions, data, tmp_path):
    path = checkpoints.save(tmp_path / "short.pt", data, "classification", "--max-positions 10")
    loaded = session.load(path, data / "nlu", cpu=True)
    found = evaluate(loaded, "test")
    assert found.skipped == 21 - len(found.answers["loss"]) == loaded.left_out("test") > 0 and not found.sampled
    command = fairseq_commands.commands(loaded, "test", found)["fairseq-validate"]
    assert f'"test_bsz": "{21 - found.skipped}"' in builders.run(*shlex.split(command)).stdout
    with pytest.raises(LayerdropError, match=f"{21 - found.skipped} and 21 examples"):
        evaluation.refuse_other_examples("b.pt", found, "a.pt", evaluate(sessions["classification"], "test"))


def test_a_diverged_model_is_refused(files, tmp_path):
    from layerdrop_plugin import checkpoint

    path, data = files["language_modeling"]
    state = checkpoint.read(path)
    for weight in state["model"].values():
        weight.fill_(1e38)  # finite, or the file would not be read at all
    checkpoint.write(state, tmp_path / "nan.pt")
    with pytest.raises(LayerdropError, match="nll_loss is nan on 'test': did the model diverge"):
        evaluate(session.load(tmp_path / "nan.pt", data, cpu=True), "test")


def test_commands_name_what_the_checkpoint_was_trained_with(data, tmp_path):
    more = "--adaptive-softmax-cutoff 10,20 --criterion adaptive_loss"
    path = checkpoints.save(tmp_path / "a model.pt", data, "language_modeling", more)
    loaded = session.load(path, data / "lm", batch_size=None, max_tokens=100, cpu=True)
    words = shlex.split(fairseq_commands.commands(loaded, "valid", evaluate(loaded, "valid"))["fairseq-validate"])
    options = dict(zip(words[2::2], words[3::2], strict=False))
    assert words[:2] == ["fairseq-validate", str(data / "lm")] and options["--path"] == path
    assert options["--max-tokens"] == "100" and "--batch-size" not in words
    assert words[words.index("--criterion") + 1] == "adaptive_loss"
