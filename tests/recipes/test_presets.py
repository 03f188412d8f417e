"""Every preset trains: two updates on the CPU of a model of its own architecture, made small by the environment."""

import re
import subprocess

import pytest

from layerdrop_plugin.cli.inspect import describe

from .conftest import RECIPES, TOY_SHAPE, succeeds

PRESETS = sorted(path.stem for path in RECIPES.glob("presets/*.sh"))
SHAPE = " ".join(TOY_SHAPE)
# Sizes, batches and updates; everything else is the preset's. Two passes make a batch, as on one GPU.
SMALL = {
    "PRETRAIN_SHAPE": SHAPE, "PRETRAIN_TOKENS": "32", "PRETRAIN_BATCH": "8", "PRETRAIN_BATCH_PER_GPU": "4",
    "PRETRAIN_UPDATES": "2", "PRETRAIN_WARMUP": "1", "PRETRAIN_SAVE_UPDATES": "2",
    "FINETUNE_BATCH": "4", "FINETUNE_EPOCHS": "1",
    "NMT_SHAPE": f"{SHAPE} {SHAPE.replace('encoder', 'decoder')}", "NMT_BATCH": "256", "NMT_BATCH_PER_GPU": "128",
    "NMT_UPDATES": "2", "NMT_WARMUP": "1", "NMT_SAVE_UPDATES": "2",
    "NMT_FINETUNE_UPDATES": "2", "NMT_FINETUNE_WARMUP": "1",
    "LOG_INTERVAL": "1", "NUM_WORKERS": "0",
}  # fmt: skip


def values(preset, **variables):
    """The variables that a preset sets, by name."""
    script = f'RECIPES={RECIPES}; set -a; source "$RECIPES/presets/{preset}.sh"; env -0'
    command = ["bash", "-euc", script]
    done = subprocess.run(
        command, env={"PATH": "/usr/bin:/bin"} | variables, capture_output=True, text=True, check=True
    )
    found = dict(variable.split("=", 1) for variable in done.stdout.split("\0") if variable)
    return {name: value for name, value in found.items() if re.fullmatch(r"[A-Z_]+_[A-Z_]+", name)}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_sets_every_number_and_the_environment_wins(preset):
    found = values(preset)
    assert found.keys() == values("tiny").keys() and found["NMT_ARCH"]
    assert values(preset, NMT_LR="1e-9") == found | {"NMT_LR": "1e-9"}
    assert SMALL.keys() <= found.keys()


@pytest.fixture(scope="session")
def data(once):
    """Folders `text`, `sentences` (8 to train on) and `pairs` of sentences of our own."""

    def fill(out):
        lines = [f"the {noun} {verb} {number}" for number in range(30) for noun, verb in ("ab", "cd")]
        rows = [f"{line}\t{number % 2}" for number, line in enumerate(lines)]
        (out / "a.txt").write_text("\n".join(lines))
        (out / "train.tsv").write_text("\n".join(["sentence\tlabel", *rows[:8]]))
        (out / "valid.tsv").write_text("\n".join(["sentence\tlabel", *rows[8:12]]))
        options = ["--valid", 0.1, "--vocab-size", 60]
        log = succeeds("data/prepare_text.sh", "--out", "text", *options, "a.txt", cwd=out)
        tables = ["--train", "train.tsv", "--valid", "valid.tsv"]
        log += succeeds("data/prepare_nlu.sh", "--tokenizer", "text", "--out", "sentences", *tables, cwd=out)
        options += ["--src", "a.txt", "--tgt", "a.txt", "--src-lang", "xx", "--tgt-lang", "yy", "--test", 0]
        return log + succeeds("data/prepare_parallel.sh", "--out", "pairs", *options, cwd=out)

    return once("data of presets", fill)


def trains(script, preset, out, *arguments):
    """Train with SCRIPT into `out` for two updates; the command as it was printed."""
    log = succeeds(script, "--preset", preset, "--out", out, *arguments, **SMALL)
    assert describe(out / "checkpoint_last.pt")["updates"] == 2
    return re.search(r"^\+ fairseq-train .*", log, re.M)[0]


@pytest.mark.recipe
@pytest.mark.parametrize("preset", ["tiny", "base", "large"])
def test_a_preset_trains_a_language_model_and_a_classifier(data, preset, tmp_path):
    found = values(preset)
    command = trains("pretrain.sh", preset, tmp_path / "parent", "--data", data / "text")
    assert "--batch-size 4 --update-freq 2 " in command and f" --arch {found['PRETRAIN_ARCH']} " in command
    assert f"--lr {found['PRETRAIN_LR']} --warmup-updates 1 --max-update 2" in command
    parent = tmp_path / "parent/checkpoint_last.pt"
    command = trains("finetune_nlu.sh", preset, tmp_path / "child", "--data", data / "sentences", "--from", parent)
    assert "--total-num-update 2 " in command and f"--lr {found['FINETUNE_LR']} " in command


@pytest.mark.recipe
@pytest.mark.parametrize("preset", ["tiny", "base", "iwslt", "wmt"])
def test_a_preset_trains_a_translation_model(data, preset, tmp_path):
    found = values(preset)
    command = trains("train_nmt.sh", preset, tmp_path / "parent", "--data", data / "pairs")
    assert f"--max-tokens 128 --update-freq 2 --task translation --arch {found['NMT_ARCH']} " in command
    assert f"--lr-scheduler {found['NMT_SCHEDULE']} " in command and f"--clip-norm {found['NMT_CLIP']} " in command
    parent = tmp_path / "parent/checkpoint_last.pt"
    command = trains("finetune_nmt.sh", preset, tmp_path / "child", "--data", data / "pairs", "--from", parent)
    assert f"--lr {found['NMT_FINETUNE_LR']} --warmup-updates 1 --max-update 2 " in command
