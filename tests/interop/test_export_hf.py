"""What export-hf writes: an unchanged import again, bit for bit; children, padded where they must be; refusals."""

import json
import shutil

import builders
import exporting
import numpy as np
import pytest
import torch
from hf_folders import NAMES, REFERENCES, expected, load
from safetensors.torch import load_file
from test_like_transformers import KINDS, tokens_of

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.interop.export_hf import export_folder
from layerdrop_plugin.interop.exportable import rows_by_id
from layerdrop_plugin.interop.import_hf import import_folder
from layerdrop_plugin.interop.prune_sentencepiece import SentencePieceModel
from layerdrop_plugin.interop.spm_tokenizer import tokenizer_of

RECORD = "layerdrop.json"
TEXTS = ["The service was good!", "two  spaces\tand more ", "Ünïcödé ½ 好", "a", "the best of the rest, 1998-2004"]


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != RECORD}


@pytest.mark.parametrize("name", NAMES)
def test_an_unchanged_import_becomes_the_same_folder_again(imported, tmp_path, name):
    """Bit for bit: the rows' order, what fairseq has no place for, the tokenizer's files, config.json."""
    export_folder(imported(name)[0] / "checkpoint.pt", tmp_path / "out")
    found, before = files(tmp_path / "out"), files(REFERENCES / name)
    assert json.loads(found.pop("config.json")) == json.loads(before.pop("config.json"))
    assert found == before


def test_half_precision_and_weights_saved_twice_come_back(copy, tmp_path):
    folder = copy("bert")
    weights = {name: value.half() for name, value in load_file(folder / "model.safetensors").items()}
    weights["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"]
    weights["cls.predictions.decoder.bias"] = weights["cls.predictions.bias"]
    weights["bert.embeddings.position_ids"] = torch.arange(40)[None]
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    import_folder(folder, tmp_path / "imported")
    export_folder(tmp_path / "imported" / "checkpoint.pt", tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found.keys() == weights.keys()
    assert all(found[name].dtype == value.dtype and found[name].equal(value) for name, value in weights.items())


def class_scores(folder, kind):
    hub = load(folder)
    return hub.predict("sentence_classification_head", tokens_of(hub, KINDS[kind]), return_logits=True).detach()


@pytest.mark.parametrize("name", ["bert_classes", "roberta_classes"])
@pytest.mark.parametrize("plan", [exporting.UNEVEN, exporting.ONE_LAYER])
def test_a_child_is_padded_with_zeros_and_answers_as_before(imported, tmp_path, name, plan):
    """transformers computes what the import reads: test_like_transformers.py holds one against the other."""
    child = exporting.child_of(imported(name)[0], plan, tmp_path / "child")
    said = export_folder(child / "checkpoint.pt", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["num_hidden_layers"], config["num_attention_heads"]) == (len(plan.layers), 2)
    assert sum("padded with zeros" in line and "times the weights" in line for line in said) == 1
    import_folder(tmp_path / "out", tmp_path / "again")
    for kind in KINDS:
        np.testing.assert_allclose(class_scores(tmp_path / "again", kind), class_scores(child, kind), atol=1e-5)
    with pytest.raises(LayerdropError, match="padded with zeros.*--strict"):
        export_folder(child / "checkpoint.pt", tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()


def test_whole_layers_need_no_padding(imported, tmp_path):
    child = exporting.child_of(imported("bert_classes")[0], exporting.StackPlan((1,)), tmp_path / "child")
    said = export_folder(child / "checkpoint.pt", tmp_path / "out", strict=True)
    assert "1 layers x 8" in said[0] and not any("padded" in line for line in said)
    weights = load_file(tmp_path / "out" / "model.safetensors")
    whole = load_file(REFERENCES / "bert_classes" / "model.safetensors")
    query = "bert.encoder.layer.{}.attention.self.query.weight"
    assert weights[query.format(0)].equal(whole[query.format(1)]) and query.format(1) not in weights


def test_an_absent_sublayer_is_refused_by_name(imported, tmp_path):
    child = exporting.child_of(imported("bert_classes")[0], exporting.NO_FFN, tmp_path / "child")
    with pytest.raises(LayerdropError, match="layer 1 has no ffn, nor the LayerNorm behind it"):
        export_folder(child / "checkpoint.pt", tmp_path / "out")


def test_the_commands_take_along_what_the_way_back_needs(imported, tmp_path):
    """prune --vocab, then export: other rows and another tokenizer.json, the same class scores for the same text."""
    (tmp_path / "text").write_text("The service was good!\nabcdefgh\n")
    source, child, out = imported("bert_classes")[0] / "checkpoint.pt", tmp_path / "small" / "child.pt", tmp_path / "hf"
    child.parent.mkdir()
    builders.run("layerdrop", "prune", source, child, "--vocab", tmp_path / "text", "--encoder-layers", "keep:1")
    assert (child.parent / "huggingface" / "import.json").is_file()
    printed = builders.run("layerdrop", "export-hf", child, out).stdout
    assert "labels, in their order: very bad, so-so, good" in printed and f"wrote {out}" in printed
    assert not (out / "vocab.txt").exists()
    import_folder(out, tmp_path / "again")
    hubs = [load(child.parent, "child.pt"), load(tmp_path / "again")]
    scores = [
        hub.predict("sentence_classification_head", hub.encode("The service!"), return_logits=True) for hub in hubs
    ]
    torch.testing.assert_close(*scores, atol=1e-5, rtol=0)
    refused = builders.run("layerdrop", "export-hf", child, out, check=False)
    assert refused.returncode == 1 and refused.stdout.count("\n") == 1 and "exists" in refused.stdout


def test_an_lm_head_that_the_import_made_is_left_out_until_it_is_trained(imported, tmp_path):
    folder = shutil.copytree(imported("bert_unigram")[0], tmp_path / "trained")
    state = checkpoint.read(folder / "checkpoint.pt")
    state["model"]["encoder.lm_head.dense.weight"] += 1
    checkpoint.write(state, folder / "checkpoint.pt")
    export_folder(folder / "checkpoint.pt", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["BertForMaskedLM"]
    names = load_file(tmp_path / "out" / "model.safetensors").keys()
    assert "cls.predictions.transform.dense.weight" in names and "bert.embeddings.word_embeddings.weight" in names


def test_a_trained_table_of_positions_is_exported_as_it_is(imported, tmp_path):
    """Segment 0 is a part of it, so the folder's segments are zeros."""
    folder = shutil.copytree(imported("bert_unigram")[0], tmp_path / "trained")
    state = checkpoint.read(folder / "checkpoint.pt")
    state["model"]["encoder.sentence_encoder.embed_positions.weight"][3] += 1
    checkpoint.write(state, folder / "checkpoint.pt")
    export_folder(folder / "checkpoint.pt", tmp_path / "out")
    import_folder(tmp_path / "out", tmp_path / "again")
    tokens = tokens_of(load(folder), KINDS["pair"])
    states = [load(place).extract_features(tokens).detach() for place in (folder, tmp_path / "again")]
    torch.testing.assert_close(*states, atol=1e-5, rtol=0)


def without(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def other_labels(folder):
    (folder / "label" / "dict.txt").write_text("a 1\n")


def other_tokenizer(folder):
    shutil.copy(REFERENCES / "roberta_classes" / "tokenizer.json", folder)
    shutil.copy(REFERENCES / "roberta_classes" / "special_tokens_map.json", folder)


BAD = {
    "no dictionary": (without("input0/dict.txt"), "there is no input0/dict.txt in .* --data"),
    "no labels": (without("label/dict.txt"), "there is no label/dict.txt in .* --data"),
    "other labels": (other_labels, "has 1 labels, the model 3 classes"),
    "no tokenizer": (without("tokenizer.json"), "has neither tokenizer.json nor sentencepiece.bpe.model.* --data"),
    "other tokenizer": (other_tokenizer, "is another model's tokenizer: it lacks"),
    "half an origin": (without("huggingface/import.json"), "cannot read what the import left"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_missing_is_said_in_one_line(imported, tmp_path, case):
    folder = shutil.copytree(imported("bert_classes")[0], tmp_path / "model")
    change, message = BAD[case]
    change(folder)
    with pytest.raises(LayerdropError, match=message) as caught:
        export_folder(folder / "checkpoint.pt", tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_sentencepiece_model_becomes_a_tokenizer_that_splits_alike(tmp_path, kind):
    import sentencepiece

    sentences = [f"{text} {number}" for number in range(40) for text in TEXTS]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_prefix=str(tmp_path / "m"), vocab_size=90, hard_vocab_limit=False,
        model_type=kind, minloglevel=2, normalization_rule_name="nmt_nfkc_cf",
    )  # fmt: skip
    path = tmp_path / "m.model"
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ours = tokenizer_of(SentencePieceModel(path.read_bytes()))
    assert ours.encode("a", "b").tokens == ["<s>", "▁a", "</s>", "</s>", "▁b", "</s>"]
    assert [ours.token_to_id(token) for token in ("<s>", "<pad>", "</s>", "<unk>")] == [0, 1, 2, 3]
    for text in [*TEXTS, "§ unknown", "  "]:
        want = [token if theirs.piece_to_id(token) else "<unk>" for token in theirs.encode(text, out_type=str)]
        assert ours.encode(text, add_special_tokens=False).tokens == want


def test_ids_without_a_piece_and_pieces_without_a_row():
    class Words:
        path, symbols = "tokenizer.json", {0: "<pad>", 2: "<unk>", 3: "a", 5: "new"}
        ids = {symbol: number for number, symbol in symbols.items()}

    symbols = ["<pad>", "<unk>", "a", "madeupword0000", "<mask>"]
    assert rows_by_id(symbols, Words) == (0, 1, 1, 2, 1, 1)
    assert rows_by_id(symbols, Words, [0, 2, 3, 1, 4]) == (0, 3, 1, 2, 4, 1)
    assert rows_by_id(symbols, Words, [0, 2, 3, 1, None]) == (0, 3, 1, 2, 1, 1)
    with pytest.raises(LayerdropError, match="lacks 1 symbols of the dictionary, such as 'b'"):
        rows_by_id([*symbols, "b"], Words)


def test_expected_numbers_are_there():
    assert {"single_logits", "pair_logits"} <= expected("bert_classes").keys()
