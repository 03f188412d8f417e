"""The pruning tasks and what they save, through fairseq's real commands."""

import shutil

import builders
import pytest
import torch

from layerdrop_plugin import checkpoint
from layerdrop_plugin.pruning import surgery


@pytest.fixture(scope="module")
def finetuned(data, parent, tmp_path_factory):
    """A child of layers 1 and 3, fine-tuned for one epoch and then, its parent gone, for a second one."""
    folder = tmp_path_factory.mktemp("finetuned")
    copy = folder / "parent.pt"
    shutil.copy(parent, copy)
    command = ("fairseq-train", data / "nlu", "--save-dir", folder, "--prune-from", copy, *builders.FINETUNE)
    first = builders.run(*command, "--prune-encoder-layers", "every-other:0.5", "--max-epoch", "1")
    assert "encoder: 2 of 4 layers kept" in first.stdout
    copy.unlink()
    second = builders.run(*command, "--prune-encoder-layers", "every-other:0.5", "--max-epoch", "2")
    assert "Loaded checkpoint" in second.stdout
    assert "epoch 001 |" not in second.stdout
    other = builders.run(*command, "--prune-encoder-layers", "first:2", "--max-epoch", "3", check=False)
    assert other.returncode == 1
    assert "another plan" in other.stdout.strip().splitlines()[-1]
    for file in ("dict.txt", "input0", "label"):
        source = data / "nlu" / file if file != "dict.txt" else data / "lm" / "dict.txt"
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / file)
    return folder


def test_the_child_validates_without_plugin_parent_or_override(data, finetuned):
    plain = builders.run(
        "fairseq-validate", data / "nlu", "--path", finetuned / "checkpoint_best.pt", *builders.VALIDATE
    )
    plugged = builders.run(
        *("fairseq-validate", data / "nlu", "--path", finetuned / "checkpoint_best.pt", *builders.VALIDATE),
        *("--user-dir", builders.USER_DIR),
    )

    def result(output):
        return output.stdout.strip().splitlines()[-1].split("subset |")[1]

    assert result(plain) == result(plugged)
    assert "bsz 21" in result(plain)  # 21 sentences in batches of 8: none was left out


def test_what_is_saved_is_stock(finetuned):
    state = torch.load(finetuned / "checkpoint_last.pt", weights_only=True)
    model, task = state["cfg"]["model"], state["cfg"]["task"]
    assert type(model) is dict
    assert model["_name"] == model["arch"] == "roberta"
    assert model["encoder_layers"] == 2
    assert task["_name"] == "sentence_prediction"
    assert not [name for name in (*model, *task) if name.startswith("prune_")]
    assert state["cfg"]["common"]["user_dir"] is None
    assert surgery.origin_of(state["cfg"])["plan"]["encoder"]["layers"] == [1, 3]


def test_from_pretrained_in_plain_fairseq(finetuned):
    code = f"""
import sys
import torch
from fairseq.models.roberta import RobertaModel
assert "layerdrop_plugin" not in sys.modules
roberta = RobertaModel.from_pretrained({str(finetuned)!r}, checkpoint_file="checkpoint_best.pt", bpe=None)
roberta.eval()
tokens = torch.tensor([0, 5, 6, 7, 2])
assert roberta.predict("sentence_classification_head", tokens).shape == (1, 2)
assert roberta.extract_features(tokens).shape == (1, 5, 16)
assert len(roberta.model.encoder.sentence_encoder.layers) == 2
print("loaded")
"""
    assert "loaded" in builders.run("python", "-c", code, cwd="/").stdout


@pytest.mark.parametrize("how", ["--finetune-from-model", "--restore-file"])
def test_a_child_file_trains_on_in_plain_fairseq(how, data, parent, tmp_path):
    """Law 3 for ``layerdrop prune``: nothing of the parent's run gets in the way of the child's."""
    builders.run("layerdrop", "prune", parent, tmp_path / "child.pt", "--encoder-layers", "first:2")
    options = [*builders.PRETRAIN]
    options[options.index("layerdrop_roberta_tiny")] = "roberta"
    options[options.index("--encoder-layers") + 1] = "2"
    del options[options.index("--user-dir") : options.index("--user-dir") + 2]
    output = builders.run(
        *("fairseq-train", data / "lm", "--save-dir", tmp_path / "run", how, tmp_path / "child.pt", *options),
        *("--max-update", "2"),
    ).stdout
    assert "Loaded checkpoint" in output
    state = checkpoint.read(tmp_path / "run" / "checkpoint_best.pt")  # an inherited best would have prevented it
    assert state["optimizer_history"][-1]["num_updates"] == 2  # counted from 0, although the parent had made 4


def test_masked_lm_task_and_pruning_again(data, parent, finetuned, tmp_path):
    """A child is a parent like any other; its classification head does not get in the way."""
    command = (
        *("fairseq-train", data / "lm", "--task", "pruning_masked_lm", "--criterion", "masked_lm"),
        *("--tokens-per-sample", "32", "--arch", "layerdrop_roberta", "--max-update", "2", *builders.TRAIN),
    )
    builders.run(
        *(*command, "--save-dir", tmp_path, "--prune-from", finetuned / "checkpoint_best.pt"),
        *("--prune-encoder-layers", "last:1"),
    )
    state = checkpoint.read(tmp_path / "checkpoint_last.pt")
    assert state["cfg"]["task"]["_name"] == "masked_lm"
    assert surgery.origin_of(state["cfg"])["plan"]["encoder"]["layers"] == [3]
    builders.run(
        *("fairseq-validate", data / "lm", "--path", tmp_path / "checkpoint_last.pt", "--task", "masked_lm"),
        *("--batch-size", "8", "--cpu", "--required-batch-size-multiple", "1"),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "needs --prune-from"),
        (["--prune-from", "nowhere.pt"], "nowhere.pt does not exist"),
        (["--prune-from", "PARENT", "--prune-encoder-layers", "keep:7"], "layer 7"),
        (["--prune-from", "PARENT", "--prune-encoder-layers", "first:1", "--prune-plan", "p.json"], "not both"),
        (["--prune-from", "PARENT", "--prune-plan", "p.json"], "p.json"),
        (["--prune-from", "OTHER"], "another dictionary"),
        (["--prune-from", "RENAMED"], "another dictionary"),
        (["--prune-from", "LSTM"], "cannot be pruned"),
        (["--prune-from", "PARENT", "--finetune-from-model", "PARENT"], "leave out --finetune-from-model"),
        (["--prune-from", "PARENT", "--encoder-layers-to-keep", "0,2"], "give --prune-encoder-layers keep:0,2 instead"),
    ],
)
def test_bad_requests_end_in_one_line(options, message, data, parent, tmp_path):
    state = torch.load(parent, weights_only=True)
    model = vars(state["cfg"]["model"])
    special = tmp_path / "special.pt"
    if options[1:2] == ["OTHER"]:
        for key in ("sentence_encoder.embed_tokens.weight", "lm_head.weight", "lm_head.bias"):
            state["model"][f"encoder.{key}"] = state["model"][f"encoder.{key}"][:-3].clone()
        model["dictionary_sha256"] = None
    elif options[1:2] == ["RENAMED"]:
        model["dictionary_sha256"] = "0" * 64
    elif options[1:2] == ["LSTM"]:
        model["_name"] = model["arch"] = "lstm"
    torch.save(state, special)
    given = {"PARENT": parent, "OTHER": special, "RENAMED": special, "LSTM": special}
    save = tmp_path / "save"
    result = builders.run(
        *("fairseq-train", data / "nlu", "--save-dir", save, *builders.FINETUNE),
        *(given.get(option, option) for option in options),
        check=False,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stdout
    assert message in result.stdout.strip().splitlines()[-1]
    assert not list(save.glob("*.pt"))


def test_fairseqs_own_layers_to_keep_trains_and_resumes(data, parent, tmp_path):
    command = (
        *("fairseq-train", data / "lm", "--save-dir", tmp_path, "--finetune-from-model", parent),
        *("--encoder-layers-to-keep", "0,2", "--save-interval-updates", "2", *builders.PRETRAIN),
    )
    builders.run(*command, "--max-update", "2")
    assert "Loaded checkpoint" in builders.run(*command, "--max-update", "4").stdout
    overrides = "{'encoder_layers_to_keep':'0,2'}"
    validate = ("fairseq-validate", data / "lm", "--task", "masked_lm", "--batch-size", "8", "--cpu")
    builders.run(*validate, "--path", tmp_path / "checkpoint_last.pt", "--user-dir", builders.USER_DIR)
    builders.run(*validate, "--path", parent, "--user-dir", builders.USER_DIR, "--model-overrides", overrides)
    bad = builders.run(
        *(*validate, "--path", parent, "--user-dir", builders.USER_DIR),
        *("--model-overrides", overrides.replace("2", "9")),
        check=False,
    )
    assert bad.returncode == 1
    assert "no layer 9" in bad.stdout.strip().splitlines()[-1]


def test_an_interrupted_run_ends_like_an_uninterrupted_one(data, tmp_path):
    """Law 4 through fairseq-train, with several micro-batches to an update."""

    def train(folder, updates):
        builders.run(
            *("fairseq-train", data / "lm", "--save-dir", tmp_path / folder, "--encoder-layerdrop", "0.5"),
            *("--update-freq", "2", "--max-update", updates, "--save-interval-updates", "3", *builders.PRETRAIN),
        )
        return torch.load(tmp_path / folder / "checkpoint_last.pt", weights_only=True)["model"]

    whole = train("whole", "6")
    train("halves", "3")
    halves = train("halves", "6")
    for name, value in whole.items():
        torch.testing.assert_close(halves[name], value, atol=1e-6, rtol=0)


@pytest.mark.parametrize("rate", ["-0.1", "1", "1.5", "abc"])
def test_bad_drop_rates_end_in_one_line(rate, data, tmp_path):
    result = builders.run(
        *("fairseq-train", data / "lm", "--save-dir", tmp_path / "save", *builders.PRETRAIN),
        *("--encoder-layerdrop", rate),
        check=False,
    )
    assert result.returncode == 1
    assert "usage" not in result.stdout
    assert "--encoder-layerdrop" in result.stdout.strip().splitlines()[-1]
    assert not (tmp_path / "save").exists()


def test_a_hostile_checkpoint_is_refused_by_fairseq_validate(data, parent, tmp_path):
    from test_checkpoint import Hostile

    state = torch.load(parent, weights_only=True) | {"payload": Hostile(tmp_path / "executed")}
    torch.save(state, tmp_path / "hostile.pt")
    result = builders.run(
        *("fairseq-validate", data / "lm", "--path", tmp_path / "hostile.pt", "--task", "masked_lm"),
        *("--batch-size", "8", "--cpu", "--user-dir", builders.USER_DIR),
        check=False,
    )
    assert result.returncode == 1
    assert "system, which is not plain data" in result.stdout.strip().splitlines()[-1]
    assert not (tmp_path / "executed").exists()


def test_batches_of_one_length_have_the_same_sentences_and_less_padding(data, parent, tmp_path):
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from fairseq.options import get_training_parser, parse_args_and_arch
    from fairseq.tasks import setup_task

    import layerdrop_plugin

    layerdrop_plugin.register()

    def batches(*more):
        words = [str(data / "nlu"), "--save-dir", str(tmp_path), "--prune-from", str(parent), *builders.FINETUNE, *more]
        cfg = convert_namespace_to_omegaconf(parse_args_and_arch(get_training_parser(), words))
        task = setup_task(cfg.task)
        dataset = task.load_dataset("train")
        order = dataset.ordered_indices()
        rows = [dataset.collater([dataset[i] for i in order[at : at + 8]]) for at in range(0, len(order), 8)]
        ids = sorted(i for row in rows for i in row["id"].tolist())
        return ids, sum(row["net_input"]["src_tokens"].numel() for row in rows), list(order)

    ids, padded, order = batches()
    ids_grouped, padded_grouped, order_grouped = batches("--group-by-length")
    assert ids == ids_grouped and order != order_grouped
    assert padded_grouped < padded
    assert batches("--group-by-length", "--no-shuffle")[1] == padded_grouped
