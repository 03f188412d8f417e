"""Recipes for sentence prediction on what layerdrop import-hf makes."""

import subprocess
import sys
from pathlib import Path

import pytest
from fairseq.models.roberta import RobertaModel

from layerdrop_plugin import checkpoint
from layerdrop_plugin.interop.import_hf import import_folder

from .conftest import RECIPES, TOY, fails, succeeds

REFERENCES = Path(__file__).parents[1] / "interop" / "references"
ROWS = ["the service was good\t好\tgood", "good\ta b\tso-so", "这家店的服务很好\tthe\tgood", "不好\tc\tvery_bad"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Imports of the references bert_classes (one separator, segments) and roberta_classes (two separators)."""
    root = tmp_path_factory.mktemp("models")
    for name in ("bert_classes", "roberta_classes"):
        import_folder(REFERENCES / name, root / name)
    return root


def labelled(*labels):
    """ROWS with these labels in turn."""
    return ["\t".join([*row.split("\t")[:2], labels[n % len(labels)]]) for n, row in enumerate(ROWS)]


def table(path, rows):
    path.write_text("".join(f"{row}\n" for row in ["sentence1\tsentence2\tlabel", *rows]), encoding="utf-8")
    return path


def prepare(tmp_path, model, rows, *options):
    files = ("--train", table(tmp_path / "train.tsv", rows), "--valid", table(tmp_path / "valid.tsv", rows[:3]))
    return ("data/prepare_nlu.sh", "--tokenizer", model, "--out", tmp_path / "data", *files, *options)


@pytest.mark.recipe
def test_pairs_are_prepared_fine_tuned_and_evaluated_in_the_models_own_format(models, tmp_path):
    """And from_pretrained needs nothing but the folder that fine-tuning leaves."""
    out, data = tmp_path / "tuned", tmp_path / "data"
    succeeds(*prepare(tmp_path, models / "bert_classes", ROWS))
    labels = (data / "label" / "dict.txt").read_text().splitlines()
    assert [line.split()[0] for line in labels] == ["very_bad", "so-so", "good"]
    parent = models / "bert_classes" / "checkpoint.pt"
    succeeds("finetune_nlu.sh", "--from", parent, "--data", data, "--out", out, **TOY)
    cfg = checkpoint.read(out / "checkpoint_best.pt")["cfg"]
    assert (cfg["task"]["init_token"], cfg["task"]["separator_token"]) == (0, None)
    result, model = tmp_path / "evaluated", out / "checkpoint_best.pt"
    succeeds("evaluate_nlu.sh", "--data", data, "--model", model, "--split", "valid", "--out", result)
    assert (result / "evaluate.json").is_file()
    hub = RobertaModel.from_pretrained(str(out), "checkpoint_best.pt").eval()
    hub.task.cfg.data = str(data)
    prepared = [hub.task.load_dataset("valid")[row]["net_input.src_tokens"] for row in range(3)]
    encoded = {tuple(hub.encode(*row.split("\t")[:2]).tolist()) for row in ROWS[:3]}
    assert {tuple(tokens.tolist()) for tokens in prepared} == encoded
    assert hub.predict("sentence_classification_head", prepared[0]).shape == (1, 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bert_classes", "--bpe tokenizer_json --init-token 0"),
        ("roberta_classes", "--bpe tokenizer_json --init-token 0 --separator-token 2"),
        (None, "--bpe sentencepiece --init-token 0 --separator-token 2"),
    ],
)
def test_the_format_of_pairs_is_the_tokenizers(models, tmp_path, name, expected):
    command = [sys.executable, RECIPES / "data" / "data_folder.py", "inputs", models / name if name else tmp_path]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == expected.split()


def test_other_labels_than_the_models_are_said(models, tmp_path):
    files = [
        "--train",
        table(tmp_path / "train.tsv", labelled("x", "y")),
        "--valid",
        table(tmp_path / "v", labelled("x")),
    ]
    command = [sys.executable, RECIPES / "data" / "split_tsv.py", "--out", tmp_path, *files]
    command += ["--labels", models / "bert_classes" / "label" / "dict.txt"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "the model's labels are very_bad so-so good, these are other ones: it will get a new head" in said
    assert (tmp_path / "label.dict.txt").read_text() == "x 2\ny 2\n"


def test_a_model_folder_without_its_special_tokens_is_refused(tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("dict.txt", "tokenizer.json"):
        (tmp_path / "model" / name).write_text("{}")
    line = fails(*prepare(tmp_path, tmp_path / "model", ROWS))
    assert line.endswith("special_tokens_map.json: no such file")
    assert not (tmp_path / "data").exists()
