"""The recipes keep the times of their commands: every command once, whatever runs it."""

import subprocess

import pytest

from layerdrop_plugin.reports.times import load

from .conftest import RECIPES


@pytest.fixture
def bash(tmp_path):
    """``bash(script)``: run it after reading common.sh and `keep_times out`; the status."""
    recipe = tmp_path / "it.sh"

    def run(script):
        recipe.write_text(f'source "{RECIPES}/lib/common.sh"\nkeep_times out\n{script}\n')
        return subprocess.run(["bash", recipe], cwd=tmp_path, capture_output=True, check=False).returncode

    return run


def test_commands_and_skipped_steps_are_noted_and_runs_add_up(bash, tmp_path):
    once = "once out/a in -- run cp in out/a\n"
    (tmp_path / "in").touch()
    assert bash(once + "run sleep 0.2\nrun_logged out/log true logged") == 0
    assert bash(once + "run bash -c 'exit 3'") == 3
    lines = [line.split("\t")[2] for line in (tmp_path / "out/times.tsv").read_text().splitlines()]
    assert lines[:3] == ["[start]", "cp in out/a", "sleep 0.2"] and lines[-2:] == [
        "[skipped] out/a",
        "bash -c 'exit 3'",
    ]
    spent = load(tmp_path / "out/times.tsv")
    assert spent.runs == 2 and spent.skipped == 1
    assert 0.2 <= spent.kinds["prepare data"][1] <= spent.whole - spent.own + 1e-6


def test_a_recipe_within_a_recipe_notes_into_the_same_file(bash, tmp_path):
    (tmp_path / "inner.sh").write_text(f'source "{RECIPES}/lib/common.sh"\nkeep_times other\nrun true inner\n')
    assert bash("run touch out/outer\nbash inner.sh") == 0
    assert not (tmp_path / "other").exists()
    text = (tmp_path / "out/times.tsv").read_text()
    assert text.count("[start]") == 1 and "touch out/outer" in text and "true inner" in text


def test_a_run_that_made_nothing_leaves_no_times(bash, tmp_path):
    assert bash("run false") == 1
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["it.sh"]
