"""Translation data: what is refused, and text and binary data alike."""

import re

import pytest
import sentencepiece
from fairseq.data import Dictionary, data_utils

from .conftest import fails, succeeds
from .pairs import LANGUAGES, PREPARE, SPLITS, WORDS, lines, sentence, write, write_pair


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """600 pairs in a folder with a space in its name, three of them too long or too unlike; the folder of the files."""
    folder = tmp_path_factory.mktemp("own pairs")
    source, target = write_pair(folder, "my own", range(600))
    long = " ".join(WORDS["en"] * 20)
    write(source, [*lines(source), long, "el " * 9, "  el pan \u2028 es  bueno"])
    write(target, [*lines(target), long, "the", "\tthe bread is good"])
    log = succeeds(PREPARE, *ARGUMENTS, cwd=folder)
    write(folder / "log", log.splitlines())
    return folder


ARGUMENTS = [*LANGUAGES, "--src", "my own.es", "--tgt", "my own.en", "--out", "data sets/es to en", "--valid", "0.1"]
ARGUMENTS += ["--test", "0.2", "--vocab-size", "150", "--limit-test", "40"]


def decoded(data, split, language):
    """The sentences of binarised data."""
    dictionary = Dictionary.load(str(data / f"dict.{language}.txt"))
    model = sentencepiece.SentencePieceProcessor(model_file=str(data / "sentencepiece.bpe.model"))
    dataset = data_utils.load_indexed_dataset(str(data / f"{split}.es-en.{language}"), dictionary)
    assert all(sentence[-1] == dictionary.eos() for sentence in dataset)
    return [model.decode(dictionary.string(sentence).split()) for sentence in dataset]


@pytest.mark.recipe
def test_the_text_is_that_of_the_binarised_data(prepared):
    data = prepared / "data sets/es to en"
    names = {f"{split}.{kind}" for split in SPLITS for kind in (
        "es", "en", "es-en.es.bin", "es-en.es.idx", "es-en.en.bin", "es-en.en.idx",
    )}  # fmt: skip
    names |= {"dict.es.txt", "dict.en.txt", "sentencepiece.bpe.model", "settings.txt", "done"}
    assert {file.name for file in data.iterdir()} == names
    assert (data / "dict.es.txt").read_bytes() == (data / "dict.en.txt").read_bytes()
    seen = []
    for split in SPLITS:
        for language in WORDS:
            assert decoded(data, split, language) == lines(data / f"{split}.{language}")
        pairs = list(zip(lines(data / f"{split}.es"), lines(data / f"{split}.en"), strict=True))
        seen += pairs
    expected = {(sentence("es", i), sentence("en", i)) for i in range(600)} | {("el pan es bueno", "the bread is good")}
    assert set(seen) <= expected and len(seen) == len(set(seen))
    assert ("el pan es bueno", "the bread is good") in seen
    assert len(lines(data / "test.es")) == 40 and 30 <= len(lines(data / "valid.es")) <= 90


@pytest.mark.recipe
def test_pairs_that_do_not_match_are_dropped_and_counted(prepared):
    dropped = re.search(
        r"(\d+) train, (\d+) valid, (\d+) test pairs dropped: .*over 40 pieces", "\n".join(lines(prepared / "log"))
    )
    assert sum(map(int, dropped.groups())) == 2
    kept = [line for split in SPLITS for line in lines(prepared / f"data sets/es to en/{split}.es")]
    assert "el " * 8 + "el" not in kept and max(map(len, kept)) < 60


@pytest.mark.recipe
def test_preparing_again_does_nothing_and_other_settings_are_refused(prepared):
    data = prepared / "data sets/es to en"
    before = (data / "train.es-en.es.bin").stat().st_mtime_ns
    assert "[done before]" in succeeds(PREPARE, *ARGUMENTS, cwd=prepared)
    assert (data / "train.es-en.es.bin").stat().st_mtime_ns == before
    assert re.search(
        r"made with other settings.*was: .*150.*now: .*160",
        fails(PREPARE, *ARGUMENTS, "--vocab-size", 160, cwd=prepared),
    )


@pytest.mark.recipe
def test_splits_of_ones_own(tmp_path):
    """They stay as they are; the tokenizer has seen the training part only."""
    files, expected = [], {"train": range(200), "valid": range(190, 220), "test": range(220, 240)}
    for split, numbers in expected.items():
        source, target = write_pair(tmp_path, split, numbers)
        files += [f"--{split}-src", source, f"--{split}-tgt", target]
    write(tmp_path / "test.en", (sentence("en", i).replace("dog", "żółw") for i in expected["test"]))
    write(tmp_path / "valid.en", ["", *lines(tmp_path / "valid.en")[1:]])
    out = tmp_path / "out"
    log = succeeds(PREPARE, *LANGUAGES, *files, "--out", out, "--vocab-size", 120, "--skip-empty")
    assert re.search(r"1 of 30 pairs of .*valid.es have an empty side: dropped", log)
    assert lines(out / "valid.es") == [sentence("es", i) for i in range(191, 220)]
    assert {split: len(lines(out / f"{split}.en")) for split in SPLITS} == {"train": 200, "valid": 29, "test": 20}
    assert "żółw" in (out / "test.en").read_text(encoding="utf-8")
    assert "ż" not in (out / "dict.en.txt").read_text(encoding="utf-8")


@pytest.mark.recipe
@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        ({"a.en": b"one\ntwo\n"}, r"a.es has 60 lines, .*a.en has 2: line by line"),
        ({"a.en": b"one\n" * 6 + b"  \n" + b"one\n" * 53}, r"a.en, line 7: empty line"),
        ({"a.es": b"caf\xe9\n" * 60}, r"a.es, line 1: byte 0xe9 is not UTF-8.*iconv"),
        ({"a.es": b"", "a.en": b""}, r"a.es: no text in it"),
        ({"a.es": b"one\n" * 60}, r"no pairs are left for (train|valid)"),
        ({"a.groups": b"one\n"}, r"a.es has 60 lines, .*a.groups has 1:"),
        ({"a.groups": b"one\n" * 59 + b"\n"}, r"a.groups, line 60: empty line"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, spoil, expected):
    source, target = write_pair(tmp_path, "a", range(60))
    for name, content in spoil.items():
        (tmp_path / name).write_bytes(content)
    files = ["--src", source, "--tgt", target, *(["--groups", tmp_path / "a.groups"] if "a.groups" in spoil else [])]
    assert re.search(expected, fails(PREPARE, *LANGUAGES, *files, "--out", tmp_path / "new/out", "--valid", "0.2"))
    assert list(tmp_path.glob("new/.*")) + list(tmp_path.glob("new/*")) == []


@pytest.mark.recipe
def test_all_too_long(tmp_path):
    source, target = write_pair(tmp_path, "a", range(60))
    options = ["--src", source, "--tgt", target, "--valid", "0.2", "--test", "0.2", "--vocab-size", 90]
    message = fails(PREPARE, *LANGUAGES, *options, "--out", tmp_path / "out", "--max-tokens-per-sentence", 1)
    assert "no pairs are left for train" in message and "over 1 pieces" in message
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.en", "a.es"]


FILES = ["--src", "a.es", "--tgt", "a.en"]


@pytest.mark.recipe
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--src-lang", "es", "--tgt-lang", "es", *FILES], "--src-lang and --tgt-lang are both es"),
        (["--src-lang", "es-ES", "--tgt-lang", "en", *FILES], "--src-lang es-ES: only letters, digits and _"),
        (["--src-lang", "es", "--tgt-lang", "../en", *FILES], "--tgt-lang ../en: only letters, digits and _"),
        (["--src-lang", "es", *FILES], "--tgt-lang is required"),
        ([*LANGUAGES, "--src", "a.es"], "--src and --tgt go together"),
        ([*LANGUAGES, *FILES, "--train-src", "a.es", "--train-tgt", "a.en"], "--src excludes --train-src"),
        ([*LANGUAGES, "--train-src", "a.es", "--train-tgt", "a.en"], "give --src and --tgt, or"),
        ([*LANGUAGES, "--valid-tgt", "a.en"], "--valid-src and --valid-tgt go together"),
        ([*LANGUAGES, *FILES, "--src", "b.es"], "b.es: no such file"),
        ([*LANGUAGES, *FILES, "--groups", "b"], "b: no such file"),
        ([*LANGUAGES, *FILES, "--limit"], "--limit needs a value"),
        ([*LANGUAGES, *FILES, "--limit", "many"], "--limit many: want a number"),
        ([*LANGUAGES, *FILES, "--limit-test", "0"], "--limit-test 0: want a number"),
        ([*LANGUAGES, *FILES, "--valid", "2"], "--valid 2: want a fraction"),
        ([*LANGUAGES, *FILES, "--vocabsize", "9"], "unknown argument --vocabsize"),
        ([*LANGUAGES, *FILES, "--preset", "huge"], "--preset huge"),
    ],
)
def test_arguments_that_make_no_sense(tmp_path, arguments, expected):
    write_pair(tmp_path, "a", range(60))
    assert expected in fails(PREPARE, "--out", "out", *arguments, cwd=tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.en", "a.es"]
