"""Translation data: verses without their markup, splits of pairs, what is refused, and text and binary data alike."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import sentencepiece
from fairseq.data import Dictionary, data_utils
from hypothesis import given
from hypothesis import strategies as st

from .conftest import RECIPES, fails, recipe, succeeds

sys.path.insert(0, str(RECIPES / "data"))
from split_parallel import Pair, split_pairs, well_matched, without_repeats
from textfile import chosen
from verses import plain_text

SPLITS = ("train", "valid", "test")
WORDS = {
    "es": ("el", "perro", "grande", "come", "pan", "y", "bebe", "agua", "fría", "mañana"),
    "en": ("the", "dog", "large", "eats", "bread", "and", "drinks", "water", "cold", "tomorrow"),
}
PREPARE = "data/prepare_parallel.sh"
LANGUAGES = ["--src-lang", "es", "--tgt-lang", "en"]


def sentence(language, number):
    """Sentences that correspond: different ones for different numbers."""
    return " ".join(WORDS[language][(number // 10**place) % 10] for place in range(4)) + f" {number}"


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def write(path, content):
    path.write_text("".join(f"{line}\n" for line in content), encoding="utf-8")
    return path


def write_pair(folder, name, numbers):
    """Aligned files NAME.es and NAME.en of the sentences with these numbers."""
    return [write(folder / f"{name}.{language}", (sentence(language, i) for i in numbers)) for language in WORDS]


def split_parallel(out, *arguments):
    """Run `split_parallel.py split` into the folder `out`; returns the CompletedProcess."""
    out.mkdir(exist_ok=True)
    script = [sys.executable, RECIPES / "data" / "split_parallel.py", "split", *LANGUAGES, "--out", out]
    return subprocess.run([*script, *map(str, arguments)], capture_output=True, text=True, check=False)


# ---------------------------------------------------------------- verses


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        # a note between two words, before punctuation, inside quotes
        (
            '<w lemma="x">God</w><note placement="foot"><reference>1:1 </reference>El.</note><w>created</w>',
            "God created",
        ),
        ('<w>Yahweh</w><note type="x">a <rdg>b</rdg></note>, our <w>God</w>', "Yahweh, our God"),
        ("one and only Son<note>or, only born</note>, who is", "one and only Son, who is"),
        ("said,<note>a</note>“Let it be.”<note>b</note>Then", "said, “Let it be.” Then"),
        ("for ever<note>a</note>—<note>b</note>he", "for ever—he"),
        ('<q who="Jesus">“<w>Allow</w> it.”</q><w>Then</w> he', "“Allow it.” Then he"),
        # neighbouring elements are words, one tag inside a word is none
        ("<w>hay allí</w><transChange>también</transChange><w>bdelio</w>", "hay allí también bdelio"),
        ("preguntándo<transChange>le</transChange>, ¿ <w>qué</w> ?", "preguntándole, ¿qué?"),
        # lines of verse, elements that stand for nothing, line ends of ThML
        ('<l sID="1"/>Hear,<l eID="1"/> <l sID="2"/>and live<l eID="2"/><l sID="3"/>well.', "Hear, and live well."),
        ("one<br/>two<br />three <i>four</i> &amp; five", "one two three four & five"),
        # what is said about a verse, and what comes after its chapter, is no part of it
        ('<title type="main">Song</title><speaker>Beloved</speaker> <lg sID="1"/>Let him', "Let him"),
        (
            '<title canonical="true" type="psalm">A Psalm by David.</title><lg sID="1"/>Yahweh',
            "A Psalm by David. Yahweh",
        ),
        ('Amén.  <chapter eID="Rev.22"/><div/> <div type="glossary"/>Abaddon', "Amén."),
        ("<note>nothing else</note>", ""),
        ("one<note/> two<note>a</note>", "one two"),
    ],
)
def test_a_verse_without_its_markup(markup, expected):
    assert plain_text(markup) == expected


@given(st.lists(st.text("abñé", min_size=1), min_size=1), st.sampled_from(["<note>x y</note>", "", " ", "<lb/>"]))
def test_words_of_a_verse_stay_whole_and_apart(words, between):
    assert plain_text(between.join(f'<w lemma="strong:H1">{word}</w>' for word in words)) == " ".join(words)


# ---------------------------------------------------------------- splits

TEXTS = st.sampled_from(["a", "A", "b", "c c", "C c", "d", "e", "f", "g", "h"])
PAIRS = st.lists(st.builds(Pair, TEXTS, TEXTS, TEXTS), max_size=60)


@given(PAIRS, st.randoms())
def test_a_group_is_in_one_split_whatever_else_there_is(pairs, random):
    splits = split_pairs(pairs, 0.3, 0.3)
    assert sorted(sum(splits.values(), [])) == sorted(pairs)
    groups = {split: {pair.group.casefold() for pair in rows} for split, rows in splits.items()}
    assert sum(map(len, groups.values())) == len(set().union(*groups.values()))
    some = random.sample(pairs, len(pairs) // 2)
    for split, rows in split_pairs(some, 0.3, 0.3).items():
        assert set(rows) <= set(splits[split])


@given(PAIRS)
def test_equal_pairs_never_part(pairs):
    parted = split_pairs(pairs, 0.3, 0.3)
    splits = without_repeats(parted)
    texts = {split: {pair.text() for pair in rows} for split, rows in splits.items()}
    assert sum(map(len, texts.values())) == len({pair.text() for pair in pairs})
    assert splits["train"] == parted["train"]


@given(st.lists(st.text()), st.integers(1, 10), st.integers(1, 10))
def test_a_smaller_limit_chooses_from_what_a_larger_one_does(texts, limit, more):
    few, many = chosen(texts, limit), chosen(texts, limit + more)
    assert len(few) == min(limit, len(texts))
    assert list(few) == sorted(few) and set(few) <= set(many)


@given(st.integers(0, 50), st.integers(0, 50))
def test_sides_that_match(source, target):
    fits = well_matched("x" * source, "x" * target, 40)
    assert fits == well_matched("x" * target, "x" * source, 40)
    assert fits == (min(source, target) > 0 and max(source, target) <= min(40, 3 * min(source, target)))


@pytest.mark.recipe
def test_groups_stay_whole_and_do_not_share_pairs(tmp_path):
    source, target = write_pair(tmp_path, "all", [i % 450 for i in range(500)])
    groups = write(tmp_path / "chapters", (f"chapter {i // 10}" for i in range(500)))
    options = ["--src", source, "--tgt", target, "--groups", groups, "--valid", "0.3", "--test", "0.3"]
    done = split_parallel(tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    dropped = int(re.search(r"50 groups; (\d+) pairs are in two splits", done.stdout)[1])
    texts = {split: lines(tmp_path / "out" / f"{split}.es") for split in SPLITS}
    assert dropped > 0 and sum(map(len, texts.values())) == 500 - dropped
    assert sum(len(set(text)) for text in texts.values()) == 450
    chapters = [{int(text.split()[-1]) // 10 for text in texts[split]} for split in SPLITS]
    assert sum(map(len, chapters)) == 45


# ---------------------------------------------------------------- data


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


# ---------------------------------------------------------------- refusals


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


# ---------------------------------------------------------------- packages


@pytest.mark.recipe
def test_a_slice_of_the_verses(tmp_path, downloads):
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("needs apt-get and dpkg-deb")
    options = ["--limit", 500, "--vocab-size", 500, "--max-tokens-per-sentence", 80, "--test", "0.1", "--valid", "0.1"]
    done = recipe("data/verses.sh", "--out", tmp_path / "out", "--downloads", downloads, *options)
    if "could not download" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    assert "31077 verses are in both" in done.stdout or "not the editions" in done.stdout
    size = 0
    for split in SPLITS:
        pairs = list(zip(lines(tmp_path / f"out/{split}.es"), lines(tmp_path / f"out/{split}.en"), strict=True))
        size += len(pairs)
        assert not any(re.search(r"  | [,.;:!?]|[a-z][A-Z]|[,;!?][a-z]|[<>]", text) for pair in pairs for text in pair)
    assert 400 <= size <= 500


@pytest.mark.recipe
def test_packages_that_are_not_there(tmp_path, monkeypatch):
    arguments = ["data/verses.sh", "--out", tmp_path / "out", "--downloads", tmp_path / "downloads"]
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "apt-get").write_text("#!/bin/sh\necho 'W: root' >&2\necho 'E: Unable to locate package' >&2\nexit 100\n")
    (tools / "dpkg-deb").write_text("#!/bin/sh\n")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    message = fails(*arguments)
    assert "could not download sword-text-sparv (Unable to locate package)" in message
    assert "recipes/translate.sh --src FILE --tgt FILE" in message
    assert list((tmp_path / "downloads").iterdir()) == [] and not (tmp_path / "out").exists()


@pytest.mark.recipe
@pytest.mark.parametrize("missing", ["apt-get", "dpkg-deb"])
def test_a_system_without_packages(tmp_path, monkeypatch, missing):
    tools = tmp_path / "tools"
    tools.mkdir()
    for folder in os.environ["PATH"].split(os.pathsep):
        for tool in os.scandir(folder) if os.path.isdir(folder) else ():
            if tool.name != missing and not (tools / tool.name).is_symlink():
                (tools / tool.name).symlink_to(tool.path)
    monkeypatch.setenv("PATH", str(tools))
    message = fails("data/verses.sh", "--out", tmp_path / "out", "--downloads", tmp_path / "downloads")
    assert f"{missing} not found" in message and "recipes/translate.sh --src FILE --tgt FILE" in message
    assert sorted(file.name for file in tmp_path.iterdir()) == ["tools"]


@pytest.mark.recipe
def test_languages_that_the_verses_lack(tmp_path):
    assert "only es and en are there" in fails("data/verses.sh", "--src-lang", "fr", cwd=tmp_path)
