"""LibreOffice's help: the text of its pages, pairs by ids, near-repeats in one split, and where it is from."""

import re
import shutil
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .conftest import RECIPES, fails
from .pairs import SPLITS, lines, small_slice

sys.path.insert(0, str(RECIPES / "data"))
import libreoffice
from textfile import split_of


def page(*elements):
    return f"<html><body><header><p>Help</p></header><div>{''.join(elements)}</div></body></html>"


def package(folder, language, files):
    """An unpacked package libreoffice-help-…, with pages by their names."""
    text = folder / f"usr/share/libreoffice/help/{language}/text"
    for name, content in files.items():
        (text / name).parent.mkdir(parents=True, exist_ok=True)
        (text / name).write_text(content, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        (
            '<p id="par_id1" class="paragraph" dir="auto">Opens a <span class="emph">new</span>&nbsp;file.</p>',
            "Opens a new file.",
        ),
        ('<h2 id="hd_id1" dir="auto">Saving &amp; closing</h2>', "Saving & closing"),
        # a break and a picture stand between words, marks inside a word do not
        (
            '<p class="x" id="par_id1">one<br>two<img src="a.png" alt="picture">three f<b>ou</b>r</p>',
            "one two three four",
        ),
        # of what differs between systems only the default is visible
        (
            '<p id="par_id1">Press <span id="swlnsys" class="switchinline"><span hidden="true" id="MAC_1" class="MAC">'
            '<span class="keycode">Command</span></span><span hidden="true" id="default_1"><span>Ctrl</span></span>'
            "</span>+F.</p>",
            "Press Ctrl+F.",
        ),
        ('<p id="par_id1" class="code">Print 1</p>', None),
        ('<p id="par_id1" class="smathcode">a over b</p>', None),
        ('<p id="bm_module">Writer</p>', None),
        ("<p>no id</p>", None),
    ],
)
def test_a_paragraph_of_a_page(element, expected):
    found = libreoffice.paragraphs(page(element))
    assert found == ({} if expected is None else {re.search(r'id="((?:par|hd)_id1)"', element)[1]: expected})


@given(st.lists(st.text("abäß", min_size=1), min_size=1), st.sampled_from(["<br>", "</i><i>", "<img src='x'>", " \n "]))
def test_words_stay_whole_and_apart(words, between):
    markup = f'<p id="par_id1"><i>{between.join(words)}</i></p>'
    expected = ("" if between == "</i><i>" else " ").join(words)
    assert libreoffice.paragraphs(page(markup)) == {"par_id1": expected}


def test_the_first_of_two_paragraphs_with_one_id_counts():
    assert libreoffice.paragraphs(page('<p id="par_id1">one</p>', '<p id="par_id1">two</p>')) == {"par_id1": "one"}


@given(st.text("abC", min_size=1), st.text("0123456789.,-–() _"), st.booleans())
def test_near_repeats_differ_in_digits_case_and_punctuation_only(word, noise, upper):
    text = f"see {word} here"
    other = f"See {noise} {word.upper() if upper else word} {noise}here{noise}"
    assert libreoffice.similar(text) == libreoffice.similar(other) == f"see {word.casefold()} here"
    assert libreoffice.similar(text) != libreoffice.similar(f"{text} too")


def paragraph(number, text):
    return f'<p id="par_id{number}">{text}</p>'


def test_pairs_are_found_by_file_and_id_and_counted(tmp_path, capsys, monkeypatch):
    english = package(tmp_path / "libreoffice-help-en-us", "en-US", {
        "a/1.html": page(paragraph(1, "Saves the file."), paragraph(2, "Too short"), paragraph(3, "Base, Calc, Draw")),
        "a/2.html": page(paragraph(1, "Saves the file."), paragraph(4, "Row 1 is it."), paragraph(5, "Row 2 is it!")),
        "b.html": page(paragraph(1, "There is no such page.")),
    })  # fmt: skip
    other = package(tmp_path / "libreoffice-help-xx", "xx", {
        "a/1.html": page(paragraph(1, "Speichert sie."), paragraph(2, "Kurz"), paragraph(3, "Base, Calc, Draw")),
        "a/2.html": page(paragraph(1, "Speichert sie."), *(paragraph(n, f"Zeile {n - 3}") for n in (4, 5, 9))),
    })  # fmt: skip
    for name in ("libreoffice-help-en-us", "libreoffice-help-xx"):
        (tmp_path / f"{name}_1.2_all.deb").write_bytes(name.encode())
        doc = tmp_path / name / "usr/share/doc" / name
        doc.mkdir(parents=True)
        (doc / "copyright").write_text("License: MPL-2.0\n")
    out = tmp_path / "out"
    out.mkdir()
    arguments = [str(english), str(other), "--language", "xx", "--downloads", str(tmp_path), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["libreoffice.py", *arguments])
    libreoffice.main()
    assert lines(out / "help.en") == ["Saves the file.", "Row 1 is it.", "Row 2 is it!"]
    assert lines(out / "help.xx") == ["Speichert sie.", "Zeile 1", "Zeile 2"]
    assert lines(out / "groups") == ["saves the file", "row is it", "row is it"]
    about = "\n".join(lines(out / "ABOUT"))
    assert "Mozilla Public License" in about and "License: MPL-2.0" in about
    assert len(re.findall(r"libreoffice-help-\S+_1.2_all.deb, sha256 [0-9a-f]{64}", about)) == 2
    printed = capsys.readouterr().out
    assert "3 distinct pairs" in printed and "1 not translated, 1 of another length, 1 repeated" in printed


def test_folders_that_are_no_packages(tmp_path):
    with pytest.raises(SystemExit, match="help in 0 languages"):
        libreoffice.pages(tmp_path)
    one, two = (package(tmp_path / name, name, {"a.html": page()}) for name in ("xx", "yy"))
    shutil.copytree(two / "usr", one / "usr", dirs_exist_ok=True)
    with pytest.raises(SystemExit, match="help in 2 languages"):
        libreoffice.pages(one)


@pytest.mark.recipe
def test_a_slice_of_the_help(tmp_path, downloads):
    done = small_slice("data/libreoffice.sh", tmp_path / "out", downloads)
    assert int(re.search(r"(\d+) distinct pairs", done.stdout)[1]) > 20_000
    assert "sha256" in (tmp_path / "out/ABOUT").read_text(encoding="utf-8")
    groups = {}
    for split in SPLITS:
        pairs = list(zip(lines(tmp_path / f"out/{split}.en"), lines(tmp_path / f"out/{split}.de"), strict=True))
        assert not any(re.search(r"  |<[a-z]|&[a-z]+;", text) for pair in pairs for text in pair)
        for english, _ in pairs:
            assert groups.setdefault(libreoffice.similar(english), split) == split
            assert split_of(libreoffice.similar(english), 0.1, 0.1) == split
    assert len(groups) > 350


@pytest.mark.recipe
def test_languages_that_the_packages_lack(tmp_path):
    for options in (["--tgt-lang", "xx"], ["--src-lang", "de", "--tgt-lang", "fr"], ["--src-lang", "de"]):
        assert "LibreOffice's help is English and one of ca cs da" in fails(
            "data/libreoffice.sh", *options, cwd=tmp_path
        )
    assert "en to xx: LibreOffice's help" in fails("translate.sh", "--pair", "xx", cwd=tmp_path)
    assert "--pair excludes --src-lang" in fails(
        "translate.sh", "--pair", "fr", "--src-lang", "en", "--tgt-lang", "de", cwd=tmp_path
    )
    assert list(tmp_path.iterdir()) == []
