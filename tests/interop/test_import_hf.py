"""What an imported folder holds beside weights, and what fairseq does with it."""

import json
import sys

import builders
import numpy as np
import pytest
import torch
from fairseq.data import Dictionary
from hf_folders import REFERENCES, load
from safetensors.torch import load_file, save_file

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.interop.import_hf import import_folder


def origin(folder):
    return json.loads((folder / "huggingface" / "import.json").read_text())


def test_the_command_makes_the_folder_and_says_what_it_did(tmp_path):
    run = builders.run("layerdrop", "import-hf", REFERENCES / "bert", tmp_path / "out")
    lines = run.stdout.splitlines()
    assert lines == [
        "bert: 2 layers x 8, 2 heads, 85 rows of embeddings, 40 positions, 2 segments, LayerNorm's epsilon 1e-12",
        "5 rows that no piece of the tokenizer has are called madeupwordNNNN",
        "not used, kept in huggingface/rest.safetensors: cls.seq_relationship.bias, cls.seq_relationship.weight,"
        " pooler.dense.bias, pooler.dense.weight",
        f"wrote {tmp_path / 'out'}",
    ]
    inspected = builders.run("layerdrop", "inspect", tmp_path / "out" / "checkpoint.pt", "--json").stdout
    found = json.loads(inspected)
    assert (found["architecture"], found["task"], found["vocabulary"]) == ("layerdrop_roberta", "masked_lm", 85)
    assert (found["options"]["layernorm_eps"], found["options"]["segment_embeddings"]) == (1e-12, 2)


def test_rows_are_in_fairseqs_order_and_their_old_places_are_kept(imported):
    folder, _ = imported("bert")
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    assert (folder / "input0" / "dict.txt").read_text() == (folder / "dict.txt").read_text()
    rows = origin(folder)["rows"]
    words = (REFERENCES / "bert" / "vocab.txt").read_text().splitlines()
    assert rows[:4] == [words.index(token) for token in ("[CLS]", "[PAD]", "[SEP]", "[UNK]")]
    assert sorted(rows) == list(range(85))
    assert [dictionary[row] for row in range(4)] == ["<s>", "<pad>", "</s>", "<unk>"]
    for row in range(4, 85):
        old = rows[row]
        word = words[old] if old < len(words) else f"madeupword{old - len(words):04d}"
        assert dictionary[row] == {"[MASK]": "<mask>", "<s>": "<U+003C>s>"}.get(word, word)


def test_weights_that_have_no_place_travel_beside(imported):
    folder, _ = imported("bert")
    rest = load_file(folder / "huggingface" / "rest.safetensors")
    whole, names = load_file(REFERENCES / "bert" / "model.safetensors"), origin(folder)["names"]
    assert rest.keys() == {
        *(f"pooler.dense.{part}" for part in ("weight", "bias")),
        *(f"cls.seq_relationship.{part}" for part in ("weight", "bias")),
        "embeddings.token_type_embeddings.weight",
        "embeddings.position_embeddings.weight",
    }
    assert all(value.equal(whole[names[name]]) for name, value in rest.items())
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        assert (folder / "huggingface" / name).read_bytes() == (REFERENCES / "bert" / name).read_bytes()
    assert origin(folder)["sha256"].keys() == {"model.safetensors"}


def test_labels_keep_their_order(imported):
    folder, said = imported("bert_classes")
    assert (folder / "label" / "dict.txt").read_text() == "very_bad 1\nso-so 1\ngood 1\n"
    assert "labels, in their order: very_bad so-so good" in said
    assert load(folder).task.label_dictionary.symbols[4:7] == ["very_bad", "so-so", "good"]
    folder, _ = imported("roberta_classes")  # whose labels were never named
    assert (folder / "label" / "dict.txt").read_text() == "0 1\n1 1\n"


def test_a_tokenizer_without_mask_gets_a_row_for_it(imported):
    folder, said = imported("bert_unigram")
    dictionary = Dictionary.load(str(folder / "dict.txt"))
    assert dictionary.symbols[-1] == "<mask>"
    assert origin(folder)["rows"][-1] is None
    assert any("no row for <mask>" in line for line in said)
    weights = checkpoint.read(folder / "checkpoint.pt")["model"]["encoder.sentence_encoder.embed_tokens.weight"]
    np.testing.assert_allclose(weights[-1].numpy(), weights[:-1].mean(0).numpy(), atol=1e-6)


def test_a_missing_lm_head_is_built_and_said(imported):
    _, said = imported("bert_unigram")
    assert any("no LM head: a new one with random weights was built" in line for line in said)
    assert not any("LM head" in line for line in imported("bert")[1])


def test_an_lm_head_with_a_matrix_of_its_own_is_imported(copy, tmp_path):
    folder = copy("xlm_roberta")
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.decoder.weight"] = 2 * weights["roberta.embeddings.word_embeddings.weight"]
    save_file(weights, folder / "model.safetensors")
    import_folder(folder, tmp_path / "out")
    model = load(tmp_path / "out").model
    assert model.args.untie_weights_roberta
    assert model.encoder.lm_head.weight.equal(2 * model.encoder.sentence_encoder.embed_tokens.weight)


def test_regression_is_imported_as_such(copy, tmp_path):
    folder = copy("bert_classes")
    config = json.loads((folder / "config.json").read_text()) | {"id2label": {"0": "LABEL_0"}}
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    weights |= {name: weights[name][:1].clone() for name in ("classifier.weight", "classifier.bias")}
    save_file(weights, folder / "model.safetensors")
    import_folder(folder, tmp_path / "out")
    cfg = checkpoint.read(tmp_path / "out" / "checkpoint.pt")["cfg"]
    assert (cfg["task"]["regression_target"], cfg["task"]["num_classes"]) == (True, 1)
    assert not (tmp_path / "out" / "label").exists()


@pytest.mark.parametrize(("name", "separator"), [("bert_classes", None), ("roberta_classes", 2)])
def test_the_checkpoint_says_how_its_inputs_look(imported, name, separator):
    task = checkpoint.read(imported(name)[0] / "checkpoint.pt")["cfg"]["task"]
    assert (task["init_token"], task["separator_token"]) == (0, separator)


def test_text_is_encoded_and_decoded_by_the_folders_tokenizer(imported):
    hub = load(imported("bert")[0])
    symbols = [hub.task.source_dictionary[int(row)] for row in hub.encode("这家店的 service!", "b")]
    assert symbols == ["<s>", *"这家店的", "serv", "##ice", "!", "</s>", "b", "</s>"]
    assert hub.decode(hub.encode("the service was good")) == "the service was good"
    assert len(hub.fill_mask("the service was <mask>", topk=2)) == 2
    assert hub.bpe.is_beginning_of_word("serv")
    assert not hub.bpe.is_beginning_of_word("##ice")
    hub = load(imported("bert_unigram")[0])
    symbols = [hub.task.source_dictionary[int(row)] for row in hub.encode("the service", "b")]
    assert symbols == ["<s>", "▁the", "▁", "service", "</s>", "</s>", "▁", "b", "</s>"]
    assert hub.bpe.is_beginning_of_word("▁the")
    assert hub.task.source_dictionary.index("<U+3000>") != hub.task.source_dictionary.unk()


def test_separators_of_pairs_can_still_be_asked_for(imported):
    hub = load(imported("bert")[0])
    assert len(hub.encode("a", "b", no_separator=False)) == len(hub.encode("a", "b")) + 1


def test_labels_that_cannot_be_told_apart_are_refused(copy, tmp_path):
    folder = copy("bert_classes")
    config = json.loads((folder / "config.json").read_text()) | {"id2label": {"0": "a b", "1": "a_b", "2": "c"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(LayerdropError, match="the labels a_b, a_b, c cannot be told apart"):
        import_folder(folder, tmp_path / "out")


@pytest.mark.parametrize("stock", [False, True])
def test_an_import_is_pruned_and_fine_tuned_with_its_head(imported, stock, tmp_path):
    """A child of a classification import keeps the head, and from_pretrained loads what training leaves."""
    folder, _ = imported("bert_classes", stock=stock)
    texts = ["the service was good", "good", "这家店的服务很好", "不好"]
    for split in ("train", "valid"):
        hub = load(folder)
        (tmp_path / f"{split}.text").write_text("\n".join(map(hub.bpe.encode, texts)) + "\n")
        (tmp_path / f"{split}.label").write_text("good\nso-so\ngood\nvery_bad\n")
    data = tmp_path / "data"
    for kind, to in (("text", "input0"), ("label", "label")):
        dictionary = folder / ("label" if kind == "label" else "") / "dict.txt"
        for split in ("train", "valid"):
            (tmp_path / split).write_text((tmp_path / f"{split}.{kind}").read_text())
        builders.run(
            *("fairseq-preprocess", "--only-source", "--srcdict", dictionary, "--destdir", data / to),
            *("--trainpref", tmp_path / "train", "--validpref", tmp_path / "valid", "--workers", "1"),
        )
    for name in ("tokenizer.json", "special_tokens_map.json"):
        (data / name).write_bytes((folder / name).read_bytes())
    run = tmp_path / "run"
    arguments = list(builders.FINETUNE)
    arguments[arguments.index("--num-classes") + 1] = "3"
    builders.run(
        *("fairseq-train", data, "--save-dir", run, *arguments, "--prune-from", folder / "checkpoint.pt"),
        *("--prune-encoder-layers", "keep:1", "--bpe", "tokenizer_json", "--max-update", "1", "--lr", "1e-9"),
    )
    child = load(data, str(run / "checkpoint_last.pt"))
    saved = checkpoint.read(run / "checkpoint_last.pt")["cfg"]["model"]["_name"]
    assert saved == ("roberta" if stock else "layerdrop_roberta")
    assert child.cfg.bpe._name == (None if stock else "tokenizer_json")
    head, parent = "classification_heads.sentence_classification_head.dense.weight", load(folder).model.state_dict()
    np.testing.assert_allclose(child.model.state_dict()[head], parent[head], atol=1e-6)
    assert child.predict("sentence_classification_head", child.encode("好", "good")).shape == (1, 3)


PLAIN = """
import sys, torch
from fairseq.models.roberta import RobertaModel
hub = RobertaModel.from_pretrained(sys.argv[1], "checkpoint.pt").eval()
print(hub.predict("sentence_classification_head", torch.tensor([0, 9, 2])).tolist(), "layerdrop_plugin" in sys.modules)
"""


def test_a_stock_import_loads_in_fairseq_without_this_plugin(imported):
    folder, _ = imported("bert_classes", stock=True)
    tokens = torch.tensor([0, 9, 2])
    expected = load(folder).predict("sentence_classification_head", tokens)
    run = builders.run(sys.executable, "-c", PLAIN, folder)
    scores, plugin = run.stdout.splitlines()[-1].rsplit(" ", 1)
    assert plugin == "False"
    np.testing.assert_allclose(json.loads(scores), expected.tolist(), atol=1e-5)
