"""fairseq-train with ``--criterion head_importance``: beside training, and instead of it."""

import builders
import pytest
import torch
from two_workers import by_two

from layerdrop_plugin import checkpoint
from layerdrop_plugin.pruning.scores import Scores, fingerprint

TRANSLATE = (*builders.NMT, "--adam-eps", "1e-4", "--log-interval", "2")
WRAPPED = ("--criterion", "head_importance", "--base-criterion", "label_smoothed_cross_entropy")
SMOOTHED = ("--base-criterion-args", '{"label_smoothing": 0.1}')


def without(options, *names):
    """The *options* (each with a value) but those called *names*."""
    skipped = {place + offset for place, option in enumerate(options) if option in names for offset in (0, 1)}
    return [option for place, option in enumerate(options) if place not in skipped]


def wrapped(options):
    """The *options* with the wrapper around their criterion."""
    return [*without(options, "--criterion", "--label-smoothing"), *WRAPPED, *SMOOTHED]


def weights(folder):
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)["model"]


def assert_same_weights(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def assert_same_scores(found, expected, tolerance=1e-6):
    assert found.examples == expected.examples
    for name in ("scores", "normalized", "standard_error"):
        for key, rows in getattr(expected, name).items():
            mine, theirs = torch.tensor(getattr(found, name)[key]), torch.tensor(rows)
            torch.testing.assert_close(mine, theirs, rtol=0, atol=tolerance * max(1e-2, theirs.abs().max()))


@pytest.fixture(scope="module")
def translator(data, tmp_path_factory):
    """A translation model after a few updates."""
    folder = tmp_path_factory.mktemp("translator")
    builders.run("fairseq-train", data / "nmt", "--save-dir", folder, "--max-update", "8", *TRANSLATE)
    return folder / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def scores(data, translator):
    """What ``layerdrop importance`` says of the translation model."""
    file = translator.parent / "command.json"
    builders.run("layerdrop", "importance", data / "nmt", "--path", translator, "--out", file)
    return Scores.load(file)


@pytest.fixture(scope="module")
def classifier(data, parent, tmp_path_factory):
    """A fine-tuned classifier."""
    folder = tmp_path_factory.mktemp("classifier")
    builders.run(
        *("fairseq-train", data / "nlu", "--save-dir", folder, "--max-update", "4", "--prune-from", parent),
        *(*builders.FINETUNE, "--disable-validation", "--dropout", "0"),
    )
    return folder / "checkpoint_last.pt"


def test_training_goes_on_as_without_it(data, tmp_path):
    """Bit by bit, with dropout, LayerDrop and HeadDrop; a run may be resumed with it or without; its model is stock."""
    options = (*TRANSLATE, "--dropout", "0.2", "--encoder-layerdrop", "0.3", "--encoder-headdrop", "0.3")
    plain = ("fairseq-train", data / "nmt", "--save-dir", tmp_path / "plain", *options)
    estimating = ("fairseq-train", data / "nmt", "--save-dir", tmp_path / "estimating", *wrapped(options))
    resumed = ("fairseq-train", data / "nmt", "--save-dir", tmp_path / "estimating", *options)
    builders.run(*plain, "--max-update", "5")
    builders.run(*estimating, "--max-update", "3")
    state = torch.load(tmp_path / "estimating" / "checkpoint_last.pt", weights_only=True)
    assert state["cfg"]["criterion"]["_name"] == "label_smoothed_cross_entropy"
    builders.run(*resumed, "--max-update", "4")
    output = builders.run(*estimating, "--max-update", "5").stdout
    assert "Loaded checkpoint" in output
    assert_same_weights(weights(tmp_path / "estimating"), weights(tmp_path / "plain"))
    found = Scores.load(tmp_path / "estimating" / "importance.json")
    assert found.model is None
    assert 0 < found.examples <= 16  # of the last run


def test_several_workers_estimate_what_one_does(data, tmp_path):
    """Beside training, a last batch that one worker has to itself included."""
    options = (*wrapped(TRANSLATE), "--max-epoch", "1", "--batch-size", "8")
    train = ("fairseq-train", data / "nmt", *options, "--save-dir")
    by_two(*train, tmp_path / "two")
    builders.run(*train, tmp_path / "one", "--update-freq", "2")
    found, expected = (Scores.load(tmp_path / name / "importance.json") for name in ("two", "one"))
    assert found.examples == 120
    assert_same_scores(found, expected)
    for name, value in weights(tmp_path / "one").items():
        torch.testing.assert_close(weights(tmp_path / "two")[name], value, atol=1e-6, rtol=0)


ESTIMATE = ("--criterion", "head_importance", "--importance-only")


def test_estimate_only_of_a_translator(data, translator, scores, tmp_path):
    """The weights stay as they are; one worker, two workers and ``layerdrop importance`` say the same."""
    task = ("--task", "pruning_translation", "--arch", "layerdrop_transformer", "--prune-from", translator)
    rates = ("--dropout", "0.3", "--encoder-layerdrop", "0.5", "--decoder-headdrop", "0.5")
    options = without(TRANSLATE, "--criterion", "--label-smoothing", "--task", "--arch", "--dropout")
    train = ("fairseq-train", data / "nmt", *options, *task, *rates, *ESTIMATE, "--save-dir")
    builders.run(*train, tmp_path / "one")
    by_two(*train, tmp_path / "two", "--batch-size", "8")
    for name in ("one", "two"):
        assert_same_weights(weights(tmp_path / name), weights(translator.parent))
        found = Scores.load(tmp_path / name / "importance.json")
        assert found.examples == 120
        assert_same_scores(found, scores)
        assert (found.model, found.data, found.loss) == (scores.model, scores.data, pytest.approx(scores.loss))
    assert scores.model == fingerprint(weights(translator.parent))


def interrupted(train, folder, *, after, run=builders.run):
    """Run the command *train* into ``whole``, and into ``parts`` stopped *after* some updates; its scores in each."""
    run(*train, "--save-dir", folder / "whole")
    run(*train, "--save-dir", folder / "parts", "--max-update", after)
    partial = Scores.load(folder / "parts" / "importance.json")
    run(*train, "--save-dir", folder / "parts")
    whole, parts = (Scores.load(folder / name / "importance.json") for name in ("whole", "parts"))
    assert partial.examples < whole.examples
    assert_same_scores(parts, whole, 1e-9)
    assert (parts.loss, parts.model, parts.data) == (pytest.approx(whole.loss, rel=1e-12), whole.model, whole.data)
    counted = [{key: found.signature[key] for key in ("updates", "since_update")} for found in (parts, whole)]
    assert counted[0] == counted[1]
    return parts


def test_estimate_only_of_a_classifier(data, classifier, tmp_path):
    """Its criterion is the checkpoint's; interrupted, an estimate ends like an uninterrupted one."""
    options = without(builders.FINETUNE, "--criterion", "--best-checkpoint-metric", "--batch-size")
    options = [option for option in options if option != "--maximize-best-checkpoint-metric"]
    train = ("fairseq-train", data / "nlu", *options, *ESTIMATE, "--prune-from", classifier, "--batch-size", "7")
    found = interrupted(train, tmp_path, after=3)
    assert (found.examples, found.signature["updates"], found.signature["since_update"]) == (120, 18, 0)
    parts = tmp_path / "parts"
    assert_same_weights(weights(parts), weights(classifier.parent))
    cfg = checkpoint.read(parts / "checkpoint_last.pt")["cfg"]
    assert (cfg["task"]["_name"], cfg["criterion"]["_name"]) == ("sentence_prediction", "sentence_prediction")
    assert not any("importance" in key for key in cfg["task"])
    path = ("--path", parts / "checkpoint_last.pt")
    builders.run("fairseq-validate", data / "nlu", *path, *builders.VALIDATE)  # without this plugin
    (parts / "importance.json").unlink()  # killed between the last checkpoint and the file
    builders.run(*train, "--save-dir", parts)
    assert_same_scores(Scores.load(parts / "importance.json"), found, 0)


def test_an_interrupted_training_estimates_like_an_uninterrupted_one(data, tmp_path):
    """With fairseq's own tasks too; a run that goes on without the criterion loses the sums, which is said after it."""
    train = ("fairseq-train", data / "nmt", *wrapped(TRANSLATE), "--max-epoch", "2")
    found = interrupted(train, tmp_path, after=5)
    assert found.examples == 240
    plain = ("fairseq-train", data / "nmt", "--save-dir", tmp_path / "parts", *TRANSLATE, "--max-update")
    assert "Loaded checkpoint" in builders.run(*plain, "18").stdout
    again = ("fairseq-train", data / "nmt", "--save-dir", tmp_path / "parts", *wrapped(TRANSLATE), "--max-update")
    output = builders.run(*again, "20").stdout
    assert "the checkpoint has no sums of importance: the estimate begins anew after 18 updates" in output
    lost = Scores.load(tmp_path / "parts" / "importance.json")
    assert 0 < lost.examples <= 32
    assert (lost.signature["updates"], lost.signature["since_update"]) == (2, 18)


def test_workers_that_were_interrupted_count_nothing_twice(data, translator, tmp_path):
    task = ("--task", "pruning_translation", "--arch", "layerdrop_transformer", "--prune-from", translator)
    options = without(TRANSLATE, "--criterion", "--label-smoothing", "--task", "--arch", "--batch-size")
    train = ("fairseq-train", data / "nmt", *options, *task, *ESTIMATE, "--batch-size", "8")
    assert interrupted(train, tmp_path, after=3, run=by_two).examples == 120


def test_half_precision(data, translator, scores, tmp_path):
    """Close to single precision, of the same model; sums are kept in more than half."""
    precision = ("--fp16", "--memory-efficient-fp16")  # what fairseq can do on a CPU
    task = ("--task", "pruning_translation", "--arch", "layerdrop_transformer", "--prune-from", translator)
    options = without(TRANSLATE, "--criterion", "--label-smoothing", "--task", "--arch")
    builders.run("fairseq-train", data / "nmt", *options, *task, *ESTIMATE, *precision, "--save-dir", tmp_path)
    found = Scores.load(tmp_path / "importance.json")
    assert (found.examples, found.model) == (scores.examples, scores.model)
    for key, rows in scores.scores.items():
        mine, theirs = torch.tensor(found.scores[key]), torch.tensor(rows)
        assert (mine - theirs).abs().max() < 0.1 * theirs.max(), key


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--criterion", "label_smoothed_cross_entropy", "--importance-only"), "--importance-only needs --criterion"),
        ((*ESTIMATE, "--finetune-from-model", "PARENT"), "leave out --finetune-from-model"),
        ((*ESTIMATE, "--base-criterion", "masked"), "did you mean masked_lm"),
    ],
)
def test_bad_commands(options, message, data, translator, tmp_path):
    task = ("--task", "pruning_translation", "--arch", "layerdrop_transformer", "--prune-from", translator)
    plain = without(TRANSLATE, "--criterion", "--label-smoothing", "--task", "--arch")
    given = [translator if option == "PARENT" else option for option in options]
    result = builders.run("fairseq-train", data / "nmt", *plain, *task, *given, "--save-dir", tmp_path, check=False)
    assert result.returncode == 1
    assert "Traceback" not in result.stdout
    assert message in result.stdout.strip().splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_the_criterion_of_a_checkpoint_of_another_task(data, parent, tmp_path):
    options = without(builders.FINETUNE, "--criterion")
    result = builders.run(
        *("fairseq-train", data / "nlu", "--save-dir", tmp_path, "--prune-from", parent, *options),
        *("--criterion", "head_importance"),
        check=False,
    )
    assert result.returncode == 1
    assert "give --base-criterion NAME for sentence_prediction" in result.stdout.strip().splitlines()[-1]
