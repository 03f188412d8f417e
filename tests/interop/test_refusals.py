"""What cannot be imported is refused in one line that names it, and nothing is written."""

import json
import sys

import builders
import pytest
import torch
from hf_folders import load
from safetensors.torch import load_file, save_file

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.interop.import_hf import import_folder


def set_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def set_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def configured(**changes):
    return lambda folder: set_config(folder, **changes)


def weighted(change):
    return lambda folder: set_weights(folder, change)


def without(*names):
    def remove(folder):
        for name in names:
            (folder / name).unlink()

    return remove


def written(name, text):
    return lambda folder: (folder / name).write_text(text)


def sharded(folder):
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def hostile(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"a": torch.zeros(1), "b": Hostile(folder / "executed")}, folder / "pytorch_model.bin")


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def larger_tokenizer(folder):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([f"new{number}" for number in range(9)])
    tokenizer.save(str(folder / "tokenizer.json"))


def other_pairs(folder):
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = TemplateProcessing("$A [SEP] [CLS]", "$A $B [SEP] [CLS]", [("[SEP]", 5), ("[CLS]", 4)])
    tokenizer.save(str(folder / "tokenizer.json"))


QUERY = "bert.encoder.layer.1.attention.self.query.weight"
BAD = {
    "no config": (without("config.json"), r"has no config.json"),
    "broken config": (written("config.json", "{"), r"config.json cannot be read"),
    "another config": (written("config.json", "[1]"), r"does not hold a JSON object"),
    "no weights": (without("model.safetensors"), r"has no weights: neither model.safetensors nor pytorch_model.bin"),
    "missing shards": (sharded, r"index.json names model-1.safetensors, model-2.safetensors, not in the folder"),
    "broken weights": (written("model.safetensors", "no"), r"is no whole safetensors file"),
    "hostile": (hostile, r"pytorch_model.bin holds \S*open, which is not plain data: refused"),
    "albert": (configured(model_type="albert"), r"model_type albert cannot be imported, only bert, roberta"),
    "relative": (configured(position_embedding_type="relative_key"), r"position_embedding_type relative_key cannot"),
    "decoder": (configured(is_decoder=True), r"is_decoder True cannot"),
    "activation": (configured(hidden_act="silu"), r"fairseq has no hidden_act silu, only gelu,"),
    "no size": (configured(hidden_size=None), r"hidden_size is None"),
    "heads": (configured(num_attention_heads=3), r"not a multiple of num_attention_heads"),
    "labels": (
        configured(architectures=["BertForSequenceClassification"], problem_type="multi_label_classification"),
        r"problem_type multi_label_classification cannot",
    ),
    "segments": (configured(type_vocab_size=1), r"gives segments 0 and 1, and config.json says type_vocab_size 1"),
    "no head": (configured(architectures=["BertForSequenceClassification"]), r"weight classifier.weight is missing"),
    "no layer": (configured(num_hidden_layers=3), r"weight encoder.layer.2.attention.self.query.weight is missing"),
    "more layers": (configured(num_hidden_layers=1), r"weight encoder.layer.1.\S+ belongs to nothing"),
    "adapters": (
        weighted(lambda weights: weights.update({"bert.encoder.layer.0.adapter.weight": torch.zeros(1)})),
        r"encoder.layer.0.adapter.weight belongs to nothing",
    ),
    "shape": (
        weighted(lambda weights: weights.update({QUERY: torch.zeros(8, 9)})),
        r"query.weight has shape \(8, 9\), config.json says \(8, 8\)",
    ),
    "nan": (weighted(lambda weights: weights[QUERY].fill_(float("nan"))), r"query.weight has values that are infinite"),
    "no tokenizer": (
        without("tokenizer.json", "vocab.txt"),
        r"has neither tokenizer.json nor vocab.txt nor .*: write the first",
    ),
    "broken tokenizer": (written("tokenizer.json", "{}"), r"tokenizer.json is no tokenizer"),
    "more pieces": (larger_tokenizer, r"has a piece of number 88 \(new8\), the embeddings have 85 rows"),
    "other pairs": (other_pairs, r"makes \S+ \S+ \[SEP\] \[CLS\] .* of a pair: supported are"),
    "no separator": (written("special_tokens_map.json", '{"sep_token": "[END]"}'), r"has no sep_token \(\[END\]\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_folder_that_cannot_be_imported_is_refused(case, copy, tmp_path):
    change, message = BAD[case]
    folder = copy("bert")
    change(folder)
    with pytest.raises(LayerdropError, match=message) as refused:
        import_folder(folder, tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bert"]
    assert not (folder / "executed").exists()


def test_the_command_refuses_an_existing_target_and_a_missing_folder(copy, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    folder = copy("bert")
    for source, target, message in (
        (folder, tmp_path / "out", "out exists: choose another folder or delete it"),
        (folder, folder, "bert exists"),
        (tmp_path / "none", tmp_path / "new", "none is no folder"),
    ):
        run = builders.run("layerdrop", "import-hf", source, target, check=False)
        assert run.returncode == 1
        assert message in run.stdout
        assert "Traceback" not in run.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["tokenizers", "safetensors.torch"])
def test_a_missing_library_is_one_line(name, copy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, name.split(".", maxsplit=1)[0], None)
    with pytest.raises(LayerdropError, match=r"is not installed: run  pip install 'layerdrop_plugin\[interop\]'"):
        import_folder(copy("bert"), tmp_path / "out")


def test_a_model_without_its_tokenizer_says_where_it_belongs(copy, tmp_path):
    import_folder(copy("bert"), tmp_path / "out")
    (tmp_path / "out" / "tokenizer.json").unlink()
    with pytest.raises(LayerdropError, match=r"tokenizer.json does not exist, from which text is tokenised"):
        load(tmp_path / "out")
