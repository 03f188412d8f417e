"""What a pruning task goes on from: the child that its options ask for, and nothing else."""

import shutil

import builders
import pytest
import torch
from omegaconf import OmegaConf

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune
from layerdrop_plugin.pruning.rules import Rules
from layerdrop_plugin.tasks.resume import interrupted_child

PLANS = {"half": Plan(encoder=StackPlan((1, 3))), "all": Plan(), "heads": Plan(StackPlan((0, 1), {1: (0,)}))}
EVERY_OTHER = ("--prune-encoder-layers", "every-other:0.5")
RESET = ("--reset-optimizer", "--reset-dataloader", "--reset-meters", "--reset-lr-scheduler")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A parent, another one, and children by each of PLANS; ``again`` is a child of the child ``half``."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(1)
    for name in ("parent", "other"):
        state = builders.state_of(builders.build("layerdrop_roberta"))
        torch.save(state, folder / f"{name}.pt")
    for name, plan in PLANS.items():
        save_child(folder / "parent.pt", plan, folder / f"{name}.pt")
    save_child(folder / "half.pt", Plan(encoder=StackPlan((1,))), folder / "again.pt")
    return folder


def save_child(parent, plan, child):
    checkpoint.write(prune(Parent.load(parent), plan).state, child)


def go_on(files, folder, child, plan, parent=None, restore=checkpoint.LAST):
    """Go on from *child*, lying as a run's last checkpoint in *folder* unless *restore* names it."""
    file = files / f"{child}.pt" if child in ("parent", "other", "again", *PLANS) else child
    if restore == checkpoint.LAST:
        file = shutil.copy(file, folder / restore)
    begin = OmegaConf.create({"restore_file": str(restore), "save_dir": str(folder)})
    asked = folder / "asked.json"
    if plan is not None:
        asked.write_text(plan.to_json())
    return interrupted_child(str(file), begin, parent and str(files / f"{parent}.pt"), Rules(plan_file=str(asked)))


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("parent", ["parent", "gone", None])
def test_a_child_of_the_plan_in_the_save_folder_goes_on(name, parent, files, tmp_path):
    """Whether its parent is there, gone or not named; pruned of heads, of layers or of nothing."""
    child = go_on(files, tmp_path, name, PLANS[name], parent)
    assert child.shape.encoder.layers == len(PLANS[name].encoder.layers if PLANS[name].encoder else range(4))


def test_a_pruned_child_that_was_pruned_again_goes_on(files, tmp_path):
    last = Plan(encoder=StackPlan((1,)))
    assert go_on(files, tmp_path, "again", last, "half").shape.encoder.layers == 1
    with pytest.raises(LayerdropError, match="child of another parent"):
        go_on(files, tmp_path, "again", last, "parent")


def test_a_child_of_another_folder_goes_on_if_its_parent_shows_that_it_is_one(files, tmp_path):
    child = files / "half.pt"
    assert go_on(files, tmp_path, "half", PLANS["half"], "parent", restore=child).weights
    for parent in (None, "gone"):
        with pytest.raises(LayerdropError, match=f"not in --save-dir.*--prune-from {child} and leave out --restore"):
            go_on(files, tmp_path, "half", PLANS["half"], parent, restore=child)
    with pytest.raises(LayerdropError, match="child of another parent .* leave out --restore-file"):
        go_on(files, tmp_path, "half", PLANS["half"], "half", restore=child)  # by the same rule once more


@pytest.mark.parametrize(
    ("child", "plan", "parent", "message"),
    [
        ("parent", "half", "parent", "does not say that it was pruned"),
        ("parent", "all", "parent", "does not say that it was pruned"),
        ("other", "half", "parent", "does not say that it was pruned"),
        ("half", "heads", "parent", "by another plan"),
        ("half", "all", None, "by another plan"),
        ("half", "half", "other", "of another parent"),
    ],
)
def test_what_is_not_the_child_asked_for_is_refused(child, plan, parent, message, files, tmp_path):
    with pytest.raises(LayerdropError, match=f"{message}.* choose another --save-dir"):
        go_on(files, tmp_path, child, PLANS[plan], parent)
    with pytest.raises(LayerdropError, match="give --prune-from .* leave out --restore-file") as error:
        go_on(files, tmp_path, child, PLANS[plan], parent, restore=files / f"{child}.pt")
    assert "\n" not in str(error.value)


def test_a_plan_that_cannot_be_checked_is_said(files, tmp_path, caplog):
    """In the save folder; elsewhere the missing file is the plan's own error."""
    go_on(files, tmp_path, "half", plan=None)
    assert "asked.json is gone" in caplog.text


def test_restore_file_does_not_switch_pruning_off(data, parent, tmp_path):
    command = ("fairseq-train", data / "nlu", "--save-dir", tmp_path, *builders.FINETUNE, *EVERY_OTHER)
    for options in (("--prune-from", parent), ()):
        refused = builders.run(*command, *options, "--restore-file", parent, *RESET, "--max-update", "2", check=False)
        assert refused.returncode == 1
        assert "Traceback" not in refused.stdout
        assert refused.stdout.strip().splitlines()[-1].endswith(f"--prune-from {parent} and leave out --restore-file")
    assert not list(tmp_path.glob("*.pt"))
    builders.run(*command, "--prune-from", parent, "--max-update", "2")
    last = tmp_path / "checkpoint_last.pt"
    assert "Loaded checkpoint" in builders.run(*command, "--restore-file", last, "--max-update", "4").stdout
    state = checkpoint.read(last)
    assert (state["cfg"]["model"]["encoder_layers"], state["optimizer_history"][-1]["num_updates"]) == (2, 4)


def test_an_unpruned_training_in_the_save_folder_is_refused(data, parent, tmp_path):
    shutil.copy(parent, tmp_path / "checkpoint_last.pt")
    command = ("fairseq-train", data / "nlu", "--save-dir", tmp_path, "--prune-from", parent, *builders.FINETUNE)
    refused = builders.run(*command, *EVERY_OTHER, "--max-update", "2", check=False)
    assert refused.returncode == 1
    assert "choose another --save-dir" in refused.stdout.strip().splitlines()[-1]
    assert checkpoint.sha256(tmp_path / "checkpoint_last.pt") == checkpoint.sha256(parent)
