"""`layerdrop score`, `report` and `depth-curve` from log to table, as the command line calls them."""

import json

import pytest
from samples import save_translation_data

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


def test_the_options_of_version_0_1_0_work_and_are_not_shown(tmp_path, layerdrop, capsys):
    data = save_translation_data(tmp_path / "data", [[1, 2, 3], [4, 5]])
    common = ("score", "--copy-source", "--name", "copy", "--out")
    layerdrop(*common, tmp_path / "new.json", data, "--subset", "test")
    layerdrop(*common, tmp_path / "old.json", "--data", data, "--split", "test")
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


def test_of_several_pairs_of_languages_one_is_chosen(tmp_path, layerdrop):
    data = save_translation_data(tmp_path / "data", [[1, 2, 3], [4, 5]])
    for suffix in ("de.idx", "de.bin", "fr.idx", "fr.bin"):  # another pair beside it
        (data / f"test.de-fr.{suffix}").write_bytes((data / f"test.de-en.de.{suffix[-3:]}").read_bytes())
    known = (data, "--copy-source", "--name", "copy", "--out", tmp_path / "copy.json")
    assert "several language pairs: de-en, de-fr" in layerdrop("score", *known)
    assert layerdrop("score", *known, "-s", "de", "-t", "en").startswith("copy: bleu 0")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--copy-source", "--log", "x"], "--copy-source evaluates no model"),
        ([], "say what to score: --generated or --copy-source"),
        (["--log", "x", "--seed", "1"], "`layerdrop evaluate` measures accuracies and losses"),
        (["--copy-source", "-s", "src"], "--source-lang and --target-lang go together"),
        (["--generated", "x", "--path", "y"], "say which model was evaluated: --path and --seed"),
        (["--copy-source", "--point", "{"], "the point { is not like"),
        (["--copy-source", "--subset", "train"], "no split 'train'"),
    ],
)
def test_contradictions(tmp_path, layerdrop, options, message):
    data = save_translation_data(tmp_path / "data", [[1]])
    error = layerdrop("score", data, "--name", "x", "--out", tmp_path / "out.json", *options)
    assert message in error and "\n" not in error and not (tmp_path / "out.json").exists()
