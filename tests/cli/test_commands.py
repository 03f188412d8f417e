import json
import os
import stat

import builders
import pytest
import torch

from layerdrop_plugin.cli.main import ALIASES, COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command, layerdrop):
    status, output, _ = layerdrop(command, "--help")
    assert status == 0
    assert "usage: layerdrop " + command in output


@pytest.mark.parametrize("old", ALIASES)
def test_old_names_of_commands_work_and_are_not_listed(old, layerdrop):
    assert f"usage: layerdrop {ALIASES[old]} " in layerdrop(old, "--help")[1]
    assert f" {old} " not in layerdrop("--help")[1]


def test_prune_says_how_each_reading_of_every_other_counts(layerdrop):
    said = " ".join(layerdrop("prune", "--help")[1].split())
    assert "every-other:P (drop a share P by the LayerDrop paper's formula, depth counted from 0" in said
    assert "every-other-from-1:P (depth counted from 1" in said


def test_both_readings_of_every_other_prune(layerdrop, parent, tmp_path):
    for name, layers in (("every-other", "1, 3"), ("every-other-from-1", "0, 2")):
        layerdrop("prune", parent, tmp_path / "child.pt", "--encoder-layers", f"{name}:0.5")
        assert f"keeping encoder layers [{layers}] of 4" in layerdrop("inspect", tmp_path / "child.pt")[1]


def test_path(layerdrop):
    assert os.path.samefile(layerdrop("path")[1].strip(), builders.USER_DIR)


def test_prune_and_inspect(layerdrop, parent, tmp_path):
    child = tmp_path / "child.pt"
    status, output, _ = layerdrop("prune", parent, child, "--encoder-layers", "every-other:0.5")
    assert status == 0
    assert '{"version": 1, "encoder": {"layers": [1, 3]}}' in output
    assert "2 of 4 layers kept, 0.500 of them dropped" in output
    found = json.loads(layerdrop("inspect", child, "--json")[1])
    sizes = {"self_attn": [2, 2], "ffn": [32, 32]}
    assert found["encoder"] == {"layers": 2, "heads": 2, "ffn": 32, "embed_dim": 16, "sizes": sizes}
    assert found["architecture"] == "roberta"
    assert found["provenance"]["ancestors"][0]["file"] == parent.name
    assert found["bytes"] == child.stat().st_size
    assert "keeping encoder layers [1, 3] of 4" in layerdrop("inspect", child)[1]
    assert torch.load(child, weights_only=True)["args"] is None
    assert not stat.S_IMODE(child.stat().st_mode) & 0o111


def test_prune_by_plan_and_dry_run(layerdrop, parent, tmp_path):
    (tmp_path / "plan.json").write_text('{"version": 1, "encoder": {"layers": [0, 3]}}')
    command = ("prune", parent, tmp_path / "child.pt", "--plan", tmp_path / "plan.json")
    assert "nothing written" in layerdrop(*command, "--dry-run")[1]
    assert not (tmp_path / "child.pt").exists()
    assert layerdrop(*command)[0] == 0
    assert (tmp_path / "child.pt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["PARENT", "CHILD"], "say what to keep"),
        (["PARENT", "PARENT", "--encoder-layers", "first:1"], "is the input itself"),
        (["PARENT", "LINK", "--encoder-layers", "first:1"], "is the input itself"),
        (["PARENT", "CHILD", "--encoder-layers", "keep:9"], "layer 9"),
        (["PARENT", "CHILD", "--encoder-layers", "first:1", "--plan", "x.json"], "not both"),
        (["PARENT", "nowhere/child.pt", "--encoder-layers", "first:1"], "folder nowhere does not exist"),
        (["PARENT", "/proc/self/child.pt", "--encoder-layers", "first:1"], "cannot write"),
        (["nowhere.pt", "CHILD", "--encoder-layers", "first:1"], "nowhere.pt does not exist"),
    ],
)
def test_bad_requests(arguments, message, layerdrop, parent, tmp_path):
    (tmp_path / "link.pt").symlink_to(parent)
    before = parent.read_bytes()
    given = {"PARENT": parent, "CHILD": tmp_path / "child.pt", "LINK": tmp_path / "link.pt"}
    status, _, error = layerdrop("prune", *(given.get(argument, argument) for argument in arguments))
    assert status == 1
    assert message in error
    assert "\n" not in error
    assert parent.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.pt"]


def test_check(layerdrop, parent, tmp_path):
    assert layerdrop("check", parent)[0] == 0
    (tmp_path / "cut.pt").write_bytes(parent.read_bytes()[:-100])
    status, _, error = layerdrop("check", parent, tmp_path / "cut.pt")
    assert status == 1
    assert "cut.pt" in error


def test_convert_asks_for_trust(layerdrop, parent, tmp_path):
    status, _, error = layerdrop("convert", parent, tmp_path / "out.pt")
    assert status == 1
    assert "--trust" in error
    assert layerdrop("convert", parent, parent, "--trust")[0] == 1
    assert layerdrop("convert", parent, tmp_path / "out.pt", "--trust")[0] == 0
    assert layerdrop("inspect", tmp_path / "out.pt")[0] == 0


def test_the_console_command_ends_in_one_line(tmp_path):
    result = builders.run("layerdrop", "inspect", tmp_path / "nowhere.pt", check=False)
    assert result.returncode == 1
    assert len(result.stdout.strip().splitlines()) == 1
