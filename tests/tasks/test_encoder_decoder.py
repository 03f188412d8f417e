"""Encoder-decoder models, each side pruned on its own, through fairseq's real commands."""

import json
import shutil

import builders
import pytest
import torch
from fairseq import checkpoint_utils

from layerdrop_plugin import checkpoint
from layerdrop_plugin.pruning import surgery

DROP = ("--encoder-layerdrop", "0.3", "--decoder-layerdrop", "0.3")


@pytest.fixture(scope="module")
def translator(data, tmp_path_factory):
    """A trained parent of 4 + 3 layers, the dictionaries beside it; two checkpoints of one run."""
    folder = tmp_path_factory.mktemp("translator")
    builders.run(
        *("fairseq-train", data / "nmt", "--save-dir", folder, "--max-update", "8", *DROP, *builders.NMT),
        *("--save-interval-updates", "4"),
    )
    for side in "ab":
        shutil.copy(data / "nmt" / f"dict.{side}.txt", folder)
    return folder


@pytest.fixture(scope="module")
def children(translator):
    """The decoder pruned, the encoder pruned, both pruned."""
    specs = {
        "decoder": ("--decoder-layers", "first:1"),
        "encoder": ("--encoder-layers", "every-other:0.5"),
        "both": ("--encoder-layers", "keep:0,3", "--decoder-layers", "last:2"),
    }
    for name, spec in specs.items():
        builders.run("layerdrop", "prune", translator / "checkpoint_last.pt", translator / f"{name}.pt", *spec)
    return translator


def hypotheses(output: str) -> dict[int, tuple]:
    """The best hypotheses in what fairseq-generate printed, with their scores, equal to 1e-5."""
    lines = [line.split("\t") for line in output.splitlines() if line.startswith("H-")]
    return {int(line[0][2:]): (pytest.approx(float(line[1]), abs=1e-5), line[2]) for line in lines}


def generate(data, path, *options, check=True):
    result = builders.run("fairseq-generate", data / "nmt", "--path", path, *builders.GENERATE, *options, check=check)
    return hypotheses(result.stdout) if check else result


PLUGIN = ("--user-dir", builders.USER_DIR)


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("decoder", "{'decoder_layers_to_keep':'0'}"),
        ("encoder", "{'encoder_layers_to_keep':'1,3'}"),
        ("both", "{'encoder_layers_to_keep':'0,3','decoder_layers_to_keep':'1,2'}"),
    ],
)
def test_a_child_translates_in_plain_fairseq_as_its_parent_does_when_overridden(data, children, name, overrides):
    """Laws 1 and 3; fairseq alone fails where only one side is named, and drops examples by default."""
    alone = generate(data, children / f"{name}.pt")
    overridden = generate(data, children / "checkpoint_last.pt", *PLUGIN, "--model-overrides", overrides)
    assert len(alone) == 21
    assert alone == overridden


def test_inspect_tells_both_sides(children):
    found = json.loads(builders.run("layerdrop", "inspect", children / "both.pt", "--json").stdout)
    sizes = {"self_attn": [2, 2], "ffn": [32, 32]}
    assert found["encoder"] == {"layers": 2, "heads": 2, "ffn": 32, "embed_dim": 16, "sizes": sizes}
    assert found["decoder"] == found["encoder"] | {"sizes": sizes | {"encoder_attn": [2, 2]}}
    assert found["vocabulary"] == found["target_vocabulary"]
    table = builders.run("layerdrop", "inspect", children / "both.pt").stdout
    assert "keeping encoder layers [0, 3] of 4 and decoder layers [1, 2] of 3" in table


def test_fairseqs_own_layers_to_keep_trains_and_resumes(data, children, tmp_path):
    """fairseq itself fails on them with a new Transformer, and when a run resumes."""
    command = (
        *("fairseq-train", data / "nmt", "--save-dir", tmp_path, "--decoder-layers-to-keep", "2", *builders.NMT),
        *("--finetune-from-model", children / "checkpoint_last.pt"),
    )
    builders.run(*command, "--max-update", "1")
    assert "Loaded checkpoint" in builders.run(*command, "--max-update", "2").stdout
    model = checkpoint.read(tmp_path / "checkpoint_last.pt")["cfg"]["model"]
    assert (model["encoder_layers"], model["decoder_layers"]) == (4, 1)
    assert len(generate(data, tmp_path / "checkpoint_last.pt", *PLUGIN)) == 21


def test_ensembles_of_different_depths(data, children):
    paths = ":".join(str(children / f"{name}.pt") for name in ("decoder", "both"))
    assert generate(data, paths) == generate(data, paths, *PLUGIN)
    with_parent = ":".join([paths, str(children / "checkpoint_last.pt")])
    assert len(generate(data, with_parent, *PLUGIN)) == 21


def test_with_the_plugin_children_search_as_fast_as_their_parent(children):
    """Stock by name, they are built on our classes when this plugin is there."""
    models, cfg, _ = checkpoint_utils.load_model_ensemble_and_task(
        [str(children / "both.pt")], arg_overrides={"data": str(children)}
    )
    assert type(models[0]).__name__ == "LayerDropTransformerModel"
    assert cfg.model._name == "transformer"


def test_interactive(data, children):
    text = children / "input.txt"
    text.write_text("w1 w2 w3\nw4 w5\n")
    output = builders.run(
        *("fairseq-interactive", data / "nmt", "--path", children / "both.pt", "--cpu", "--input", text),
        *("--source-lang", "a", "--target-lang", "b"),
    ).stdout
    assert len(hypotheses(output)) == 2


def test_hub_interface_in_plain_fairseq(children):
    code = f"""
import sys
from fairseq.models.transformer import TransformerModel
assert "layerdrop_plugin" not in sys.modules
model = TransformerModel.from_pretrained({str(children)!r}, checkpoint_file="both.pt", data_name_or_path=".", bpe=None)
print("translated", repr(model.translate("w1 w2 w3", beam=3)), len(model.models[0].decoder.layers))
"""
    assert "translated 'w" in (output := builders.run("python", "-c", code, cwd="/").stdout)
    assert output.strip().endswith(" 2")


def test_average(data, children):
    """Of a run's checkpoints, and not of different models."""
    paths = [children / "checkpoint_1_4.pt", children / "checkpoint1.pt"]
    builders.run("layerdrop", "average", *paths, "--out", children / "average.pt")
    first, second, mean = (checkpoint.read(path)["model"] for path in (*paths, children / "average.pt"))
    for name, value in mean.items():
        torch.testing.assert_close(value, (first[name] + second[name]) / 2, msg=name)
    assert mean["encoder.embed_tokens.weight"].data_ptr() == mean["decoder.output_projection.weight"].data_ptr()
    builders.run("layerdrop", "prune", children / "average.pt", children / "small.pt", "--decoder-layers", "last:1")
    assert len(generate(data, children / "small.pt")) == 21
    for other, message in (("both.pt", "another model"), ("none.pt", "does not exist"), ("checkpoint1.pt", "input")):
        out = children / ("checkpoint1.pt" if message == "input" else "new.pt")
        result = builders.run("layerdrop", "average", paths[0], children / other, "--out", out, check=False)
        assert result.returncode == 1
        assert message in result.stdout.strip().splitlines()[-1]
        assert not (children / "new.pt").exists()


def test_averaging_children_of_other_layers_is_refused(children):
    builders.run(
        "layerdrop", "prune", children / "checkpoint_last.pt", children / "other.pt", "--decoder-layers", "last:1"
    )
    result = builders.run(
        "layerdrop", "average", children / "decoder.pt", children / "other.pt", "--out", children / "no.pt", check=False
    )
    assert "keeps other layers" in result.stdout.strip().splitlines()[-1]


FINETUNE = (*builders.NMT[:1], "pruning_translation", *builders.NMT[2:4], "--arch", "layerdrop_transformer")
FINETUNE = (*FINETUNE, "--dropout", "0", "--share-all-embeddings", "--disable-validation", *builders.TRAIN)


def test_fine_tuning_while_pruning_resumes_and_saves_stock(data, translator, tmp_path):
    parent = tmp_path / "parent.pt"
    shutil.copy(translator / "checkpoint_last.pt", parent)
    command = (
        *("fairseq-train", data / "nmt", "--save-dir", tmp_path / "run", "--prune-from", parent, *FINETUNE),
        *("--prune-encoder-layers", "even:2", "--prune-decoder-layers", "first:1"),
    )
    first = builders.run(*command, "--max-update", "2").stdout
    assert "encoder: 2 of 4 layers kept, 0.500 of them dropped, decoder: 1 of 3 layers kept" in first
    parent.unlink()
    assert "Loaded checkpoint" in builders.run(*command, "--max-update", "4").stdout
    state = checkpoint.read(tmp_path / "run" / "checkpoint_last.pt")
    assert state["cfg"]["model"]["_name"] == state["cfg"]["model"]["arch"] == "transformer"
    assert state["cfg"]["task"]["_name"] == "translation"
    assert state["cfg"]["common"]["user_dir"] is None
    assert surgery.origin_of(state["cfg"])["plan"]["decoder"] == {"layers": [0]}
    assert len(generate(data, tmp_path / "run" / "checkpoint_last.pt")) == 21
    other = builders.run(*command[:-1], "last:1", "--max-update", "6", check=False)
    assert "another plan" in other.stdout.strip().splitlines()[-1]


def test_stock_checkpoints_load_here_and_are_parents(data, tmp_path):
    options = [*builders.NMT]
    options[options.index("layerdrop_transformer_tiny")] = "transformer"
    builders.run("fairseq-train", data / "nmt", "--save-dir", tmp_path, "--max-update", "2", *options)
    overrides = "{'_name':'layerdrop_transformer','arch':'layerdrop_transformer'}"
    stock = tmp_path / "checkpoint_last.pt"
    assert generate(data, stock, *PLUGIN) == generate(data, stock, *PLUGIN, "--model-overrides", overrides)
    builders.run("layerdrop", "prune", stock, tmp_path / "child.pt", "--decoder-layers", "every-other:0.5")
    assert len(generate(data, tmp_path / "child.pt")) == 21


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prune-from", "ENCODER"], "--arch layerdrop_roberta"),
        (["--prune-from", "PARENT", "--prune-decoder-layers", "keep:"], "separated by commas"),
        (["--prune-from", "PARENT", "--prune-decoder-layers", "every-other:0.9"], "keeps no layer of the decoder"),
        (["--prune-from", "PARENT", "--prune-decoder-layers", "keep:3"], "layer 3"),
        (["--prune-from", "PARENT", "--decoder-layers-to-keep", "2"], "give --prune-decoder-layers keep:2 instead"),
        (["--prune-from", "PARENT", "--source-lang", "a", "--target-lang", "xx"], "no language pair a-xx"),
        (
            ["--prune-from", "PARENT", "--decoder-layerdrop", "0.2", "--criterion"]
            + ["label_smoothed_cross_entropy_with_alignment"],
            "--decoder-layerdrop 0",
        ),
    ],
)
def test_bad_requests_end_in_one_line(options, message, data, translator, parent, tmp_path):
    given = {"PARENT": translator / "checkpoint_last.pt", "ENCODER": parent}
    result = builders.run(
        *("fairseq-train", data / "nmt", "--save-dir", tmp_path / "save", *FINETUNE),
        *(given.get(option, option) for option in options),
        check=False,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stdout
    assert message in result.stdout.strip().splitlines()[-1]
    assert not list((tmp_path / "save").glob("*.pt"))


def test_a_decoder_rule_for_an_encoder_alone_is_refused(parent, tmp_path):
    result = builders.run(
        "layerdrop", "prune", parent, tmp_path / "child.pt", "--decoder-layers", "first:1", check=False
    )
    assert (result.returncode, "no decoder" in result.stdout) == (1, True)
    assert not (tmp_path / "child.pt").exists()


@pytest.mark.parametrize("change", ["symbols", "size"])
def test_data_of_another_vocabulary_is_refused(change, data, children, tmp_path):
    """Also by stock children, which remember their dictionary."""
    shutil.copytree(data / "nmt", tmp_path / "nmt")
    for side in "ab":
        file = tmp_path / "nmt" / f"dict.{side}.txt"
        lines = file.read_text().splitlines()
        lines = lines[1:] if change == "size" else [lines[1], lines[0], *lines[2:]]
        file.write_text("\n".join(lines) + "\n")
    refused(generate(tmp_path, children / "both.pt", *PLUGIN, check=False), "both.pt", "dict")


def test_an_ensemble_whose_dictionaries_differ_is_refused(data, children, tmp_path):
    other = torch.load(children / "decoder.pt", weights_only=True)
    other["cfg"]["model"]["target_dictionary_sha256"] = "0" * 64
    torch.save(other, tmp_path / "other.pt")
    paths = f"{children / 'both.pt'}:{tmp_path / 'other.pt'}"
    refused(generate(data, paths, *PLUGIN, check=False), "other.pt", "another dictionary")


def refused(result, *words):
    """One line at the end that has *words*, and no traceback."""
    assert result.returncode == 1
    assert "Traceback" not in result.stdout
    assert all(word in result.stdout.strip().splitlines()[-1] for word in words)


def test_aligned_models_keep_their_layer(data, tmp_path):
    """An explicit alignment layer is remapped; a plan that drops it is refused."""
    options = [*builders.NMT]
    options[options.index("layerdrop_transformer_tiny")] = "transformer_align"
    builders.run(
        *("fairseq-train", data / "nmt", "--save-dir", tmp_path, "--max-update", "1", "--alignment-layer", "1"),
        *options,
    )
    parent, child = tmp_path / "checkpoint_last.pt", tmp_path / "child.pt"
    builders.run("layerdrop", "prune", parent, child, "--decoder-layers", "last:2")
    assert checkpoint.read(child)["cfg"]["model"]["alignment_layer"] == 0
    assert len(generate(data, child)) == 21
    refused = builders.run("layerdrop", "prune", parent, tmp_path / "no.pt", "--decoder-layers", "last:1", check=False)
    assert "align words with" in refused.stdout


def test_language_model(data, tmp_path):
    """Trained, pruned while fine-tuning, resumed, evaluated in plain fairseq, and generated from with overrides."""
    builders.run(
        *("fairseq-train", data / "lm", "--save-dir", tmp_path / "parent", "--max-update", "3"),
        *("--decoder-layerdrop", "0.4", *builders.LANGUAGE_MODEL),
    )
    parent = tmp_path / "parent" / "checkpoint_last.pt"
    evaluate = ("fairseq-eval-lm", data / "lm", "--gen-subset", "test", "--batch-size", "4", "--cpu", "--path")
    builders.run(*evaluate, parent, *PLUGIN)
    builders.run("layerdrop", "prune", parent, tmp_path / "child.pt", "--decoder-layers", "even:2")
    overridden = builders.run(*evaluate, parent, *PLUGIN, "--model-overrides", "{'decoder_layers_to_keep':'1,3'}")
    alone = builders.run(*evaluate, tmp_path / "child.pt")

    def loss(result):
        return result.stdout[result.stdout.index("Loss (base 2)") :].strip()

    assert loss(alone) == loss(overridden)
    options = [*builders.LANGUAGE_MODEL]
    options[1], options[options.index("--arch") + 1] = "pruning_language_modeling", "layerdrop_transformer_lm"
    command = (
        *("fairseq-train", data / "lm", "--save-dir", tmp_path / "run", "--prune-from", parent, *options),
        *("--prune-decoder-layers", "every-other:0.5"),
    )
    assert "decoder: 2 of 4 layers kept" in builders.run(*command, "--max-update", "2").stdout
    assert "Loaded checkpoint" in builders.run(*command, "--max-update", "4").stdout
    state = checkpoint.read(tmp_path / "run" / "checkpoint_last.pt")
    assert (state["cfg"]["model"]["_name"], state["cfg"]["task"]["_name"]) == ("transformer_lm", "language_modeling")
    builders.run(*evaluate, tmp_path / "run" / "checkpoint_last.pt")


def test_eval_bleu_does_not_disturb_training(data, tmp_path):
    """fairseq's shared beams would leave the attention in the search's mode when training goes on."""
    options = [option for option in builders.NMT if option != "--disable-validation"]
    builders.run(
        *("fairseq-train", data / "nmt", "--save-dir", tmp_path, "--max-update", "4", *DROP, *options),
        *("--eval-bleu", "--eval-bleu-args", '{"beam": 4, "max_len_b": 12}', "--validate-interval-updates", "2"),
        *("--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric"),
    )
    assert len(generate(data, tmp_path / "checkpoint_best.pt", *PLUGIN)) == 21
