"""The command starts without torch and fairseq, and imports them when a subcommand needs them."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import builders
import checkpoints
import pytest
import torch
from fairseq import checkpoint_utils, options
from fairseq.models import ARCH_MODEL_NAME_REGISTRY

from layerdrop_plugin import checkpoint
from layerdrop_plugin.cli.main import COMMANDS
from layerdrop_plugin.importance import METHOD_NAMES
from layerdrop_plugin.importance.methods import METHODS
from layerdrop_plugin.pruning import families

HEAVY = ("torch", "fairseq", "numpy", "matplotlib", "scipy", "omegaconf")
START = f"""
import atexit, sys
import layerdrop_command
atexit.register(lambda: print("imported", *(name for name in {HEAVY} if name in sys.modules), file=sys.stderr))
layerdrop_command.main()
"""


def python(code, *arguments):
    """Run *code* in a new Python."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(Path(builders.USER_DIR).parent)},
    )


def imported(*arguments):
    """What ``layerdrop ARGUMENTS`` imports of HEAVY."""
    result = python(START, *arguments)
    assert result.returncode == 0, result.stderr
    return set(result.stderr.splitlines()[-1].split()[1:])


@pytest.fixture(scope="module")
def preset(data, tmp_path_factory):
    """A checkpoint as fairseq-train saves it today, of an architecture with a name of its own."""
    path = tmp_path_factory.mktemp("preset") / "parent.pt"
    checkpoints.save(path, data, "masked_lm", "--arch layerdrop_roberta_tiny")
    return path


@pytest.fixture(scope="module")
def old(data, preset):
    """The same as fairseq saved it before 2021."""
    state = torch.load(preset, weights_only=True)
    folder, words = checkpoints.KINDS["masked_lm"]
    args = options.parse_args_and_arch(options.get_training_parser(), [str(data / folder), *words.split()])
    args.arch = "layerdrop_roberta_tiny"
    history = [{"criterion_name": "MaskedLmLoss", "best_loss": 1.0, "optimizer": {}}]
    extra = {"epoch": 1, "batch_offset": 0, "val_loss": 1.0}
    path = preset.with_name("old.pt")
    torch.save({"args": args, "model": state["model"], "optimizer_history": history, "extra_state": extra}, path)
    return path


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)])
def test_help_imports_nothing_heavy(arguments):
    assert imported(*arguments) == set()


def test_path_and_check_import_nothing_heavy(preset):
    builders.save_as_before_2020({"model": {"weight": torch.zeros(3)}}, preset.with_name("before_2020.pt"))
    assert imported("path") == set()
    assert imported("check", preset, preset.with_name("before_2020.pt")) == set()


def test_inspect_imports_fairseq_for_old_files_only(preset, old):
    assert "fairseq" not in imported("inspect", preset)
    assert "fairseq" in imported("inspect", old)


def test_an_old_file_is_upgraded(preset, old):
    new, upgraded = checkpoint.read(preset), checkpoint.read(old)
    assert upgraded["cfg"]["model"]["encoder_layers"] == new["cfg"]["model"]["encoder_layers"]
    assert upgraded["optimizer_history"][-1]["num_updates"] == 0
    assert upgraded["extra_state"]["train_iterator"]["epoch"] == 1


def test_a_file_of_today_is_read_as_fairseq_reads_it(parent):
    ours, theirs = checkpoint.read(parent), checkpoint_utils.load_checkpoint_to_cpu(str(parent))
    assert ours["cfg"] == checkpoint.plain(theirs["cfg"])
    assert ours.keys() == theirs.keys()
    assert ours["optimizer_history"] == theirs["optimizer_history"]
    assert all(torch.equal(weight, theirs["model"][name]) for name, weight in ours["model"].items())


def test_names_of_our_architectures_say_their_model():
    for arch, model in ARCH_MODEL_NAME_REGISTRY.items():
        said = families.model_named(arch)
        assert said == model if arch.startswith("layerdrop_") else said in (model, None)


def test_the_names_of_the_methods_are_those_of_the_table():
    assert tuple(METHODS) == METHOD_NAMES


@pytest.mark.parametrize("first", ["", "import fairseq.tasks.masked_lm, torch"])
@pytest.mark.parametrize("how", ["import layerdrop_plugin", "from layerdrop_plugin.pruning import plan"])
def test_an_import_in_python_registers_and_patches(first, how):
    code = (
        f"{first}\n{how}\n"
        "from fairseq.models import ARCH_MODEL_REGISTRY\n"
        "from fairseq import checkpoint_utils\n"
        "assert 'layerdrop_roberta_tiny' in ARCH_MODEL_REGISTRY\n"
        "assert hasattr(checkpoint_utils.load_checkpoint_to_cpu, '__wrapped__')\n"
    )
    # A fork of the server has imported fairseq already.
    result = builders.run("python", "-c", code, check=False) if first else python(code)
    assert result.returncode == 0, result.stdout


def test_within_the_command_registering_waits_until_it_is_asked_for():
    result = python(
        "import layerdrop_command, layerdrop_plugin, sys\n"
        "assert 'fairseq' not in sys.modules\n"
        "layerdrop_plugin.register()\n"
        "layerdrop_plugin.register()\n"
        "from fairseq.models import ARCH_MODEL_REGISTRY\n"
        "assert 'layerdrop_roberta_tiny' in ARCH_MODEL_REGISTRY\n"
    )
    assert result.returncode == 0, result.stderr


def test_every_subcommand_registers_unless_it_says_that_it_needs_no_fairseq(monkeypatch):
    from layerdrop_plugin.cli import main

    called = []
    monkeypatch.setattr(main, "register", lambda: called.append("register"))
    for without in (True, False):
        parsed = argparse.Namespace(without_fairseq=without, run=lambda args: called.append(args.without_fairseq))
        monkeypatch.setattr(
            main, "build_parser", lambda parsed=parsed: argparse.Namespace(parse_args=lambda arguments: parsed)
        )
        main.main([])
    assert called == [True, "register", False]
