"""The recipes' option parser: what a comment declares is what is read, and everything else is refused."""

import re
import subprocess

import pytest

from .conftest import RECIPES

COMMENT = """\
#!/usr/bin/env bash
# An example.
#
#   bash recipes/example.sh --data DIR [--out DIR]
#
#   --data DIR      what there is
#                   to read (required)
#   --out PATH      what to write [default: made of]
#   --src-lang, --tgt-lang LANG   names
#   --heads FILE:RATE   not checked
#   --limit N       how many
#   --valid F       a share [default: 0.1]
#   --seed SEED     [default: 1]
#   --preset NAME   [env: PRESET] [default: tiny]
#   --lowercase     ignore case (default: in other words)
{others}#
#   --not-declared  after a blank line it would be, if it stood among the options
"""
NAMES = ("DATA", "OUT", "SRC_LANG", "TGT_LANG", "HEADS", "LIMIT", "VALID", "SEED", "PRESET", "LOWERCASE")
OTHERS = "#   --*             go elsewhere unchanged\n"
WORDS = "#   FILE...         text\n"


@pytest.fixture
def example(tmp_path):
    """``example(*arguments, others="", **variables)``: the options' values by name, or the error, one line."""
    script = tmp_path / "exam ple.sh"
    printed = "; ".join(f"printf '%s\\0' {name} \"${name}\"" for name in NAMES)

    def run(*arguments, others="", text=COMMENT, **variables):
        source = f'\nsource "{RECIPES}/lib/common.sh"\noptions "$@"\n{printed}\nprintf "%s\\0" "${{OTHERS[@]}}"\n'
        script.write_text(text.replace("{others}", others).replace("#   --not-declared", "# --not-declared") + source)
        command = ["bash", script, *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin"} | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            assert done.stderr.count("\n") == 1 and done.stderr.startswith("exam ple.sh: error: "), done.stderr
            return done.returncode, done.stderr.removeprefix("exam ple.sh: error: ").strip()
        words = done.stdout.split("\0")[:-1]
        found = dict(zip(words[: 2 * len(NAMES) : 2], words[1 : 2 * len(NAMES) : 2], strict=True))
        return found, [word for word in words[2 * len(NAMES) :] if word]

    return run


def test_options_have_their_values_or_defaults(example, tmp_path):
    found, others = example("--data", ".", "--lowercase", "--src-lang=es", "--limit", 3, "--limit", 5)
    assert found == {
        "DATA": f"{tmp_path}/.", "OUT": f"{tmp_path}/made of", "SRC_LANG": "es", "TGT_LANG": "", "HEADS": "",
        "LIMIT": "5", "VALID": "0.1", "SEED": "1", "PRESET": "tiny", "LOWERCASE": "yes",
    }  # fmt: skip
    assert others == []


def test_a_variable_of_the_environment_sets_only_what_says_so(example):
    found, _ = example("--data", "/", PRESET="base", SEED="7", LIMIT="8")
    assert (found["PRESET"], found["SEED"], found["LIMIT"]) == ("base", "1", "")
    assert example("--data", "/", "--preset", "wmt", PRESET="base")[0]["PRESET"] == "wmt"


def test_values_are_taken_as_they_are(example):
    strange = "a $(touch x) `b` * \\n 'c' \"d\" %s"
    assert example("--data", ".", "--heads", strange)[0]["HEADS"] == strange
    assert example("--data", ".", "--heads=--x=y")[0]["HEADS"] == "--x=y"
    assert example("--data", ".", "--heads", "-1")[0]["HEADS"] == "-1"


def test_other_options_pass_unchanged(example):
    passed = ["--lr", "2e-3", "--adam-betas", "(0.9, 0.98)", "word", "--clip=1"]
    found, others = example("--data", ".", *passed, "--limit", 2, others=OTHERS)
    assert others == passed and found["LIMIT"] == "2"
    found, others = example("--data", ".", "--", "--limit", 2, "--help", "--", others=OTHERS)
    assert others == ["--limit", "2", "--help", "--"] and found["LIMIT"] == ""


def test_words_pass_where_files_are_declared(example):
    assert example("a b", "--data", ".", "c", "--", "-d", others=WORDS)[1] == ["a b", "c", "-d"]
    assert example("--data", ".", "--no-such", others=WORDS) == (2, "unknown argument --no-such (see --help)")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--data is required (see --help)"),
        (["--data"], "--data needs a value (see --help)"),
        (["--data", ""], "--data needs a value (see --help)"),
        (["--data="], "--data needs a value (see --help)"),
        (["--data", "--out", "x"], "--data needs a value (see --help)"),
        (["--lowercase=yes"], "--lowercase takes no value (see --help)"),
        (["--dat", "."], "unknown argument --dat (see --help)"),
        (["word"], "unknown argument word (see --help)"),
        (["@"], "unknown argument @ (see --help)"),
        (["--"], "unknown argument -- (see --help)"),
        (["--*"], "unknown argument --* (see --help)"),
        (["--not-declared"], "unknown argument --not-declared (see --help)"),
        (["--limit", "0"], "--limit 0: want a number from 1"),
        (["--seed", "01"], "--seed 01: want a whole number"),
        (["--valid", "2"], "--valid 2: want a fraction like 0.02"),
        (["--src-lang", "a-b"], "--src-lang a-b: only letters, digits and _ will do"),
    ],
)
def test_what_makes_no_sense_is_refused_with_status_2(example, arguments, expected):
    assert example(*arguments) == (2, expected)


def test_a_folder_that_is_not_there(example, tmp_path):
    assert example("--data", "gone") == (1, f"{tmp_path}/gone: no such folder")


def test_a_comment_that_declares_nothing_readable_is_refused(example):
    text = COMMENT.replace("--limit N  ", "--limit n  ")
    assert example("--data", ".", text=text)[1] == "this line declares no option: #   --limit n       how many"


RECIPE_FILES = sorted([*RECIPES.glob("*.sh"), *RECIPES.glob("data/*.sh")])


@pytest.mark.parametrize("path", RECIPE_FILES, ids=lambda path: path.stem)
def test_help_is_the_comment_and_documents_each_option_once(path, tmp_path):
    done = subprocess.run(["bash", path, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    head = path.read_text(encoding="utf-8").split("\n\n")[0].splitlines()[1:]
    assert done.stdout.splitlines() == [line[2:] for line in head]
    script = path.relative_to(RECIPES)
    assert f"bash recipes/{script} " in done.stdout and re.search("--out| OUT ", done.stdout)
    declared = [name for line in re.findall(r"^  (--\S+(?:, --\S+)*)", done.stdout, re.M) for name in line.split(", ")]
    assert len(declared) == len(set(declared)) > 1
