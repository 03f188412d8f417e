"""Checkpoints with learned drop rates: shown, evaluated, pruned by them; their children have none."""

import json

import builders
import checkpoints
import pytest
import torch
from omegaconf import OmegaConf

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.prune import prune
from layerdrop_plugin.pruning.rules import Rules
from layerdrop_plugin.tasks.resume import interrupted_child

RATES = {"encoder": [0.2, 0.1, 0.5, 0.4], "decoder": [0.3, 0.1, 0.2]}


@pytest.fixture(scope="module")
def learned(data, tmp_path_factory):
    """Paths of checkpoints with learned rates, by kind."""
    folder = tmp_path_factory.mktemp("learned")
    found = {}
    for kind, stacks in (("masked_lm", ["encoder"]), ("translation", ["encoder", "decoder"])):
        more = " ".join(f"--{stack}-layerdrop 0.3 --{stack}-layers {len(RATES[stack])}" for stack in stacks)
        found[kind] = checkpoints.save(folder / f"{kind}.pt", data, kind, f"--learn-layerdrop {more}")
        state = torch.load(found[kind], weights_only=True)
        for name, value in state["model"].items():
            if name.endswith("learned_rates.rates"):
                value.copy_(torch.tensor(RATES[name.split(".")[0]]))
        torch.save(state, found[kind])
    return found


def test_inspect_shows_them_and_does_not_count_them_as_parameters(layerdrop, learned):
    status, output, _ = layerdrop("inspect", learned["translation"])
    assert status == 0
    lines = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in output.splitlines()}
    assert lines["encoder learned rates"] == "0.200 0.100 0.500 0.400"
    assert lines["decoder learned rates"] == "0.300 0.100 0.200"
    found = json.loads(layerdrop("inspect", learned["masked_lm"], "--json")[1])
    assert found["learned_rates"] == {"encoder": pytest.approx(RATES["encoder"])}
    weights = Parent.load(learned["masked_lm"]).learned_weights
    assert not any("learned_rates" in name for name in weights)


def test_the_rule_keeps_the_layers_with_the_lowest_rates(layerdrop, learned, tmp_path):
    child = tmp_path / "child.pt"
    status, output, error = layerdrop(
        *("prune", learned["translation"], child, "--encoder-layers", "learned:2", "--decoder-layers", "learned:2")
    )
    assert status == 0, error
    assert '"encoder": {"layers": [0, 1]}, "decoder": {"layers": [1, 2]}' in output
    state = torch.load(child, weights_only=True)
    names = (*state["model"], *state["cfg"]["model"])
    assert not any("learned_rates" in name or "learn_layerdrop" in name for name in names)
    assert state["cfg"]["model"]["arch"] == "transformer"
    assert "learned rates" not in layerdrop("inspect", child)[1]


def test_the_whole_model_is_evaluated_and_a_child_needs_no_plugin(data, learned, tmp_path):
    child = tmp_path / "child.pt"
    torch.save(prune(Parent.load(learned["masked_lm"]), Rules(layers={"encoder": "learned:4"})).state, child)
    losses = []
    for path, plugin in ((learned["masked_lm"], ("--user-dir", builders.USER_DIR)), (child, ())):
        output = builders.run(
            *("fairseq-validate", data / "lm", "--path", path, "--task", "masked_lm", "--criterion", "masked_lm"),
            *("--batch-size", "8", "--cpu", "--required-batch-size-multiple", "1", *plugin),
        ).stdout
        losses.append(output.strip().splitlines()[-1].split(" loss ")[1].split(" ")[0])
    assert losses[0] == losses[1]


def refusal(layerdrop, *arguments) -> str:
    status, _, error = layerdrop(*arguments)
    assert status == 1
    assert "\n" not in error
    return error


def test_models_without_learned_rates_are_refused(layerdrop, learned, data, tmp_path):
    plain = checkpoints.save(tmp_path / "plain.pt", data, "masked_lm")
    begun = checkpoints.save(tmp_path / "begun.pt", data, "masked_lm", "--encoder-layerdrop 0.3 --learn-layerdrop")
    child = tmp_path / "child.pt"
    assert "has no learned drop rates" in refusal(layerdrop, "prune", plain, child, "--encoder-layers", "learned:1")
    assert "has not learned its drop" in refusal(layerdrop, "prune", begun, child, "--encoder-layers", "learned:1")
    assert "keep between 1 and 4" in refusal(
        layerdrop, "prune", learned["masked_lm"], child, "--encoder-layers", "learned:5"
    )
    assert not child.exists()


@pytest.mark.parametrize("change", ["missing", "shape", "unasked"])
def test_rates_that_are_not_what_the_configuration_says_are_refused(change, layerdrop, learned, tmp_path):
    state = torch.load(learned["masked_lm"], weights_only=True)
    name = "encoder.sentence_encoder.learned_rates.bias"
    if change == "missing":
        del state["model"][name]
    elif change == "shape":
        state["model"][name] = torch.zeros(3)
    else:
        state["cfg"]["model"].learn_layerdrop = False
    torch.save(state, tmp_path / "wrong.pt")
    error = refusal(layerdrop, "prune", tmp_path / "wrong.pt", tmp_path / "child.pt", "--encoder-layers", "first:1")
    assert "its weight encoder.sentence_encoder.learned_rates." in error


def test_a_pruning_task_resumes_by_the_rates_in_the_childs_provenance(learned, tmp_path):
    rules = Rules(layers={"encoder": "learned:2"})
    child = tmp_path / "checkpoint_last.pt"
    torch.save(prune(Parent.load(learned["masked_lm"]), rules).state, child)
    begin = OmegaConf.create({"restore_file": child.name, "save_dir": str(tmp_path)})
    assert interrupted_child(str(child), begin, None, rules).shape.encoder.layers == 2
    with pytest.raises(LayerdropError, match="by another plan"):
        interrupted_child(str(child), begin, None, Rules(layers={"encoder": "learned:1"}))


def test_a_pruning_task_does_not_learn_rates(data, parent, tmp_path):
    run = builders.run(
        *("fairseq-train", data / "nlu", "--save-dir", tmp_path, "--prune-from", parent, *builders.FINETUNE),
        *("--prune-encoder-layers", "first:2", "--encoder-layerdrop", "0.2", "--learn-layerdrop", "--max-update", "1"),
        check=False,
    )
    assert run.returncode == 1
    last = run.stdout.strip().splitlines()[-1]
    assert last.endswith("leave out --learn-layerdrop, or train with --task sentence_prediction")
    assert "Traceback" not in run.stdout
    assert not list(tmp_path.glob("*.pt"))
