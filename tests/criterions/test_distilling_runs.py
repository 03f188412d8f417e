"""fairseq-train with ``--criterion pruning_distillation``: resumed, two workers, half precision, with importance."""

import json
import re
import shutil

import builders
import checkpoints
import pytest
import torch
from two_workers import by_two

from layerdrop_plugin import checkpoint
from layerdrop_plugin.pruning.scores import Scores

WEIGHTS = {"distill_weight": 0.6, "distill_temperature": 3.0, "distill_hidden": 2.0}
CHILD = ("--prune-encoder-layers", "keep:1,3")
JSON = ("--log-format", "json", "--log-interval", "1")
RUN = ("--dropout", "0", "--disable-validation", *builders.TRAIN)
CLASSIFY = ("--num-classes", "2", "--init-token", "0", "--no-epoch-checkpoints", *RUN)
PRUNED = ("--task", "pruning_sentence_prediction", "--arch", "layerdrop_roberta", *CLASSIFY)


def distil(base="sentence_prediction"):
    """The criterion around *base*, without a teacher."""
    options = (word for name, value in WEIGHTS.items() for word in (f"--{name.replace('_', '-')}", str(value)))
    return ("--criterion", "pruning_distillation", "--base-criterion", base, *options)


@pytest.fixture(scope="module")
def classifier(data, tmp_path_factory):
    """The parent, of four layers, which is the teacher too."""
    path = tmp_path_factory.mktemp("classifier") / "parent.pt"
    return checkpoints.save(path, data, "classification", "--encoder-layers 4")


def logged(output, name):
    """What every update logged as *name*."""
    return [float(value) for value in re.findall(rf'train_inner.*"{name}": "([0-9.e+-]+)"', output)]


def weights(folder):
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)["model"]


def assert_close(found, expected, tolerance=1e-6):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=tolerance, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


def numbers_of_optimizer(state):
    """How many numbers the optimizer keeps."""
    kept = [value for of in state["last_optimizer_state"]["state"].values() for value in of.values()]
    return sum(value.numel() for value in kept if isinstance(value, torch.Tensor))


def test_a_run_resumes_with_its_teacher_and_its_checkpoint_has_none(data, classifier, tmp_path):
    """It holds what that of a run without distillation does; evaluating needs no plugin, no teacher."""
    teacher = shutil.copy(classifier, tmp_path / "teacher.pt")
    child = (*PRUNED, *CHILD, "--encoder-layerdrop", "0.3", "--prune-from", classifier)
    plain = ("fairseq-train", data / "nlu", *child, "--criterion", "sentence_prediction")
    alone = ("fairseq-train", data / "nlu", *child, *distil())
    train = (*alone, "--teacher", teacher)
    output = builders.run(*train, *JSON, "--save-dir", tmp_path / "whole", "--max-update", "6").stdout
    assert len(logged(output, "distill_loss")) == len(logged(output, "distill_hidden")) == 6
    builders.run(*train, "--save-dir", tmp_path / "parts", "--max-update", "3")
    builders.run(*train, "--save-dir", tmp_path / "parts", "--max-update", "6")
    assert_close(weights(tmp_path / "parts"), weights(tmp_path / "whole"), 0)
    builders.run(*plain, "--save-dir", tmp_path / "plain", "--max-update", "6")
    found, expected = (checkpoint.read(tmp_path / name / "checkpoint_last.pt") for name in ("whole", "plain"))
    assert found["model"].keys() == expected["model"].keys()
    assert found["cfg"]["criterion"] == expected["cfg"]["criterion"]
    assert found["criterion"] is None
    assert len(set(map(numbers_of_optimizer, (found, expected)))) == 1
    assert not [word for word in ("teacher", "distill", "base_criterion") if word in json.dumps(found["cfg"])]
    teacher.unlink()
    path = ("--path", tmp_path / "whole" / "checkpoint_last.pt")
    builders.run("fairseq-validate", data / "nlu", *path, *builders.VALIDATE)
    for given, message in ((train, "teacher.pt does not exist"), (alone, "needs --teacher PARENT")):
        result = builders.run(*given, "--save-dir", tmp_path / "whole", "--max-update", "7", check=False)
        assert result.returncode == 1
        assert message in result.stdout.strip().splitlines()[-1]
        assert "Traceback" not in result.stdout


def test_two_workers_step_as_one(data, tmp_path):
    """Which takes their batches after each other; decoder and encoder pruned."""
    teacher = checkpoints.save(tmp_path / "t.pt", data, "translation", "--encoder-layers 4 --decoder-layers 3")
    task = ("--task", "pruning_translation", "--arch", "layerdrop_transformer", "-s", "a", "-t", "b")
    given = (*task, "--share-all-embeddings", *RUN, *distil("label_smoothed_cross_entropy"), "--adam-eps", "1e-4")
    pruned = (*CHILD, "--prune-decoder-layers", "keep:0,2", "--prune-from", teacher, "--teacher", teacher)
    train = ("fairseq-train", data / "nmt", *given, *pruned, "--max-update", "3", "--save-dir")
    by_two(*train, tmp_path / "two", "--batch-size", "8")
    builders.run(*train, tmp_path / "one", "--batch-size", "8", "--update-freq", "2")
    assert_close(weights(tmp_path / "two"), weights(tmp_path / "one"))


def test_half_precision_learns_the_same(data, classifier, tmp_path):
    """The parts of the loss, with fp16's loss scaling; the teacher is cast as the model is."""
    child = (*PRUNED, *CHILD, "--prune-from", classifier, *distil(), "--teacher", classifier)
    train = ("fairseq-train", data / "nlu", *child, *JSON)
    half = ("--fp16", "--memory-efficient-fp16", "--fp16-init-scale", "4")  # what fairseq can do on a CPU
    seen = []
    for name, more in (("whole", ()), ("half", half)):
        output = builders.run(*train, *more, "--max-update", "4", "--save-dir", tmp_path / name).stdout
        seen.append([logged(output, part) for part in ("distill_loss", "distill_hidden", "gnorm")])
    for expected, found in zip(*seen, strict=True):
        assert len(found) == 4
        assert found == pytest.approx(expected, rel=0.08)


def test_a_stock_task_distils_a_child_and_goes_on_knowing_its_parent(data, classifier, tmp_path):
    """fairseq's own architecture and task, fewer layers: its checkpoints say what the child was pruned from."""
    builders.run("layerdrop", "prune", classifier, tmp_path / "child.pt", "--encoder-layers", "keep:1,3")
    shape = ("--encoder-layers", "2", "--encoder-embed-dim", "8", "--encoder-ffn-embed-dim", "12")
    given = ("--task", "sentence_prediction", "--arch", "roberta", *CLASSIFY, *distil(), *shape)
    train = (*given, "--encoder-attention-heads", "2", "--max-positions", "40", "--teacher", classifier)
    train = ("fairseq-train", data / "nlu", *train, "--finetune-from-model", tmp_path / "child.pt", *JSON)
    builders.run(*train, "--save-dir", tmp_path / "run", "--max-update", "2")
    (tmp_path / "child.pt").unlink()
    output = builders.run(*train, "--save-dir", tmp_path / "run", "--max-update", "3").stdout
    assert len(logged(output, "distill_hidden")) == 1
    last = checkpoint.read(tmp_path / "run" / "checkpoint_last.pt")["cfg"]
    assert last["layerdrop"]["ancestors"][0]["plan"]["encoder"]["layers"] == [1, 3]


def test_fewer_heads_and_units_are_distilled_with_their_importance(data, classifier, tmp_path):
    """head_importance around it: the training is the same, and the scores are those of the whole loss."""
    plan = {"version": 1, "encoder": {"layers": [0, 2], "self_attn": {"0": [1], "2": []}, "ffn": {"2": "0-4"}}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    child = (*PRUNED, "--prune-from", classifier, "--prune-plan", tmp_path / "plan.json")
    train = ("fairseq-train", data / "nlu", *child, "--max-update", "3", "--save-dir")
    builders.run(*train, tmp_path / "plain", *distil(), "--teacher", classifier)
    nested = json.dumps(WEIGHTS | {"base_criterion": "sentence_prediction", "teacher": classifier})
    around = ("--criterion", "head_importance", "--base-criterion", "pruning_distillation")
    builders.run(*train, tmp_path / "scored", *around, "--base-criterion-args", nested)
    assert_close(weights(tmp_path / "scored"), weights(tmp_path / "plain"), 0)
    found = Scores.load(tmp_path / "scored" / "importance.json")
    assert found.examples > 0
    assert found.signature["criterion"]["_name"] == "pruning_distillation"
    cfg = checkpoint.read(tmp_path / "scored" / "checkpoint_last.pt")["cfg"]
    assert cfg["criterion"]["_name"] == "sentence_prediction"
    assert not [word for word in ("importance", "distill") if word in json.dumps(cfg)]
