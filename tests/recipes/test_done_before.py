"""The one way to say "done before": a file or a folder is made once from the same inputs with the same settings."""

import subprocess

import pytest

from .conftest import RECIPES


@pytest.fixture
def bash(tmp_path):
    """``bash(script)``: what the script prints after reading common.sh, or its status and its line on stderr."""
    recipe = tmp_path / "it.sh"

    def run(script):
        recipe.write_text(f'source "{RECIPES}/lib/common.sh"\n{script}\n')
        done = subprocess.run(["bash", recipe], cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else (done.returncode, done.stderr)

    return run


MAKE = 'make() { printf "made %s\\n" "$*"; cat in "x y" >out/it.json; }\n'


def test_a_file_is_made_again_for_other_inputs_or_words_only(bash, tmp_path):
    once = 'once out/it.json in "x y" -- make '
    (tmp_path / "in").write_text("1")
    (tmp_path / "x y").write_text("2")
    assert bash(MAKE + once + "a 'b c'") == "made a b c\n"
    assert bash(MAKE + once + "a 'b c'") == "[done before] out/it.json\n"
    assert bash(MAKE + once + "a b c") == "made a b c\n"
    (tmp_path / "x y").write_text("3")
    assert bash(MAKE + once + "a b c") == "made a b c\n"
    assert (tmp_path / "out/it.json").read_text() == "13"
    (tmp_path / "out/it.json").unlink()
    assert bash(MAKE + once + "a b c") == "made a b c\n"


def test_a_command_that_fails_leaves_no_older_result(bash, tmp_path):
    (tmp_path / "in").write_text("1")
    (tmp_path / "x y").write_text("2")
    assert bash(MAKE + 'once out/it.json in "x y" -- make')
    assert bash("no() { false; }\nonce out/it.json in -- no") == (1, "")
    assert list((tmp_path / "out").iterdir()) == []


FOLDER = 'S=$(settings data --lr {lr} --seed 1)\nif already out "$S"; then exit 0; fi\n'


def test_a_folder_that_is_finished_is_not_made_again_and_other_settings_are_refused(bash, tmp_path):
    build = FOLDER + 'build_in out\ntouch "$PARTIAL/file"\nfinished "$S"\nsay built'
    assert bash(build.format(lr=1)) == "built\n"
    assert bash(build.format(lr=1)) == "[done before] out\n"
    status, message = bash(build.format(lr=2))
    assert status == 2 and "out was made with other settings" in message and "(was: --lr 1; now: --lr 2)" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it.sh", "out"]


def test_a_folder_that_was_not_finished_is_built_anew_and_nothing_stays_of_a_failure(bash, tmp_path):
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial/half").touch()
    assert bash(FOLDER.format(lr=1) + "build_in out\nfalse") == (1, "")
    assert [path.name for path in tmp_path.iterdir()] == ["it.sh"]


def test_a_folder_of_somebody_elses_is_refused(bash, tmp_path):
    (tmp_path / "out").mkdir()
    assert bash(FOLDER.format(lr=1) + 'build_in out\nfinished "$S"') == ""  # an empty one is as good as none
    (tmp_path / "out/settings.txt").unlink()
    status, message = bash(FOLDER.format(lr=1) + "build_in out")
    assert status == 2 and "out exists and is not a finished result of it.sh" in message


def test_a_training_that_has_saved_something_is_kept_from_other_settings(bash, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/settings.txt").write_text("data\n--lr 1\n--seed 1\n")
    assert bash(FOLDER.format(lr=2) + "say goes on") == "goes on\n"
    (tmp_path / "out/checkpoint_last.pt").touch()
    assert bash(FOLDER.format(lr=1) + "say goes on") == "goes on\n"
    assert bash(FOLDER.format(lr=2) + "say goes on")[0] == 2
