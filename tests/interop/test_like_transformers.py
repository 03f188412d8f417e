"""An imported model computes what transformers computed with the folder; see make_references.py."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.data.data_utils import collate_tokens
from hf_folders import NAMES, REFERENCES, expected, load

from layerdrop_plugin import checkpoint
from layerdrop_plugin.interop.import_hf import import_folder

SCRIPT = ast.parse((Path(__file__).parent / "make_references.py").read_text(encoding="utf-8"))
TEXTS = {
    node.targets[0].id: ast.literal_eval(node.value)
    for node in SCRIPT.body
    if isinstance(node, ast.Assign) and node.targets[0].id in ("SINGLES", "PAIRS")
}
KINDS = {"single": [[text] for text in TEXTS["SINGLES"]], "pair": TEXTS["PAIRS"]}


def tokens_of(hub, texts):
    """The texts as the model's own tokenizer has them, padded on the right."""
    return collate_tokens([hub.encode(*parts) for parts in texts], hub.task.source_dictionary.pad())


def rows_of(folder):
    return json.loads((folder / "huggingface" / "import.json").read_text())["rows"]


def hidden_states(hub, tokens):
    with torch.no_grad():
        return torch.stack(hub.extract_features(tokens, return_all_hiddens=True)).numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_tokens_and_hidden_states_are_those_of_the_folder(imported, name, kind):
    """Every layer's, at every place that is no padding, singles and pairs in batches with padding."""
    folder, _ = imported(name)
    hub, want = load(folder), expected(name)
    tokens, mask = tokens_of(hub, KINDS[kind]), want[f"{kind}_mask"].astype(bool)
    assert (tokens.ne(1).numpy() == mask).all()
    assert (np.array(rows_of(folder))[tokens.numpy()] == want[f"{kind}_ids"])[mask].all()
    found = hidden_states(hub, tokens)
    assert np.abs(found - want[f"{kind}_hidden"])[:, mask].max() < 1e-5
    assert np.abs(want[f"{kind}_hidden"]).max() > 1


@pytest.mark.parametrize(("name", "classes"), [("bert_classes", 3), ("roberta_classes", 2)])
def test_class_scores_are_those_of_the_folder(imported, name, classes):
    hub, want = load(imported(name)[0]), expected(name)
    for kind, texts in KINDS.items():
        scores = hub.predict("sentence_classification_head", tokens_of(hub, texts), return_logits=True).detach()
        assert scores.shape[1] == classes
        np.testing.assert_allclose(scores.numpy(), want[f"{kind}_logits"], atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "xlm_roberta"])
def test_logits_of_the_lm_head_are_those_of_the_folder(imported, name):
    """Row by row, in the other order."""
    folder, _ = imported(name)
    hub, want = load(folder), expected(name)
    for kind, texts in KINDS.items():
        with torch.no_grad():
            logits = hub.model(tokens_of(hub, texts))[0].numpy()
        mask = want[f"{kind}_mask"].astype(bool)
        np.testing.assert_allclose(logits[mask], want[f"{kind}_logits"][:, :, rows_of(folder)][mask], atol=1e-5)


def test_a_stock_import_says_by_how_much_hidden_states_moved(imported):
    """It names fairseq's own architecture and none of our options."""
    folder, said = imported("bert", stock=True)
    exact, want = load(imported("bert")[0]), expected("bert")
    hub = load(folder)
    cfg = checkpoint.read(folder / "checkpoint.pt")["cfg"]["model"]
    assert (cfg["_name"], cfg["arch"]) == ("roberta", "roberta")
    assert not cfg.keys() & {"layernorm_eps", "segment_embeddings", "encoder_layerdrop_schedule"}
    moved = {}
    for kind, texts in KINDS.items():
        tokens, mask = tokens_of(hub, texts), want[f"{kind}_mask"].astype(bool)
        moved[kind] = np.abs(hidden_states(hub, tokens) - hidden_states(exact, tokens))[:, mask].max()
    assert 1e-3 < moved["single"] < moved["pair"]
    (line,) = [line for line in said if "moved" in line]
    numbers = [float(word) for word in line.replace(",", "").split() if word[0].isdigit()]
    assert 1e-3 < numbers[0] < numbers[1]


def test_a_stock_import_of_what_fairseq_has_is_exact(imported):
    hub, want = load(imported("roberta_classes", stock=True)[0]), expected("roberta_classes")
    scores = hub.predict("sentence_classification_head", tokens_of(hub, KINDS["pair"]), return_logits=True)
    np.testing.assert_allclose(scores.detach().numpy(), want["pair_logits"], atol=1e-5)


@pytest.mark.parametrize("change", ["vocab.txt", "bin", "shards", "half"])
def test_other_files_of_the_same_model_give_the_same(copy, tmp_path, change):
    """A vocabulary without tokenizer.json, pickled weights, shards, half precision."""
    from safetensors.torch import load_file, save_file

    folder = copy("bert")
    weights = load_file(folder / "model.safetensors")
    tolerance = 1e-5
    if change == "vocab.txt":
        (folder / "tokenizer.json").unlink()
    else:
        (folder / "model.safetensors").unlink()
    if change == "bin":  # and LayerNorm's weights under their first names
        first = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): value for name, value in weights.items()}
        torch.save(first, folder / "pytorch_model.bin")
    elif change == "shards":
        index = {name: f"part{number % 2}.safetensors" for number, name in enumerate(weights)}
        for part in set(index.values()):
            save_file({name: value for name, value in weights.items() if index[name] == part}, folder / part)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    elif change == "half":
        save_file({name: value.half() for name, value in weights.items()}, folder / "model.safetensors")
        tolerance = 2e-2
    import_folder(folder, tmp_path / "out")
    hub, want = load(tmp_path / "out"), expected("bert")
    for kind, texts in KINDS.items():
        tokens, mask = tokens_of(hub, texts), want[f"{kind}_mask"].astype(bool)
        assert (np.array(rows_of(tmp_path / "out"))[tokens.numpy()] == want[f"{kind}_ids"])[mask].all()
        assert np.abs(hidden_states(hub, tokens) - want[f"{kind}_hidden"])[:, mask].max() < tolerance


def test_references_say_how_they_were_made():
    assert {path.stem for path in REFERENCES.glob("*.npz")} == set(NAMES)
