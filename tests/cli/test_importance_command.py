import json

import builders
import checkpoints
import pytest

from layerdrop_plugin.cli.main import main
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.scores import Scores


@pytest.fixture
def importance(capsys, data, parent, tmp_path):
    """Call ``layerdrop importance ARGUMENTS`` on the masked LM; returns standard output, the error's line, the file."""

    def call(*arguments, kind="lm", path=parent, out="found.json"):
        error = ""
        command = ["importance", data / kind, "--path", path, "--out", tmp_path / out, *arguments]
        try:
            main([str(argument) for argument in command])
        except SystemExit as stop:
            error = stop.code
        file = tmp_path / out
        return capsys.readouterr().out, error, Scores.load(file) if file.is_file() and not error else None

    return call


def test_a_masked_language_model(importance):
    output, error, found = importance()
    assert not error
    assert found.examples > 0
    assert "encoder.self_attn" in output
    assert "head 1" in output
    assert [len(row) for row in found.scores["encoder.self_attn"]] == [2] * 4
    assert [len(row) for row in found.scores["encoder.ffn"]] == [32] * 4
    assert len(found.scores["encoder.layers"]) == 4
    assert found.signature["criterion"]["_name"] == "masked_lm"
    assert found.signature["command"].startswith("layerdrop")
    again = importance("--batch-size", "3", out="again.json")[2]
    assert (again.examples, again.model, again.data) == (found.examples, found.model, found.data)
    for mine, theirs in zip(again.scores["encoder.layers"], found.scores["encoder.layers"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("method", ["importance", "fisher", "taylor", "magnitude", "random"])
def test_methods(method, importance):
    _, error, found = importance("--method", method, "--subset", "valid", "--max-examples", "3", "--per", "token")
    assert not error
    assert found.method == method
    if method in ("magnitude", "random"):
        assert (found.examples, found.per, found.loss, found.data) == (0, None, None, None)
    else:
        assert (found.examples, found.per) == (3, "token")


def test_what_it_writes_prunes(importance, parent, tmp_path):
    importance("--subset", "valid")
    child = tmp_path / "child.pt"
    main(
        [
            "prune",
            str(parent),
            str(child),
            "--heads",
            f"{tmp_path}/found.json:0.5",
            "--ffn",
            f"{tmp_path}/found.json:0.25",
        ]
    )
    _, error, found = importance("--subset", "valid", path=child, out="of_child.json")
    assert not error
    assert sum(len(row) for row in found.scores["encoder.self_attn"]) == 4
    assert sum(len(row) for row in found.scores["encoder.ffn"]) == 96


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--subset", "nothing"], "no split 'nothing'"),
        (["--base-criterion", "masked"], "did you mean masked_lm"),
        (["--base-criterion", "wav2vec"], "the criterion wav2vec cannot compute a loss of this model and data"),
        (["--base-criterion", "ctc"], "the criterion ctc cannot compute a loss of this model and data"),
        (["--base-criterion-args", '{"eps": 1}'], "has no option 'eps'"),
        (["--path", "nowhere.pt"], "nowhere.pt does not exist"),
        (["--out", "/nowhere/found.json"], "folder /nowhere does not exist"),
    ],
)
def test_bad_requests(arguments, message, importance, tmp_path):
    _, error, _ = importance(*arguments)
    assert message in error
    assert error.startswith("layerdrop: error: ")
    assert "\n" not in error
    assert not list(tmp_path.iterdir())


def test_the_checkpoint_is_not_overwritten(importance, parent, tmp_path):
    before = parent.read_bytes()
    (tmp_path / "link.pt").symlink_to(parent)
    assert "is the input itself" in importance(out="link.pt")[1]
    assert parent.read_bytes() == before


def test_data_without_examples(importance, data, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "dict.txt").write_text((data / "lm" / "dict.txt").read_text())
    (tmp_path / "none.txt").write_text("")
    builders.run(
        *("fairseq-preprocess", "--only-source", "--destdir", tmp_path / "empty", "--workers", "1"),
        *("--srcdict", data / "lm" / "dict.txt", "--trainpref", tmp_path / "none.txt"),
        check=False,
    )
    assert "has no examples" in importance(kind=tmp_path / "empty")[1]


def test_examples_that_are_too_long_end_nothing_and_are_counted(data, tmp_path, capsys):
    path = checkpoints.save(tmp_path / "model.pt", data, "classification", "--max-positions 12")
    words = [data / "nlu", "--path", path, "--subset", "test", "--cpu", "--out"]
    main([*map(str, ["importance", *words, tmp_path / "found.json"])])
    assert "examples were too long and are left out" in capsys.readouterr().out
    left_out = Scores.load(tmp_path / "found.json").signature["left_out"]
    assert 0 < left_out < 21
    for command, more in (("ablate", []), ("curve", ["--step", "1", "--importance-examples", "9"])):
        out = tmp_path / command
        main([*map(str, [command, *words, out, *more])])
        file = "ablation" if command == "ablate" else command
        record = json.loads((out / f"{file}.json").read_text())
        assert (record["left_out"], record["examples"]) == (left_out, 21 - left_out)
        assert f"{21 - left_out} examples ({left_out} too long and left out)" in (out / f"{file}.md").read_text()
    assert record["settings"]["left_out"] == left_out and record["settings"]["scores"]["left_out"] > 0


def test_it_writes_plain_json(importance, tmp_path):
    importance("--method", "random")
    assert json.loads((tmp_path / "found.json").read_text())["version"] == 1


@pytest.mark.parametrize("method", ["contribution", "loss"])
def test_methods_that_score_layers_prune_by_their_rules(method, importance, parent, tmp_path):
    output, error, found = importance("--method", method, "--subset", "valid")
    assert not error and "encoder.layers" in output and set(found.scores) == {"encoder.layers"}
    assert found.method == method and found.loss > 0 and found.signature["command"].startswith("layerdrop")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.json"]
    for rule in (method, "scores"):
        child = tmp_path / f"{rule}.pt"
        main(["prune", str(parent), str(child), "--encoder-layers", f"{rule}:{tmp_path}/found.json:2"])
        row = found.scores["encoder.layers"]
        plan = Parent.load(child).cfg["layerdrop"]["ancestors"][-1]["plan"]
        assert plan["encoder"]["layers"] == sorted(sorted(range(4), key=row.__getitem__)[-2:])


def test_options_that_methods_for_layers_have_no_use_for_are_refused(importance):
    assert "leave out --base-criterion" in importance("--method", "contribution", "--base-criterion", "masked_lm")[1]
    assert "leave out --per" in importance("--method", "loss", "--per", "token")[1]
