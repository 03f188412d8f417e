"""`layerdrop score`, `report` and `depth-curve` from log to table, as the command line calls them."""

import json

import pytest
from samples import log_file, save_classifier, save_nlu_data, save_translation_data

from layerdrop_plugin.cli.main import main


@pytest.fixture
def layerdrop(capsys):
    """Call ``layerdrop ARGUMENTS``; returns its standard output or the error's line."""

    def call(*arguments):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            return stop.code
        return capsys.readouterr().out

    return call


def test_from_log_to_table(tmp_path, layerdrop):
    data = save_nlu_data(tmp_path / "data", {"test": [2] * 40})
    model = save_classifier(data, tmp_path / "model.pt", 1)
    log = log_file(tmp_path, {"loss": "0.612", "accuracy": "72.5", "bsz": "40"})
    known = (data, "--path", model, "--name", "parent", "--seed", 1, "--out", tmp_path / "1.json")
    printed = layerdrop("score", "--log", log, *known, "--command", "fairseq-validate")
    assert printed == "parent, seed 1: accuracy 72.5 (95 % interval 57.2 to 83.9) on 40 examples\n"
    assert "72.5 (1 seed)" in layerdrop("report", "--results", tmp_path / "1.json", "--out", tmp_path / "report")
    assert "is no data folder of a translation" in layerdrop("score", "--generated", log, *known)


def test_the_options_of_version_0_1_0_work_and_are_not_shown(tmp_path, layerdrop, capsys):
    data = save_nlu_data(tmp_path / "data", {"valid": [2] * 40})
    model = save_classifier(data, tmp_path / "model.pt", 1)
    log = log_file(tmp_path, {"loss": "0.612", "accuracy": "72.5", "bsz": "40"}, split="valid")
    common = ("score", "--log", log, "--name", "parent", "--seed", 1, "--out")
    layerdrop(*common, tmp_path / "new.json", data, "--path", model, "--subset", "valid")
    layerdrop(*common, tmp_path / "old.json", "--data", data, "--checkpoint", model, "--split", "valid")
    assert json.loads((tmp_path / "new.json").read_text()) == json.loads((tmp_path / "old.json").read_text())
    for command in ("score", "latency"):
        layerdrop(command, "--help")
        told = capsys.readouterr().out
        assert "DATA" in told and not any(old in told for old in ("--data", "--split", "--checkpoint", "--model"))


def test_a_copy_of_the_source_on_a_curve(tmp_path, layerdrop):
    data = save_translation_data(tmp_path / "data", [[1, 2, 3], [4, 5]])
    point = {"task": "translation", "train": "none", "seed": 1, "kept": 0, "side": "both"}
    known = (data, "--name", "copy", "--out", tmp_path / "copy.json", "--point", json.dumps(point))
    assert layerdrop("score", "--copy-source", *known).startswith("copy: bleu 0, chrF ")
    assert json.loads((tmp_path / "copy.json").read_text())["point"] == point
    assert "translation  both    none" in layerdrop(
        "depth-curve", "--results", tmp_path / "copy.json", "--out", tmp_path / "out"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--copy-source", "--log", "x"], "--copy-source evaluates no model"),
        ([], "say what to score: --log, --generated or --copy-source"),
        (["--log", "x", "--seed", "1"], "say which model was evaluated: --path and --seed"),
        (["--generated", "x", "--path", "y"], "say which model was evaluated: --path and --seed"),
        (["--copy-source", "--point", "{"], "the point { is not like"),
        (["--copy-source", "--subset", "train"], "no split 'train'"),
    ],
)
def test_contradictions(tmp_path, layerdrop, options, message):
    data = save_translation_data(tmp_path / "data", [[1]])
    error = layerdrop("score", data, "--name", "x", "--out", tmp_path / "out.json", *options)
    assert message in error and "\n" not in error and not (tmp_path / "out.json").exists()
