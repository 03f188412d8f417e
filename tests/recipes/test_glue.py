"""GLUE: its official files in their own formats, on a small scale; models that are trained on with LayerDrop."""

import json
import sys

import pytest

from .conftest import RECIPES, TOY, fails, succeeds

sys.path.insert(0, str(RECIPES / "data"))
import glue
import split_tsv

MNLI = "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse"
HEADERS = {
    "CoLA": None,
    "SST-2": "sentence label",
    "MRPC": "Quality,#1 ID,#2 ID,#1 String,#2 String",
    "QQP": "id qid1 qid2 question1 question2 is_duplicate",
    "STS-B": "index genre filename year old_index source1 source2 sentence1 sentence2 score",
    "MNLI": f"{MNLI} sentence1 sentence2 label1 gold_label",
    "QNLI": "index question sentence label",
    "RTE": "index sentence1 sentence2 label",
}
LABELS = {"STS-B": ("0.0", "3.8"), "MNLI": ("neutral", "entailment")}
LABELS |= dict.fromkeys(("QNLI", "RTE"), ("entailment", "not_entailment"))


def official(name, texts, label):
    """A line of a task's official file, and of a development set of MNLI's with its further labels."""
    if name == "CoLA":
        return "\t".join(["gj04", label, "*" if label == "0" else "", *texts])
    header = HEADERS[name].split("," if "," in HEADERS[name] else " ")
    filled = dict.fromkeys(header, "7") | dict(zip(glue.TASKS[name].texts, texts, strict=True))
    filled = {column.casefold(): value for column, value in filled.items()} | {glue.TASKS[name].label: label}
    return "\t".join(filled[column.casefold()] for column in header)


def text(name, number, word="word"):
    return [f"{word} {number} {side}" for side in range(len(glue.TASKS[name].texts))]


def write(folder, name, more=(), count=4):
    """Official files of *name* with *count* examples each; *more* lines are added to train.tsv. Returns *folder*."""
    (folder / name).mkdir(parents=True)
    header = [] if HEADERS[name] is None else ["\t".join(HEADERS[name].split("," if "," in HEADERS[name] else " "))]
    labels = LABELS.get(name, ("0", "1"))
    for split, file in glue.files_of(name).items():
        lines = [official(name, text(name, n, split), labels[n % 2]) for n in range(count)]
        lines = [*header, *lines, *(more if split == "train" else [])]
        content = "".join(f"{line}\r\n" if name == "MRPC" else f"{line}\n" for line in lines)
        (folder / name / file).write_text(content, encoding="utf-8-sig" if name == "MRPC" else "utf-8", newline="")
    return folder


@pytest.mark.parametrize("name", glue.TASKS)
def test_the_official_files_become_tables_that_are_prepared_as_they_are(name, tmp_path):
    write(tmp_path / "glue", name)
    (tmp_path / "out").mkdir()
    glue.main("read", name.lower(), tmp_path / "glue", tmp_path / "out")
    splits = glue.files_of(name)
    assert {path.stem for path in (tmp_path / "out").iterdir()} == set(splits)
    for split in splits:
        rows = split_tsv.read_table(tmp_path / "out" / f"{split}.tsv", None, True)
        labels = LABELS.get(name, ("0", "1"))
        assert [row[1:] for row in rows] == [(text(name, n, split), labels[n % 2]) for n in range(4)]
    assert ("test" in splits) == (name == "MNLI")


def test_quotation_marks_are_text_and_broken_lines_are_left_out_and_counted(tmp_path, capsys):
    """As QQP's: a question that begins with a mark which is never closed, lines cut short, an empty question."""
    lines = ['9\t1\t2\t"Why" is it?\tSay "why\t1', "10\t1\t2\tcut short", "11\t1\t2\t\tempty\t0", "12\t1\t2\ta\tb\t"]
    write(tmp_path, "QQP", lines)
    rows, left_out = glue.read_file(tmp_path / "QQP" / "train.tsv", glue.TASKS["QQP"])
    assert rows[-1] == ['"Why" is it?', 'Say "why', "1"]
    assert len(rows) == 5
    assert left_out == {"with other than 6 columns": 1, "without a text": 1, "without a label": 1}
    glue.main("read", "QQP", tmp_path, tmp_path)
    said = capsys.readouterr().out.splitlines()[0]
    assert said.startswith(
        "QQP/train.tsv: 5 examples; left out: 1 with other than 6 columns; left out: 1 without a text"
    )


def test_examples_without_an_agreed_label_are_left_out(tmp_path):
    write(tmp_path, "MNLI", [official("MNLI", ["a", "b"], "-")])
    rows, left_out = glue.read_file(tmp_path / "MNLI" / "train.tsv", glue.TASKS["MNLI"])
    assert (len(rows), left_out) == (4, {"without a label": 1})


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        (
            "RTE",
            official("RTE", ["a", "b"], "entails"),
            "line 6: the label 'entails' is not one of entailment",
        ),
        ("STS-B", official("STS-B", ["a", "b"], "much"), "line 6: the score 'much' is not a number"),
        ("CoLA", official("CoLA", ["a"], "2"), "line 5: the label '2' is not one of 0, 1"),
    ],
)
def test_a_label_that_the_task_does_not_have_is_refused_with_its_line(name, line, message, tmp_path):
    write(tmp_path, name, [line])
    with pytest.raises(SystemExit, match=message):
        glue.main("read", name, tmp_path, tmp_path)
    assert not list(tmp_path.glob("*.tsv"))


def test_what_is_no_official_file_is_refused(tmp_path):
    (tmp_path / "SST-2").mkdir()
    (tmp_path / "SST-2" / "train.tsv").write_text("index\tsentence\n0\tunlabelled\n")
    with pytest.raises(SystemExit, match="no column 'label' in its header"):
        glue.main("read", "SST-2", tmp_path, tmp_path)
    with pytest.raises(SystemExit, match="RTE/train.tsv: No such file"):
        glue.main("read", "RTE", tmp_path, tmp_path)
    with pytest.raises(SystemExit, match="there is no GLUE task 'SST2': it must be one of CoLA, SST-2, MRPC"):
        glue.main("read", "SST2", tmp_path, tmp_path)
    (tmp_path / "CoLA").mkdir()
    (tmp_path / "CoLA" / "train.tsv").write_text("one,two,three,four\n")
    with pytest.raises(SystemExit, match="no examples in it"):
        glue.main("read", "CoLA", tmp_path, tmp_path)


def test_each_task_has_glues_metric_and_the_papers_settings():
    assert {name: glue.settings(name)[1:4] for name in glue.TASKS} == {
        "CoLA": ["mcc", "16", "1e-5"],
        "SST-2": ["accuracy", "32", "1e-5"],
        "MRPC": ["acc_and_f1", "16", "1e-5"],
        "QQP": ["acc_and_f1", "32", "1e-5"],
        "STS-B": ["pearson_and_spearman", "16", "2e-5"],
        "MNLI": ["accuracy", "32", "1e-5"],
        "QNLI": ["accuracy", "32", "1e-5"],
        "RTE": ["accuracy", "16", "2e-5"],
    }
    assert glue.settings("CoLA")[4:] == ["--report-mcc", "--best-checkpoint-metric", "mcc"]


@pytest.mark.recipe
def test_mnli_is_measured_on_both_development_sets_after_training_with_the_papers_settings(world, tmp_path):
    """And with LayerDrop, if that is asked for; run again it does nothing."""
    write(tmp_path / "glue", "MNLI", [official("MNLI", ["a", "b"], "-")], count=20)
    arguments = ["glue.sh", "mnli", "glue", world / "pretrained", "a b/out", "--layerdrop", "0.2"]
    log = succeeds(*arguments, cwd=tmp_path, **TOY)
    assert "MNLI/train.tsv: 20 examples; left out: 1 without a label" in log
    for folder, split in (("evaluated", "valid"), ("evaluated-mismatched", "test")):
        record = json.loads((tmp_path / "a b/out" / folder / "evaluate.json").read_text(encoding="utf-8"))
        (result,) = record["results"]
        assert (result["split"], result["examples"], result["metric"]["name"]) == (split, 20, "accuracy")
    settings = (tmp_path / "a b/out/finetuned/settings.txt").read_text(encoding="utf-8").splitlines()
    for setting in ("--encoder-layerdrop 0.2", "--lr 1e-5", "--clip-norm 0.0", "--batch of an update: 32"):
        assert setting in settings
    assert succeeds(*arguments, cwd=tmp_path, **TOY).count("[done before]") == 5


@pytest.mark.recipe
def test_a_bad_file_leaves_nothing(world, tmp_path):
    write(tmp_path / "glue", "CoLA", [official("CoLA", ["a"], "2")])
    assert "line 5: the label '2'" in fails("glue.sh", "CoLA", "glue", world / "pretrained", "out", cwd=tmp_path, **TOY)
    assert not (tmp_path / "out").exists()
    assert "no such file" in fails("glue.sh", "RTE", "glue", world / "pretrained", "out", cwd=tmp_path)
    assert "are required" in fails("glue.sh", "RTE", "glue", cwd=tmp_path)


@pytest.mark.recipe
def test_pretraining_goes_on_from_a_model_on_text_of_its_tokenizer(world, tmp_path):
    """With LayerDrop, and in its shape; another dictionary is refused."""
    (tmp_path / "own.txt").write_text(
        "".join(f"the state of number {n} is good\n" for n in range(90)), encoding="utf-8"
    )
    given = ["data/prepare_text.sh", "--out", "own", "--valid", "0.1"]
    succeeds(*given, "--tokenizer", world / "pretrained", "own.txt", cwd=tmp_path)
    assert (tmp_path / "own/dict.txt").read_bytes() == (world / "pretrained/dict.txt").read_bytes()
    assert "excludes --vocab-size" in fails(*given, "--tokenizer", "own", "--vocab-size", "50", "own.txt", cwd=tmp_path)
    model = world / "pretrained/checkpoint_best.pt"
    succeeds("pretrain.sh", "--data", "own", "--from", model, "--out", "more", cwd=tmp_path, **TOY)
    settings = (tmp_path / "more/settings.txt").read_text(encoding="utf-8").splitlines()
    assert {"--task pruning_masked_lm", "--encoder-layerdrop 0.2", "--lr 2e-4"} <= set(settings)
    with (tmp_path / "own/dict.txt").open("a", encoding="utf-8") as dictionary:
        dictionary.write("new 1\n")
    refused = fails("pretrain.sh", "--data", "own", "--from", model, "--out", "other", cwd=tmp_path, **TOY)
    assert "is not the dictionary of" in refused
