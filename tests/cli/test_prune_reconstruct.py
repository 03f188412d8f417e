"""``layerdrop prune --reconstruct DATA`` and ``--rearrange DATA``, and what is refused."""

import json

import builders
import checkpoints
import pytest
import torch

from layerdrop_plugin import checkpoint
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.scores import Scores


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    """A folder with classifier.pt, translator.pt, scores of the classifier and data of another dictionary."""
    folder = tmp_path_factory.mktemp("reconstruct")
    checkpoints.save(folder / "classifier.pt", data, "classification", "--encoder-layers 3")
    checkpoints.save(folder / "translator.pt", data, "translation", "--decoder-layers 3")
    units = [[(5.0 * unit) % 12 for unit in range(12)] for _ in range(3)]
    scores = {"encoder.self_attn": [[1.0, 2.0]] * 3, "encoder.ffn": units, "encoder.layers": [1.0, 2.0, 3.0]}
    about = {"method": "importance", "data": "0", "examples": 1, "loss": 1.0, "per": "example", "signature": {}}
    about["model"] = Parent.load(folder / "classifier.pt").fingerprint
    Scores.of(scores, scores, **about).save(folder / "scores.json")
    for name in ("train", "valid"):
        (folder / f"{name}.txt").write_text("other words entirely\nand some more words\n" * 20)
    builders.run(
        *("fairseq-preprocess", "--only-source", "--destdir", folder / "other" / "input0", "--workers", "1"),
        *("--trainpref", folder / "train.txt", "--validpref", folder / "valid.txt"),
    )
    (folder / "other" / "label").symlink_to(data / "nlu" / "label")
    return folder


def weights(path) -> dict:
    return checkpoint.read(path)["model"]


def test_a_reconstructed_classifier(folder, data, layerdrop, tmp_path):
    command = ("prune", folder / "classifier.pt", tmp_path / "child.pt", "--encoder-layers", "keep:0,2")
    assert layerdrop(*command)[0] == 0
    cut = weights(tmp_path / "child.pt")
    status, output, error = layerdrop(*command, "--reconstruct", data / "nlu", "--max-examples", 60, "--seed", 4)
    assert (status, error) == (0, "")
    assert "2 of the child's projections fitted on 48 examples of train, 12 others held out" in output
    for line in ("encoder layer 0 ffn", "encoder layer 2 ffn", "parent ", "cut ", "reconstructed ", "accuracy %"):
        assert f"\n{line}" in output or line in output
    refitted = weights(tmp_path / "child.pt")
    assert cut.keys() == refitted.keys()
    different = {name for name, value in refitted.items() if not torch.equal(value, cut[name])}
    assert different
    assert all(".fc2." in name for name in different)

    child = checkpoint.read(tmp_path / "child.pt")
    (ancestor,) = child["cfg"][checkpoint.PROVENANCE]["ancestors"]
    how = ancestor["reconstruction"]
    assert (how["by"], how["examples"], how["projections"], how["seed"]) == ("full", 60, 2, 4)
    assert child["cfg"]["model"]["_name"] == "roberta"  # only whole layers went: fairseq alone can read it
    assert "2 projections refitted (full) on 60 examples" in layerdrop("inspect", tmp_path / "child.pt")[1]
    assert json.loads(layerdrop("inspect", "--json", tmp_path / "child.pt")[1])["provenance"]["ancestors"] == [ancestor]


def test_rearranged_then_reconstructed(folder, data, layerdrop, tmp_path):
    command = ("prune", folder / "classifier.pt", tmp_path / "child.pt", "--ffn", f"{folder}/scores.json:0.5")
    plans = [
        json.loads(layerdrop(*command, *more)[1].splitlines()[0])
        for more in ((), ("--rearrange", data / "nlu", "--reconstruct", data / "nlu", "--reconstruct-by", "scale"))
    ]
    before, after = (plan["encoder"]["ffn"] for plan in plans)
    assert before != after
    assert {layer: len(kept) for layer, kept in before.items()} == {layer: len(kept) for layer, kept in after.items()}
    state = checkpoint.read(tmp_path / "child.pt")["cfg"][checkpoint.PROVENANCE]["ancestors"][0]
    assert (state["plan"], state["reconstruction"]["by"]) == (plans[1], "scale")


def test_the_vocabulary_is_cut_after_the_reconstruction(folder, data, layerdrop, tmp_path):
    """The data are of the parent's dictionary; the weights are those of the same command without --vocab."""
    (tmp_path / "corpus.txt").write_text("w1 w2 w3\n")
    command = ("--encoder-layers", "first:2", "--cpu", "--reconstruct", data / "nlu", "--subset", "valid")
    parent, child = folder / "classifier.pt", tmp_path / "small" / "child.pt"
    child.parent.mkdir()
    assert layerdrop("prune", parent, tmp_path / "child.pt", *command)[0] == 0
    vocabulary = ("--vocab", tmp_path / "corpus.txt", "--vocab-format", "pieces", "--vocab-from", data / "nlu")
    status, _, error = layerdrop("prune", parent, child, *command, *vocabulary)
    assert (status, error) == (0, "")
    small, large = weights(child), weights(tmp_path / "child.pt")
    embedding = "encoder.sentence_encoder.embed_tokens.weight"
    assert len(small[embedding]) < len(large[embedding])
    assert all(torch.equal(value, large[name]) for name, value in small.items() if ".layers." in name)


def test_both_sides_of_a_translator_and_a_dry_run(folder, data, layerdrop, tmp_path):
    status, output, error = layerdrop(
        *("prune", folder / "translator.pt", tmp_path / "child.pt", "--cpu", "--dry-run"),
        *("--encoder-layers", "first:1", "--decoder-layers", "last:2", "--reconstruct", data / "nmt"),
    )
    assert (status, error) == (0, "")
    assert "loss per token" in output
    assert "decoder layer 0 was dropped before the first layer that is kept" in output
    assert output.endswith("dry run: nothing written\n")
    assert not (tmp_path / "child.pt").exists()


REFUSED = {
    "no data": (("--encoder-layers", "first:2", "--reconstruct", "nowhere"), "nowhere does not exist"),
    "no split": (
        ("--encoder-layers", "first:2", "--reconstruct", "{data}/nlu", "--subset", "dev"),
        "no split 'dev'",
    ),
    "other dictionary": (("--encoder-layers", "first:2", "--reconstruct", "{folder}/other"), "dictionary"),
    "other kind": (("--encoder-layers", "first:2", "--reconstruct", "{data}/lm"), "{data}/lm"),
    "nothing gone": (("--encoder-layers", "first:3", "--reconstruct", "{data}/nlu"), "nothing to reconstruct"),
    "no choice": (("--encoder-layers", "first:2", "--rearrange", "{data}/nlu"), "nothing to rearrange"),
    "no rule": (("--reconstruct", "{data}/nlu"), "say what to keep"),
    "by alone": (("--encoder-layers", "first:2", "--reconstruct-by", "scale"), "give --reconstruct DATA too"),
    "seed alone": (("--encoder-layers", "first:2", "--seed", "3"), "--seed says which examples"),
    "one example": (
        ("--encoder-layers", "first:2", "--reconstruct", "{data}/nlu", "--max-examples", "1"),
        "too few",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_one_line_and_writes_nothing(name, folder, data, layerdrop, tmp_path):
    arguments, said = REFUSED[name]
    places = {"data": data, "folder": folder}
    arguments = [argument.format(**places) for argument in arguments]
    status, output, error = layerdrop("prune", folder / "classifier.pt", tmp_path / "child.pt", *arguments, "--cpu")
    if name == "by alone":
        assert "--reconstruct-by" in error
    assert status == 1
    assert output == ""
    assert said.format(**places) in error
    assert len(error.splitlines()) == 1
    assert "unexpected" not in error
    assert list(tmp_path.iterdir()) == []
