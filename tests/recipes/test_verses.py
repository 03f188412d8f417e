"""Verses without their markup, and the packages that they come in."""

import hashlib
import os
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .conftest import RECIPES, fails
from .pairs import SPLITS, lines, small_slice

sys.path.insert(0, str(RECIPES / "data"))
import download
from download import fetch
from verses import plain_text


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


@pytest.mark.recipe
def test_a_slice_of_the_verses(tmp_path, downloads):
    done = small_slice("data/verses.sh", tmp_path / "out", downloads)
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


# ---------------------------------------------------------------- downloads


@pytest.mark.parametrize(
    ("there", "newest"),
    [(["a_1.9_all.deb", "a_1.10_all.deb", "b_2_all.deb"], "a_1.10_all.deb"), (["a_2.deb"], "a_2.deb")],
)
def test_what_was_fetched_before_is_taken_the_newest_version(tmp_path, capsys, there, newest):
    for name in there:
        (tmp_path / name).touch()
    assert fetch(tmp_path, "a_*.deb", ["false"], "").name == newest
    assert capsys.readouterr().out == f"[have] {tmp_path / newest}\n"


def test_a_file_comes_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "down loads"
    make = ["sh", "-c", "echo half >a_1.deb; exit {status}"]
    with pytest.raises(SystemExit, match=r"could not download a \(no such file came\).*do it yourself"):
        fetch(folder, "a_*.deb", [*make[:2], make[2].format(status=1)], "do it yourself")
    assert list(folder.iterdir()) == []
    assert fetch(folder, "a_*.deb", [*make[:2], make[2].format(status=0)], "").read_text() == "half\n"
    assert [path.name for path in folder.iterdir()] == ["a_1.deb"]


def test_a_file_with_another_checksum_is_fetched_again_and_not_kept(tmp_path, monkeypatch):
    wanted = hashlib.sha256(b"right\n").hexdigest()
    (tmp_path / "a.whl").write_text("older")
    monkeypatch.setattr(download, "PIP", ["sh", "-c", "echo $0 >a.whl"])
    with pytest.raises(SystemExit, match="the checksum of the download is not .*; it was not kept"):
        download.pypi(tmp_path, "a.whl", wanted, "wrong")
    assert list(tmp_path.iterdir()) == []
    download.pypi(tmp_path, "a.whl", wanted, "right")
    monkeypatch.setattr(download, "PIP", ["false"])
    download.pypi(tmp_path, "a.whl", wanted)  # it is there
    assert (tmp_path / "a.whl").read_text() == "right\n"
