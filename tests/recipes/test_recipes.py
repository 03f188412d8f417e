"""Pre-train, prune, fine-tune, evaluate: on the quick start's slice of the real data, with real fairseq commands."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from layerdrop_plugin.cli.inspect import describe

from .conftest import RECIPES, TOY, TOY_SHAPE, environment, fails, recipe, succeeds

pytestmark = pytest.mark.recipe


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def results_of(page):
    """A page without the section of its times."""
    return page.read_text(encoding="utf-8").split("## Where the time went")[0]


def test_quickstart_leaves_a_report_of_both_readings_of_every_other(world):
    rows = {row["name"]: row for row in read(world / "report.json")["rows"]}
    children = ["child", "child-from-1"]
    assert {name: row["layers"] for name, row in rows.items()} == {"parent": 2, "scratch": 1} | dict.fromkeys(
        children, 1
    )
    for name in children:
        assert rows[name]["parameters"] == rows["scratch"]["parameters"] < rows["parent"]["parameters"]
    for name in ("report.md", "report.png", "latency.json"):
        assert (world / name).stat().st_size > 500
    log = (world / "log").read_text(encoding="utf-8")
    assert [int(n) for n in re.findall(r"^\[(\d)/9\]", log, re.M)] == list(range(1, 10))
    for command in ("fairseq-train", "fairseq-preprocess", "layerdrop prune", "layerdrop evaluate"):
        assert f"+ {command} " in log
    assert len(re.findall(r"^fairseq-validate .*/checkpoint_best\.pt", log, re.M)) == 4  # give the same numbers
    assert "against parent (p)" in (world / "report.md").read_text(encoding="utf-8")
    assert re.search(r"loss=[\d.]+.*num_updates=8", log)  # progress


def test_every_test_sentence_was_counted(world):
    sentences = (world / "data/reviews/text/test.input0").read_text(encoding="utf-8").splitlines()
    counted = {found["name"]: found["examples"] for found in read(world / "evaluated/1/evaluate.json")["results"]}
    assert counted == dict.fromkeys(("parent", "child", "child-from-1", "scratch"), len(sentences))


def test_quickstart_again_does_nothing_and_says_the_same(world, downloads):
    before = {path: path.stat().st_mtime_ns for path in world.rglob("*.pt")}
    report = results_of(world / "report.md")
    log = succeeds("quickstart.sh", "--tiny-slice", "--out", world, "--downloads", downloads)
    assert before == {path: path.stat().st_mtime_ns for path in world.rglob("*.pt")}
    assert (
        log.count("[done before]") == 11
    )  # two folders of data, pre-training, two prunings, four models, evaluation, timing
    assert results_of(world / "report.md").count("|") == report.count("|")
    spent = read(world / "report.json")["times"]
    assert spent["runs"] == 2 and spent["skipped"] >= 11  # the downloads may have been there too
    assert "Together for 2 runs of the recipe" in (world / "report.md").read_text(encoding="utf-8")


def test_the_report_lists_what_commands_took_and_the_recipes_own_share(world):
    spent = read(world / "report.json")["times"]
    assert spent["kinds"].keys() >= {"train", "prune", "evaluate", "latency", "prepare data"}
    assert spent["kinds"]["train"]["commands"] == 5 and spent["kinds"]["prune"]["commands"] == 2
    seconds = sum(kind["seconds"] for kind in spent["kinds"].values())
    assert 0 < spent["own"] < spent["whole"] and seconds + spent["own"] == pytest.approx(spent["whole"])
    page = (world / "report.md").read_text(encoding="utf-8")
    assert re.search(r"^\| the recipe itself +\| +\| +[\d.]+ \| +[\d.]+ % \|", page, re.M)


def test_the_model_works_in_python_without_more_arguments(world):
    program = """
import sys
import layerdrop_plugin
from fairseq.models.roberta import RobertaModel
model = RobertaModel.from_pretrained(sys.argv[1], checkpoint_file="checkpoint_best.pt").eval()
tokens = model.encode("a fine film")
assert tokens[0] == 0 and tokens[-1] == 2 and 3 not in tokens.tolist(), tokens
print(model.predict("sentence_classification_head", tokens).exp().sum().item(), model.extract_features(tokens).shape)
"""
    command = ["python", "-c", program, world / "finetuned/child-1"]
    done = subprocess.run(command, env=environment(), cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.match(r"(1\.0|0\.9999)\d* torch.Size\(\[1, \d+, 32\]\)", done.stdout)


def test_training_goes_on_after_a_kill_even_with_a_checkpoint_cut_short(world, tmp_path):
    out = tmp_path / "pre trained"
    variables = TOY | {"PRETRAIN_UPDATES": "60", "PRETRAIN_SAVE_UPDATES": "10", "LOG_INTERVAL": "5"}
    command = ["bash", RECIPES / "pretrain.sh", "--data", world / "data/speeches", "--out", out, *TOY_SHAPE]
    process = subprocess.Popen(command, env=environment(**variables), stdout=subprocess.DEVNULL, start_new_session=True)
    last, deadline = out / "checkpoint_last.pt", time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert last.exists() and not (out / "done").exists()
    os.truncate(last, last.stat().st_size // 2 if last.stat().st_size else 0)
    (out / "checkpoint_best.pt.tmp").write_bytes(b"half")

    log = succeeds("pretrain.sh", *command[2:], **variables)
    assert "[repair]" in log and not (out / "checkpoint_best.pt.tmp").exists()
    assert describe(last)["updates"] == 60
    assert (out / "train.log").read_text(encoding="utf-8").count("num_updates=5,") == 1  # resumed, not started again

    # Killed after fairseq's last word and before ours: not one update more.
    (out / "done").unlink()
    succeeds("pretrain.sh", *command[2:], **variables)
    assert describe(last)["updates"] == 60 and (out / "done").exists()

    other = recipe("pretrain.sh", *command[2:], **variables | {"PRETRAIN_LR": "5e-4"})
    assert other.returncode == 2
    assert re.fullmatch(r"pretrain.sh: error: .*other settings.*was: --lr 1e-3; now: --lr 5e-4.*\n", other.stderr)
    assert describe(last)["updates"] == 60


def test_two_runs_into_one_folder_are_refused(world, tmp_path):
    variables = TOY | {"PRETRAIN_UPDATES": "1000"}
    command = ["pretrain.sh", "--data", world / "data/speeches", "--out", tmp_path / "out", *TOY_SHAPE]
    process = subprocess.Popen(
        ["bash", RECIPES / command[0], *command[1:]], env=environment(**variables), stdout=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "out/train.log").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "another run is still training" in fails(*command, **variables)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_command_that_fairseq_refuses_leaves_nothing_and_can_be_corrected(world, tmp_path):
    arguments = ["pretrain.sh", "--data", world / "data/speeches", "--out", tmp_path / "out", *TOY_SHAPE]
    assert "unrecognized arguments: --no-such-option" in fails(*arguments, "--no-such-option", **TOY)
    assert list(tmp_path.iterdir()) == []


def test_options_reach_fairseq_and_win_over_the_preset(world, tmp_path):
    common = ["--data", world / "data/reviews", "--out", tmp_path / "out", "--seed", "3"]
    log = succeeds(
        "finetune_nlu.sh", *common, "--from", world / "pretrained/checkpoint_best.pt", "--layers", "last:1",
        "--lr", "2e-3", "--", "--dropout", "0.3", **TOY,
    )  # fmt: skip
    assert re.search(r"--seed 3 .* --lr 2e-3 --dropout 0.3 --save-dir", log)
    assert re.search(r"lr=0\.001[0-9]", log)  # of the schedule that falls from 2e-3
    assert describe(tmp_path / "out/checkpoint_best.pt")["encoder"]["layers"] == 1


@pytest.mark.parametrize("regression", [False, True], ids=["classes", "regression"])
def test_sentence_pairs(world, tmp_path, regression):
    """Pairs of our own: the same film or not; as classes and as numbers. Data, fine-tuning, evaluation."""
    sentences = (world / "data/reviews/text/train.input0").read_text(encoding="utf-8").splitlines()[:60]
    header = "sentence1\tsentence2\t" + ("score" if regression else "label")
    rows = [header]
    for i, sentence in enumerate(sentences):
        same = i % 2
        rows.append(
            f"{sentence}\t{sentences[i if same else i - 1]}\t{same * 2.5 if regression else ['no', 'yes'][same]}"
        )
    (tmp_path / "pairs.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    kind = ["--regression"] if regression else []
    succeeds(
        "data/prepare_nlu.sh", "--tokenizer", "data/speeches", "--out", tmp_path / "data", *kind,
        "--train", tmp_path / "pairs.tsv", "--valid", tmp_path / "pairs.tsv", cwd=world,
    )  # fmt: skip
    succeeds(
        "finetune_nlu.sh", "--data", "data", "--from", world / "pruned/child.pt", "--out", "model", cwd=tmp_path, **TOY
    )
    evaluate = ["--model", "model/checkpoint_best.pt", "--data", "data", "--split", "valid", "--out", "of it"]
    succeeds("evaluate_nlu.sh", *evaluate, cwd=tmp_path)
    (result,) = read(tmp_path / "of it/evaluate.json")["results"]
    assert result["examples"] == 60 and result["name"] == "model"
    assert result["metric"]["name"] == ("pearson" if regression else "accuracy")
    assert (tmp_path / "model/label/dict.txt").exists() == (not regression)


def test_a_pruned_vocabulary_has_its_own_dictionary_beside_it(world, tmp_path):
    """And not the parent's."""
    parent = world / "pretrained"
    (tmp_path / "few.txt").write_text("what a wonderful film\nthe people of the united states\n")
    prune = ("prune.sh", "--from", parent / "checkpoint_best.pt", "--vocab", tmp_path / "few.txt")
    succeeds(*prune, "--out", tmp_path / "out")
    assert "[done before]" in succeeds(*prune, "--out", tmp_path / "out")
    rows = describe(tmp_path / "out" / "child.pt")["vocabulary"]
    symbols = (tmp_path / "out" / "dict.txt").read_text(encoding="utf-8").splitlines()
    assert len(symbols) + 5 == rows < len((parent / "dict.txt").read_text(encoding="utf-8").splitlines())
    (tmp_path / "few.txt").write_text("other text\n")
    assert "other settings" in fails(*prune, "--out", tmp_path / "out")


def test_models_and_data_that_cannot_be_used(world, tmp_path):
    data = world / "data/reviews"
    bad = tmp_path / "bad.pt"
    shutil.copy(world / "pruned/child.pt", bad)
    os.truncate(bad, bad.stat().st_size // 2)
    out = ["--out", tmp_path / "out"]
    parent = world / "pretrained/checkpoint_best.pt"
    assert "--data is required" in fails("finetune_nlu.sh", "--from", parent, *out)
    assert "gone.pt: no such file" in fails("finetune_nlu.sh", "--data", data, "--from", tmp_path / "gone.pt", *out)
    assert "not a whole" in fails("finetune_nlu.sh", "--data", data, "--from", bad, *out)
    assert "not a whole" in fails("finetune_nlu.sh", "--data", data, "--from-scratch-like", bad, *out)
    assert "not a whole" in fails("prune.sh", "--from", bad, *out)
    assert "not a whole" in fails("evaluate_nlu.sh", "--data", data, "--model", bad, *out)
    assert "keep" in fails("prune.sh", "--from", parent, "--layers", "keep:0,9", *out)
    assert "choose tiny, base or large" in fails("pretrain.sh", "--data", data, "--preset", "huge", *out)
    assert {file.name for file in tmp_path.rglob("*")} - {"out"} == {"bad.pt"}


def test_a_parent_with_another_dictionary(world, tmp_path):
    shutil.copytree(world / "data/reviews", tmp_path / "data")
    with open(tmp_path / "data/input0/dict.txt", "a", encoding="utf-8") as file:
        file.write("another 1\n")
    message = fails(
        "finetune_nlu.sh", "--data", tmp_path / "data", "--from", world / "pruned/child.pt", "--out", tmp_path / "out"
    )
    assert "is not the dictionary of" in message and not (tmp_path / "out").exists()
