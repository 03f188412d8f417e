"""GLUE's official files, as its download script leaves them, and the papers' settings for fine-tuning on them.

python glue.py settings TASK   its name, metric, batch and learning rate, then options for fairseq-train, a word a line
python glue.py read TASK GLUE_DIR OUT   GLUE_DIR/TASK/*.tsv to OUT/train.tsv, valid.tsv and, of MNLI's second
                                        development set, test.tsv, in the form that split_tsv.py reads

Quotation marks are text. Left out, and counted, are lines without all columns (QQP has some), without a text, and
without a label that the annotators agreed on ("-").
"""

import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from textfile import fail, is_number, read_lines, tidy, write_splits


class Task(NamedTuple):
    """One of GLUE's tasks.

    Attributes:
        texts, label: names of its columns; of CoLA, which has no header, their numbers from 0.
        labels: the labels that there are; none where they are numbers.
        metric: GLUE's, as `layerdrop evaluate --metric` calls it.
        batch, lr: of RoBERTa's fine-tuning (Liu et al. 2019), whose search LayerDrop's (Fan et al. 2019) repeats.
        columns: how many there are where there is no header.
    """

    texts: tuple
    label: str | int
    labels: tuple[str, ...]
    metric: str = "accuracy"
    batch: int = 32
    lr: str = "1e-5"
    columns: int | None = None


BINARY, ENTAILS = ("0", "1"), ("entailment", "not_entailment")
TASKS = {
    "CoLA": Task((3,), 1, BINARY, "mcc", 16, columns=4),
    "SST-2": Task(("sentence",), "label", BINARY),
    "MRPC": Task(("#1 string", "#2 string"), "quality", BINARY, "acc_and_f1", 16),
    "QQP": Task(("question1", "question2"), "is_duplicate", BINARY, "acc_and_f1"),
    "STS-B": Task(("sentence1", "sentence2"), "score", (), "pearson_and_spearman", 16, "2e-5"),
    "MNLI": Task(("sentence1", "sentence2"), "gold_label", ("contradiction", "entailment", "neutral")),
    "QNLI": Task(("question", "sentence"), "label", ENTAILS),
    "RTE": Task(("sentence1", "sentence2"), "label", ENTAILS, "accuracy", 16, "2e-5"),
}
# What fairseq-train needs to choose the best checkpoint by the metric. (Of regression it takes the one with the least
# loss: the correlations of a model that has learnt nothing are no numbers, and nothing is better than those.)
CHOSEN_BY = {
    "mcc": ["--report-mcc", "--best-checkpoint-metric", "mcc"],
    "acc_and_f1": ["--report-acc-and-f1", "--best-checkpoint-metric", "acc_and_f1"],
}
NO_LABEL = "-"


def named(name):
    """The task's name as its folder is called; exits where there is none of that *name*, in whatever case."""
    found = {task.casefold(): task for task in TASKS}.get(name.casefold())
    return found or fail(f"there is no GLUE task '{name}': it must be one of {', '.join(TASKS)}")


def files_of(name):
    """{split: file name}; MNLI's second development set, of other genres than the training's, is its test split."""
    if name == "MNLI":
        return {"train": "train.tsv", "valid": "dev_matched.tsv", "test": "dev_mismatched.tsv"}
    return {"train": "train.tsv", "valid": "dev.tsv"}


def places(path, header, task):
    """The columns (from 0) of the texts and the label, and how many there are."""
    if task.columns:
        return [*task.texts, task.label], task.columns
    names = [name.strip().casefold() for name in header]
    missing = [name for name in (*task.texts, task.label) if name not in names]
    if missing:
        fail(f"{path}: no column '{missing[0]}' in its header ({', '.join(header)}): is it the official file?")
    return [names.index(name) for name in (*task.texts, task.label)], len(names)


def check_label(path, number, label, task):
    """Exit unless *label* is one of the task's."""
    if task.labels:
        if label not in task.labels:
            fail(f"{path}, line {number}: the label '{label}' is not one of {', '.join(task.labels)}")
        return
    if not is_number(label):
        fail(f"{path}, line {number}: the score '{label}' is not a number")


def read_file(path, task):
    """Return the rows [*texts, label] of an official file, and a Counter of what was left out, by reason."""
    rows, left_out, columns = [], Counter(), None
    for number, line in read_lines(path):
        fields = line.split("\t")
        if columns is None:
            columns, width = places(path, fields, task)
            if not task.columns:
                continue
        if len(fields) != width:
            left_out[f"with other than {width} columns"] += 1
            continue
        *texts, label = (tidy(fields[column]) for column in columns)
        if not all(texts):
            left_out["without a text"] += 1
        elif label in ("", NO_LABEL):
            left_out["without a label"] += 1
        else:
            check_label(path, number, label, task)
            rows.append([*texts, label])
    if not rows:
        fail(f"{path}: no examples in it")
    return rows, left_out


def read(name, folder, out):
    """Write the TSV files of a task's splits into the folder *out*, and say what was left out."""
    task = TASKS[name]
    header = ["sentence", "label"] if len(task.texts) == 1 else ["sentence1", "sentence2", "label"]
    written = {}
    for split, file in files_of(name).items():
        rows, left_out = read_file(Path(folder, name, file), task)
        written[f"{split}.tsv"] = ["\t".join(row) for row in [header, *rows]]
        without = "".join(f"; left out: {count} {reason}" for reason, count in left_out.items())
        print(f"{name}/{file}: {len(rows)} examples{without}")
    write_splits(out, written)


def settings(name):
    """The words that `settings` prints."""
    task = TASKS[name]
    return [name, task.metric, str(task.batch), task.lr, *CHOSEN_BY.get(task.metric, [])]


def main(command, task, *places):
    if command == "read":
        read(named(task), *places)
    else:
        print(*settings(named(task)), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
