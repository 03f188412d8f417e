"""BART through the pruning tasks: pre-trained, then pruned for summarisation or classification with LayerDrop."""

import json

import builders
import checkpoints
import pytest

from layerdrop_plugin import checkpoint

BART = f"--arch layerdrop_bart_base --max-source-positions 64 --max-target-positions 64 {checkpoints.ENCODER}"
DENOISING = (
    "--task",
    "pruning_denoising",
    "--criterion",
    "cross_entropy",
    "--tokens-per-sample",
    "32",
    "--mask",
    "0.3",
)
CLASSIFICATION = (
    *("--task", "pruning_sentence_prediction", "--criterion", "sentence_prediction", "--num-classes", "2"),
    *("--init-token", "0", "--max-positions", "64"),
)
TRANSLATION = ("--task", "pruning_translation", "-s", "a", "-t", "b", "--criterion", "label_smoothed_cross_entropy")
TRUSTING = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}  # stock fairseq reads BART's options from a Namespace


@pytest.fixture(scope="module")
def pretrained(data, tmp_path_factory):
    """A BART that knows <mask>."""
    kinds = checkpoints.KINDS | {
        "denoising": ("lm", f"--task denoising --criterion cross_entropy {BART} {checkpoints.DECODER}")
    }
    path = tmp_path_factory.mktemp("bart") / "bart.pt"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checkpoints, "KINDS", kinds)
        return checkpoints.save(path, data, "denoising")


def train(data, pretrained, folder, *options, check=True):
    return builders.run(
        *(
            "fairseq-train",
            data,
            "--save-dir",
            folder,
            "--prune-from",
            pretrained,
            "--arch",
            "layerdrop_bart",
            *options,
        ),
        *("--max-update", "2", "--disable-validation", "--encoder-layerdrop", "0.2", "--decoder-layerdrop", "0.2"),
        *builders.TRAIN,
        check=check,
    )


@pytest.mark.parametrize(
    ("kind", "task"), [("nmt", TRANSLATION), ("nlu", (*CLASSIFICATION, "--add-prev-output-tokens")), ("lm", DENOISING)]
)
def test_a_child_is_fine_tuned_and_loads_in_plain_fairseq(data, pretrained, tmp_path, kind, task):
    """Summarisation's dictionaries lack <mask>, whose row goes; stock commands read the child."""
    train(data / kind, pretrained, tmp_path, *task, "--prune-decoder-layers", "first:1")
    path = tmp_path / "checkpoint_last.pt"
    cfg = checkpoint.read(path)["cfg"]
    assert (cfg["model"]["_name"], cfg["model"]["decoder_layers"]) == ("bart_large", 1)
    assert cfg["task"]["_name"] == cfg["model"]["task"] == task[1].removeprefix("pruning_")
    found = json.loads(builders.run("layerdrop", "inspect", path, "--json").stdout)
    assert found["vocabulary"] == words_of(data) + (4 if kind == "nmt" else 5)
    common = (data / kind, "--path", path, "--batch-size", "8", "--required-batch-size-multiple", "1", "--cpu")
    if kind == "nmt":
        output = builders.run("fairseq-generate", *common, "--gen-subset", "test", env=TRUSTING).stdout
        assert sum(line.startswith("H-") for line in output.splitlines()) == 21
    else:
        options = ("--task", cfg["task"]["_name"], "--criterion", cfg["criterion"]["_name"], "--valid-subset", "valid")
        assert "valid on 'valid' subset" in builders.run("fairseq-validate", *common, *options, env=TRUSTING).stdout


def words_of(data) -> int:
    return len((data / "lm" / "dict.txt").read_text().splitlines())


def test_what_bart_cannot_is_refused_in_one_line(data, pretrained, tmp_path):
    for kind, options, message in (
        ("nlu", CLASSIFICATION, "give --add-prev-output-tokens"),
        ("nmt", (*TRANSLATION, "--arch", "layerdrop_transformer"), "use --arch layerdrop_bart"),
    ):
        result = train(data / kind, pretrained, tmp_path / "no", *options, check=False)
        assert result.returncode != 0
        assert message in result.stdout.splitlines()[-1]
