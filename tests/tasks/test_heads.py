"""Children without some heads, FFN units and sublayers, through fairseq's own commands."""

import json
import shutil

import builders
import pytest
import torch
from fairseq.models.roberta import RobertaModel
from test_encoder_decoder import PLUGIN, generate, translator  # noqa: F401 (a fixture)

from layerdrop_plugin import checkpoint
from layerdrop_plugin.pruning.parent import Parent

ENCODER = {"layers": [0, 2, 3], "self_attn": {"0": [1], "2": []}, "ffn": {"0": [0, 3, 5, 31], "3": None}}
DECODER = {
    "layers": [0, 1, 2],
    "self_attn": {"0": None, "1": [0]},
    "encoder_attn": {"0": [], "2": [1]},
    "ffn": {"1": [], "2": [7, 8]},
}


def write_plan(path, **stacks):
    path.write_text(json.dumps({"version": 1} | stacks))
    return path


@pytest.fixture(scope="module")
def encoder(parent, tmp_path_factory):
    """A child of the masked LM, beside its dictionary."""
    folder = tmp_path_factory.mktemp("encoder")
    plan = write_plan(folder / "plan.json", encoder=ENCODER)
    builders.run("layerdrop", "prune", parent, folder / "child.pt", "--plan", plan)
    return folder / "child.pt"


def test_a_child_loads_from_python(data, encoder):
    """RobertaModel.from_pretrained, with the plugin imported and no override."""
    shutil.copy(data / "lm" / "dict.txt", encoder.parent)
    hub = RobertaModel.from_pretrained(str(encoder.parent), "child.pt", str(encoder.parent), bpe=None)
    layers = list(hub.model.encoder.sentence_encoder.layers)
    assert [layer.self_attn.num_heads for layer in layers] == [1, 0, 2]
    assert [layer.ffn_gate.parts for layer in layers] == [4, 32, 0]
    assert hub.extract_features(torch.tensor([[0, 5, 6, 2]])).shape == (1, 4, 16)


def test_a_child_is_fine_tuned_resumed_and_validated(data, encoder, tmp_path):
    command = ("fairseq-train", data / "nlu", "--save-dir", tmp_path, "--prune-from", encoder, *builders.FINETUNE)
    builders.run(*command, "--max-update", "3")
    builders.run(*command, "--max-update", "5")
    state = checkpoint.read(tmp_path / "checkpoint_last.pt")
    assert state["optimizer_history"][-1]["num_updates"] == 5
    assert Parent(state).shape.encoder.sizes == {"self_attn": (1, 0, 2), "ffn": (4, 32, None)}
    assert state["cfg"]["model"]["_name"] == "layerdrop_roberta"
    assert state["cfg"]["task"]["_name"] == "sentence_prediction"
    path = tmp_path / "checkpoint_last.pt"
    output = builders.run("fairseq-validate", data / "nlu", "--path", path, *builders.VALIDATE, *PLUGIN).stdout
    assert "accuracy" in output
    again = builders.run("layerdrop", "prune", path, tmp_path / "again.pt", "--encoder-layers", "keep:0,2").stdout
    assert "encoder: 2 of 3 layers kept" in again
    assert Parent.load(tmp_path / "again.pt").shape.encoder.sizes["self_attn"] == (1, 2)


def test_a_stock_architecture_for_uneven_layers_is_refused(data, encoder, tmp_path):
    command = ("fairseq-train", data / "nlu", "--save-dir", tmp_path, "--prune-from", encoder, *builders.FINETUNE)
    result = builders.run(*command, "--arch", "roberta", "--max-update", "3", check=False)
    assert result.returncode
    assert "use --arch layerdrop_roberta" in result.stdout
    assert "Traceback" not in result.stdout


@pytest.mark.parametrize("training", [(), ("--encoder-headdrop", "0.3", "--decoder-ffndrop", "0.2")])
def test_a_translation_child_is_fine_tuned_and_generates(data, translator, tmp_path, training):  # noqa: F811
    plan = write_plan(tmp_path / "plan.json", encoder=ENCODER, decoder=DECODER)
    builders.run("layerdrop", "prune", translator / "checkpoint_last.pt", tmp_path / "child.pt", "--plan", plan)
    untrained = generate(data, tmp_path / "child.pt", *PLUGIN)
    assert len(untrained) == 21
    options = ("--task", "pruning_translation", "--arch", "layerdrop_transformer", "--max-update", "1", *training)
    save = tmp_path / "finetuned"
    builders.run(
        *("fairseq-train", data / "nmt", "--save-dir", save, "--prune-from", tmp_path / "child.pt"),
        *(*builders.NMT, *options),
    )
    state = checkpoint.read(save / "checkpoint_last.pt")
    assert Parent(state).shape.decoder.sizes == {
        "self_attn": (None, 1, 2),
        "encoder_attn": (0, 2, 1),
        "ffn": (32, 0, 2),
    }
    assert len(generate(data, save / "checkpoint_last.pt", *PLUGIN)) == 21


def test_a_language_model_child_is_evaluated(data, tmp_path):
    builders.run(
        *("fairseq-train", data / "lm", "--save-dir", tmp_path / "lm", "--max-update", "2"),
        *("--decoder-sublayerdrop", "0.2", *builders.LANGUAGE_MODEL),
    )
    plan = write_plan(tmp_path / "plan.json", decoder={"layers": [0, 3], "self_attn": {"3": [0]}, "ffn": {"0": None}})
    builders.run("layerdrop", "prune", tmp_path / "lm" / "checkpoint_last.pt", tmp_path / "child.pt", "--plan", plan)
    shutil.copy(data / "lm" / "dict.txt", tmp_path)
    output = builders.run(
        *("fairseq-eval-lm", data / "lm", "--path", tmp_path / "child.pt", "--gen-subset", "test", "--cpu", *PLUGIN),
        *("--required-batch-size-multiple", "1", "--no-progress-bar"),
    ).stdout
    assert "Perplexity" in output


@pytest.mark.parametrize("option", ["--encoder-headdrop", "--encoder-ffndrop", "--encoder-sublayerdrop"])
def test_structured_dropout_trains_and_resumes_as_uninterrupted(data, tmp_path, option):
    """Law 4 through fairseq-train: stopped in the middle or not, the same weights."""
    command = ("fairseq-train", data / "lm", *builders.PRETRAIN, option, "0.4")
    builders.run(*command, "--save-dir", tmp_path / "whole", "--max-update", "4")
    builders.run(*command, "--save-dir", tmp_path / "parts", "--max-update", "2")
    builders.run(*command, "--save-dir", tmp_path / "parts", "--max-update", "4")
    weights = [checkpoint.read(tmp_path / run / "checkpoint_last.pt")["model"] for run in ("whole", "parts")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    model = checkpoint.read(tmp_path / "whole" / "checkpoint_last.pt")["cfg"]["model"]
    assert model[option[2:].replace("-", "_")] == 0.4


def test_heads_are_pruned_by_importance_as_training_begins(data, parent, tmp_path):
    """The three uses of scores that meet in the pruning task; an interrupted run goes on without the file of scores."""
    scores = tmp_path / "importance.json"
    builders.run(
        *("layerdrop", "importance", data / "lm", "--path", parent, "--subset", "valid", "--out", scores, "--cpu")
    )
    command = (
        *("fairseq-train", data / "nlu", "--save-dir", tmp_path / "run", "--prune-from", parent, *builders.FINETUNE),
        *(
            "--prune-encoder-layers",
            "every-other:0.5",
            "--prune-heads",
            f"{scores}:0.5",
            "--prune-ffn",
            f"{scores}:0.5",
        ),
        *("--prune-ranking", "per-layer", "--prune-min-heads", "1"),
    )
    assert "heads: 2 of 8 kept" in builders.run(*command, "--max-update", "2").stdout
    state = checkpoint.read(tmp_path / "run" / "checkpoint_last.pt")
    assert Parent(state).shape.encoder.sizes == {"self_attn": (1, 1), "ffn": (16, 16)}
    scores.unlink()
    builders.run(*command, "--max-update", "3")
    result = builders.run(
        *(*command, "--save-dir", tmp_path / "other", "--criterion", "head_importance", "--max-update", "2"),
        *("--prune-heads", "nowhere.json:0.5"),
        check=False,
    )
    assert result.returncode and "nowhere.json" in result.stdout and "Traceback" not in result.stdout
