"""Results of models that CTranslate2 runs: `layerdrop score` of a folder, and the page that compares engines."""

import json
import shutil

import pytest
from samples import save_translation_data, save_translator

from layerdrop_plugin.cli.main import main
from layerdrop_plugin.evaluation import latency
from layerdrop_plugin.interop.export_ct2 import export
from layerdrop_plugin.reports import translation_table
from layerdrop_plugin.results import record

pytest.importorskip("ctranslate2")
SENTENCES = [[1, 2, 3], [4, 5], [6, 7, 8, 9, 10], [11], [12, 13, 14, 15]]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with data, a checkpoint and what export-ct2 made of it."""
    folder = tmp_path_factory.mktemp("world")
    data = save_translation_data(folder / "data", SENTENCES)
    export(save_translator(data, folder / "model.pt", 1), data, folder / "served")
    return folder


def call(capsys, *arguments):
    """Standard output of ``layerdrop ARGUMENTS``, or the error's line."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code
    return capsys.readouterr().out


@pytest.mark.parametrize("name", ["served", "served/model.bin"])
def test_a_folder_is_translated_and_scored(world, tmp_path, capsys, name):
    options = ("--seed", 1, "--name", "child, CTranslate2", "--out", tmp_path / "result.json")
    said = call(capsys, "score", world / "data", "--path", world / name, "--beam", 2, *options)
    assert said.startswith("child, CTranslate2, seed 1: bleu ")
    (result,) = record.load([tmp_path / "result.json"])
    assert result["examples"] == len(SENTENCES) == len(result["answers"]["hypothesis"])
    assert result["answers"]["reference"][1] == "v4 v5" and result["references"] == "raw text"
    assert result["hypotheses"]["beam"] == 2 and result["checkpoint"]["decoder_layers"] == 1
    assert result["checkpoint"]["engine"]["quantization"] == "float32" and result["command"].startswith("layerdrop")


def test_what_does_not_go_together_is_refused(world, tmp_path, capsys):
    known = ("score", world / "data", "--name", "x", "--seed", 1, "--out", tmp_path / "out.json")
    served, other = world / "served", tmp_path / "other"
    assert "is a folder, which is translated here" in call(capsys, *known, "--path", served, "--generated", "x")
    assert "--beam is of the translations of an exported folder" in call(
        capsys, *known, "--path", world / "model.pt", "--generated", "x", "--beam", 2
    )
    shutil.copytree(served, other)
    (other / "config.json").write_text("{}")
    assert "config.json was changed since the export" in call(capsys, *known, "--path", other)
    assert not (tmp_path / "out.json").exists()


def test_the_page_counts_hypotheses_that_are_not_fairseqs():
    made = {"sha256": "a" * 64}
    engine = {"engine": "ctranslate2 4", "quantization": "int8", "checkpoint_sha256": "a" * 64}
    results = [
        {"name": "parent", "checkpoint": made, "examples": 2, "answers": {"hypothesis": ["one", "two"]}},
        {"name": "copy", "checkpoint": None, "examples": 2},
        {
            "name": "served",
            "checkpoint": {"sha256": "b" * 64, "engine": engine},
            "examples": 2,
            "answers": {"hypothesis": ["one", "three"]},
        },
    ]
    lines = translation_table.differences(translation_table.with_differences(results))
    assert lines[0] == "served: ctranslate2 4, int8; 1 of 2 hypotheses are not those of parent."
    assert translation_table.differences(results[:2]) == []
    assert "hypotheses" not in translation_table.differences(results[1:])[0]  # its checkpoint has no result


def test_latency_times_the_folder_beside_its_checkpoint(world, tmp_path, capsys):
    models = {"fairseq": world / "model.pt", "served": world / "served/model.bin"}
    found = latency.measure(models, world / "data", "test", [2], threads=1, repeats=1, max_sentences=4, beam=2)
    first, second = found["models"]
    assert found["generation"]["beam"] == 2
    assert second["checkpoint"]["engine"]["quantization"] == "float32" and second["tokens_per_second"]["2"] > 0
    assert abs(first["target_tokens"]["2"] - second["target_tokens"]["2"]) <= 4  # at the limit by one a sentence


def test_latency_refuses_data_of_another_dictionary_and_a_changed_folder(world, tmp_path, capsys):
    other = save_translation_data(tmp_path / "data", SENTENCES)
    words = (other / "dict.en.txt").read_text().splitlines()
    (other / "dict.en.txt").write_text("\n".join([*words[1:], words[0]]) + "\n")
    out = ("--out", tmp_path / "latency.json", "--batch-sizes", 2)
    assert "another dictionary than dict.en.txt" in call(capsys, "latency", other, "--path", world / "served", *out)
    shutil.copytree(world / "served", tmp_path / "served")
    origin = json.loads((tmp_path / "served/layerdrop.json").read_text())
    origin["sha256"]["model.bin"] = "0" * 64
    (tmp_path / "served/layerdrop.json").write_text(json.dumps(origin))
    said = call(capsys, "latency", world / "data", "--path", tmp_path / "served", *out)
    assert "model.bin was changed since the export" in said
