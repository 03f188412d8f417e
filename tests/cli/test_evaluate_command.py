"""`layerdrop evaluate`: the numbers of fairseq-validate and fairseq-generate, files, comparisons, errors."""

import json
import math
import shlex
import shutil

import builders
import checkpoints
import pytest

from layerdrop_plugin import checkpoint
from layerdrop_plugin.results.fairseq_log import FairseqLog

REGRESSION = "--num-classes 1 --regression-target --best-checkpoint-metric loss"


@pytest.fixture(scope="module")
def models(data, tmp_path_factory):
    """By kind: the data folder, and two models of different weights."""
    folder = tmp_path_factory.mktemp("models")
    numbers = shutil.copytree(data / "nlu", folder / "numbers")
    for file in data.glob("*.label"):
        lines = file.read_text().split()
        text = "".join(f"{float(label) + 0.1 * number}\n" for number, label in enumerate(lines))
        (numbers / "label" / file.name).write_text(text)
    found = {"regression": (numbers, "classification", REGRESSION)}
    found |= {kind: (data / name, kind, "") for kind, (name, _) in checkpoints.KINDS.items()}
    return {
        kind: (place, [_saved(folder / f"{kind}-{seed}", data, like, more, seed) for seed in (10, 9)])
        for kind, (place, like, more) in found.items()
    }


def _saved(folder, data, kind, more, seed):
    folder.mkdir()
    return checkpoints.save(folder / "model.pt", data, kind, more, seed)


@pytest.fixture
def evaluate(layerdrop, tmp_path):
    """Call ``layerdrop evaluate`` on the CPU; returns what it printed and evaluate.json."""

    def call(data, paths, *more, out=tmp_path / "out"):
        status, printed, error = layerdrop("evaluate", data, "--path", *paths, "--out", out, "--cpu", *more)
        assert status == 0, error
        assert sorted(path.name for path in out.iterdir()) == ["evaluate.html", "evaluate.json", "evaluate.md"]
        return printed, json.loads((out / "evaluate.json").read_text())

    return call


def pasted(command, tmp_path):
    """What *command* prints, as a log."""
    log = tmp_path / "log"
    log.write_text(builders.run(*shlex.split(command)).stdout)
    return FairseqLog(log)


# kind -> what fairseq-validate prints and its decimals -> what evaluate calls it
PRINTED = {
    "classification": {
        "accuracy": (1, "accuracy"),
        "f1": (1, "f1"),
        "mcc": (1, "mcc"),
        "acc_and_f1": (1, "acc_and_f1"),
    },
    "regression": {name: (1, name) for name in ("pearson", "spearman", "pearson_and_spearman")},
    "masked_lm": {"loss": (3, "nll_loss"), "ppl": (2, "ppl")},
    "language_modeling": {"loss": (3, "nll_loss"), "ppl": (2, "ppl")},
    "translation": {"nll_loss": (3, "nll_loss"), "ppl": (2, "ppl")},
}


@pytest.mark.parametrize("kind", PRINTED)
def test_evaluate_and_fairseq_validate_agree(kind, models, evaluate, tmp_path):
    data, paths = models[kind]
    more = ["--no-generate"] if kind == "translation" else ["--seed", 5, "--batch-size", 8]
    printed, record = evaluate(data, paths[:1], *more)
    (found,) = record["results"]
    (command,) = found["fairseq"].values()
    assert command in printed and command in (tmp_path / "out" / "evaluate.md").read_text()
    log = pasted(command, tmp_path).results("test")
    assert int(log["bsz"]) == found["examples"] == len(found["answers"]["loss"])
    for name, (decimals, ours) in PRINTED[kind].items():
        # fairseq rounds to these decimals, in single precision; its perplexity is of the rounded loss
        slack = found["metrics"][ours] * math.log(2) * 5e-4 if name == "ppl" else 1e-5
        assert float(log[name]) == pytest.approx(found["metrics"][ours], abs=0.501 * 10**-decimals + slack), name
    if kind != "translation":  # whose loss fairseq smooths
        assert float(log["loss"]) == pytest.approx(found["loss"], abs=5.01e-4)
    if kind == "classification":
        assert 0 < found["metrics"]["f1"] < 100 and found["metrics"]["mcc"] != 0
        assert 100 * found["correct"] / found["examples"] == found["metrics"]["accuracy"]


def test_evaluate_and_fairseq_generate_agree(models, evaluate, layerdrop, tmp_path):
    data, paths = models["translation"]
    _, record = evaluate(data, paths[:1], "--beam", 3)
    (found,) = record["results"]
    log = pasted(found["fairseq"]["fairseq-generate"], tmp_path)
    words = ["--generated", log.path, "--checkpoint", paths[0], "--name", "x", "--seed", 1, "--data", data]
    assert layerdrop("score", *words, "--out", tmp_path / "scored.json")[0] == 0
    scored = json.loads((tmp_path / "scored.json").read_text())
    for name in ("metric", "interval", "intervals", "signatures", "references_sha256", "hypotheses", "data_sha256"):
        assert found[name] == scored[name], name
    assert scored["answers"].items() <= found["answers"].items()
    assert found["metrics"].items() >= scored["metrics"].items() and "chrf" in scored["metrics"]


def test_several_checkpoints_are_compared_with_the_first(models, evaluate, layerdrop, tmp_path):
    data, paths = models["classification"]
    printed, record = evaluate(data, paths, "--name", "parent", "child", "--train-seed", 1)  # of both
    assert "against parent, seed 1 (p)" in printed.splitlines()[0]
    (compared,) = record["comparisons"]
    first, second = record["results"]
    assert (compared["name"], compared["seed"], first["seed"]) == ("child", 1, 1)
    assert set(compared["metrics"]) == {"accuracy", "f1", "mcc", "acc_and_f1", "loss_nats"}
    for name, test in compared["metrics"].items():
        assert test["difference"] == pytest.approx(second["metrics"][name] - first["metrics"][name], abs=1e-5)
        assert 0 < test["p"] <= 1 and test["test"] in (tmp_path / "out" / "evaluate.md").read_text()
    assert set(first["answers"]) == {"example", "label", "prediction", "loss"}
    assert set(first["answers"]["label"]) == {"0", "1"} and first["examples_sha256"] == second["examples_sha256"]
    made = layerdrop("report", "--results", tmp_path / "out", "--out", tmp_path / "report")[1]
    test = compared["metrics"]["accuracy"]
    assert f"{test['difference']:+.2f} ({test['p']:.3f})" in made and "against parent (p)" in made
    assert "answers" not in json.loads((tmp_path / "report" / "report.json").read_text())["results"][0]


def test_names_and_seeds_come_from_the_checkpoints(models, evaluate, tmp_path):
    data, paths = models["masked_lm"]
    state = checkpoint.read(paths[1])
    state["cfg"]["common"]["seed"] = 7
    beside = tmp_path / "masked_lm-10"
    beside.mkdir()
    checkpoint.write(state, beside / "model.pt")
    _, record = evaluate(data, [*paths, beside / "model.pt"], "--subset", "valid")
    found = [(one["name"], one["seed"]) for one in record["results"]]
    assert found == [(paths[0], 1), ("masked_lm-9", 1), (str(beside / "model.pt"), 7)]
    assert {one["split"] for one in record["results"]} == {"valid"}


def test_a_folder_is_overwritten_and_a_sample_says_so(models, evaluate, tmp_path):
    data, paths = models["language_modeling"]
    evaluate(data, paths)
    printed, record = evaluate(data, paths[:1], "--max-examples", 5)
    assert len(record["results"]) == 1 and record["results"][0]["sample"] == {"max_examples": 5, "seed": 1}
    assert record["results"][0]["fairseq"] == {} and "cannot draw a sample" in printed
    assert "a sample, drawn with the seed 1" in (tmp_path / "out" / "evaluate.md").read_text()
    whole = evaluate(data, paths[:1], "--max-examples", 5000)[1]["results"][0]
    assert whole["sample"] is None and "fairseq-validate" in whole["fairseq"]


def test_a_point_is_a_place_on_a_curve(models, evaluate, layerdrop, tmp_path):
    data, paths = models["masked_lm"]
    points = [
        json.dumps({"task": "masked-lm", "train": "p = 0", "seed": 1, "kept": kept, "side": "encoder"})
        for kept in (2, 1)
    ]
    evaluate(data, paths, "--point", *points)
    made = layerdrop("curves", "--results", tmp_path / "out" / "evaluate.json", "--out", tmp_path / "curves")
    assert made[0] == 0 and made[1].count("masked-lm") == 2


def test_errors_are_one_line_and_leave_nothing(models, data, layerdrop, tmp_path):
    nlu, (first, second) = models["classification"]
    three = checkpoints.save(tmp_path / "three.pt", data, "classification", "--num-classes 3")
    longer = checkpoints.save(tmp_path / "longer.pt", data, "masked_lm", "--tokens-per-sample 24")
    lm, (masked, _) = models["masked_lm"]
    (tmp_path / "file").write_text("")
    for match, words in (
        ("does not exist", [nlu, "--path", first, tmp_path / "none.pt"]),
        ("twice", [nlu, "--path", first, first]),
        ("--name has 1 values for 2", [nlu, "--path", first, second, "--name", "a"]),
        ("--train-seed has 3 values for 1", [nlu, "--path", first, "--train-seed", 1, 2, 3]),
        ("two results are called a, seed 1", [nlu, "--path", first, second, "--name", "a", "a"]),
        ("3 classes", [nlu, "--path", first, three]),
        ("read the data differently", [lm, "--path", masked, longer]),
        ("cannot load|for masked_lm|needs data", [nlu, "--path", first, masked]),
        ("no split 'other'", [nlu, "--path", first, "--subset", "other"]),
        ("not measured by bleu; choose accuracy, f1", [nlu, "--path", first, "--metric", "bleu"]),
        ("two classes, one of them named 1", [nlu, "--path", three, "--metric", "f1"]),
        ("choose bleu", [models["translation"][0], "--path", models["translation"][1][0], "--metric", "f1"]),
        ("measured by ppl; choose nll_loss", [lm, "--path", masked, "--metric", "ppl"]),
        ("is no translation model", [nlu, "--path", first, "--beam", 3]),
        ("is no translation model", [lm, "--path", masked, "--no-generate"]),
        (
            "leave out --no-generate",
            [models["translation"][0], "--path", models["translation"][1][0], "--beam", 3, "--no-generate"],
        ),
        ("the point x is not like", [nlu, "--path", first, "--point", "x"]),
        ("is a file: name a folder", [nlu, "--path", first, "--out", tmp_path / "file"]),
    ):
        out = [] if "--out" in words else ["--out", tmp_path / "none"]
        status, _, error = layerdrop("evaluate", *words, *out, "--cpu")
        assert status == 1 and error.startswith("layerdrop: error: ") and "\n" not in error
        assert any(part in error for part in match.split("|")), error
        assert not (tmp_path / "none").exists()
