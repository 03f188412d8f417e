"""`layerdrop pruning-curve`: files, going on after an interruption, and errors in one line."""

import json
import os
import time

import checkpoints
import fresh
import pytest

from layerdrop_plugin.cli import pruning_curve as command
from layerdrop_plugin.cli.main import main
from layerdrop_plugin.evaluation import pruning_curve, session
from layerdrop_plugin.importance import estimation
from layerdrop_plugin.pruning.scores import Scores


@pytest.fixture(scope="module")
def classifier(data, tmp_path_factory):
    return checkpoints.save(tmp_path_factory.mktemp("classifier") / "model.pt", data, "classification")


def run(*words):
    main([str(word) for word in ("pruning-curve", *words, "--cpu")])


def test_a_classifiers_heads_and_going_on(data, classifier, tmp_path, capsys, monkeypatch):
    out = tmp_path / "curve"
    words = [data / "nlu", "--path", classifier, "--out", out, "--step", "0.5", "--importance-examples", "20"]
    run(*words)
    record = json.loads((out / "curve.json").read_text())
    assert record["type"] == "layerdrop.curve" and record["split"] == "valid" and record["examples"] == 30
    assert len(record["points"]) == 1 + (1 + 1 + 3) * 2
    assert set(record["within"]) == {"accuracy", "loss"}
    assert set(record["within"]["loss"]) == {"importance", "magnitude", "random"}
    printed, page = capsys.readouterr().out, (out / "curve.md").read_text()
    assert "the share of heads that can go within 1 point of accuracy: " in printed
    assert "| 50%" in page and "mean over 3 seeds" in page
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")

    def nothing(*_):
        raise AssertionError("measured again")

    interrupted = record | {"points": record["points"][:-1]}
    (out / "curve.json").write_text(json.dumps(interrupted))
    calls = []
    measured = pruning_curve.measure_all
    monkeypatch.setattr(pruning_curve, "measure_all", lambda *args: calls.append(1) or measured(*args))
    run(*words)
    assert len(calls) == 1
    assert json.loads((out / "curve.json").read_text())["points"] == record["points"]
    monkeypatch.setattr(pruning_curve, "measure_all", nothing)
    run(*words)
    for other in (["--ffn"], ["--seed", "2"], ["--max-examples", "3"], ["--importance-examples", "21"]):
        with pytest.raises(SystemExit, match="curve of other settings"):
            run(*words, *other)


def test_ffn_units_by_given_scores(data, classifier, tmp_path):
    loaded = session.load(classifier, data / "nlu", cpu=True)
    file = tmp_path / "importance.json"
    estimation.estimate(loaded, "valid").save(file)
    words = [data / "nlu", "--path", classifier, "--ffn", "--step", "1/3", "--importance", file]
    run(*words, "--out", tmp_path / "out", "--methods", "random", "--random-seeds", "1", "--subset", "test")
    record = json.loads((tmp_path / "out" / "curve.json").read_text())
    assert [point["removed"] for point in record["points"]] == [0, 8, 16, 24, 8, 16, 24]
    assert list(record["within"]["loss"]) == ["importance", "random"]

    scores = Scores.load(file)
    other = checkpoints.save(tmp_path / "other.pt", data, "classification", seed=1)
    with pytest.raises(SystemExit, match="other weights"):
        run(data / "nlu", "--path", other, "--out", tmp_path / "no", "--importance", file)
    text = file.read_text().replace(str(scores.scores["encoder.ffn"][0][0]), "NaN")
    (tmp_path / "nan.json").write_text(text)
    with pytest.raises(SystemExit, match="nan.json"):
        run(data / "nlu", "--path", classifier, "--out", tmp_path / "no", "--importance", tmp_path / "nan.json")
    with pytest.raises(SystemExit, match="second file"):
        run(data / "nlu", "--path", classifier, "--out", tmp_path / "no", "--importance", file, file)
    with pytest.raises(SystemExit, match="leave out --importance"):
        run(*words, "--out", tmp_path / "no", "--re-estimate")
    assert not (tmp_path / "no").exists()


def test_a_translation_model_with_bleu(data, tmp_path, capsys):
    path = checkpoints.save(tmp_path / "model.pt", data, "translation")
    words = [data / "nmt", "--path", path, "--out", tmp_path / "out", "--step", "0.5", "--methods", "importance,taylor"]
    run(*words, "--re-estimate", "--max-examples", 6, "--importance-examples", 8, "--bleu-examples", 3)
    record = json.loads((tmp_path / "out" / "curve.json").read_text())
    assert set(record["within"]) == {"bleu", "loss"} and record["settings"]["per"] == "token"
    assert record["settings"]["bleu"] == {"max_examples": 3, "beam": 1}
    assert [point["removed"] for point in record["points"]] == [0, 6, 12, 6, 12]
    assert "nats per token" in capsys.readouterr().out


def test_errors_are_one_line(data, classifier, tmp_path):
    good = [data / "nlu", "--path", classifier, "--out", tmp_path / "out"]
    for match, words in (
        ("unknown method 'luck'", [*good, "--methods", "random,luck"]),
        ("rate 2", [*good, "--step", "2"]),
        ("step of 0", [*good, "--step", "0"]),
        ("no split 'other'", [*good, "--importance-subset", "other"]),
        ("no translation model", [*good, "--bleu-examples", "3"]),
        ("cannot make the folder", [*good[:3], "--out", f"{classifier}/curve"]),
    ):
        with pytest.raises(SystemExit) as stopped:
            run(*words)
        message = str(stopped.value.code)
        assert message.startswith("layerdrop: error: ") and match in message and "\n" not in message
        assert not (tmp_path / "out").exists()
    assert command.HELP


def test_a_second_process_is_refused_at_once_and_a_killed_one_holds_nothing(data, classifier, tmp_path):
    out, env = tmp_path / "curve", dict(os.environ)
    words = [
        "layerdrop",
        "pruning-curve",
        data / "nlu",
        "--path",
        classifier,
        "--out",
        out,
        "--cpu",
        "--methods",
        "random",
    ]
    words = [str(word) for word in (*words, "--step", "0.5", "--max-examples", "2")]
    first, output = fresh.start([*words, "--random-seeds", "100000"], None, env)
    try:
        end = time.monotonic() + 120
        while not (out / "curve.json").exists():
            assert first.is_alive() and time.monotonic() < end, output.read()
            time.sleep(0.02)
        refused = fresh.run(words, None, env)
        assert refused.returncode == 1 and first.is_alive()
        (line,) = refused.stdout.splitlines()
        assert line.startswith("layerdrop: error: ") and f"the folder {out} is in use" in line
    finally:
        first.kill()
        first.join()
        output.close()
    before = json.loads((out / "curve.json").read_text())["points"]
    assert fresh.run(words, None, env).returncode == 0
    after = json.loads((out / "curve.json").read_text())["points"]
    assert after[: len(before)] == before
    assert sorted(path.name for path in out.iterdir() if path.suffix != ".tmp") == [
        "curve.html",
        "curve.json",
        "curve.md",
        "curve.png",
    ]
