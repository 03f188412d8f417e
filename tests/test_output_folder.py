"""Folders that one process at a time writes into, and folders that appear whole."""

import errno
import fcntl
import multiprocessing
import os
import re

import pytest

from layerdrop_plugin.cli.main import main
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.output_folder import held, whole


def test_it_is_made_held_and_left_without_a_trace(tmp_path):
    out = tmp_path / "made" / "deep"
    with held(out, "curve"):
        refused = pytest.raises(LayerdropError, match=f"^the folder {re.escape(str(out))} is in use: .* writing curve")
        with refused, held(out, "curve"):
            raise AssertionError
        with held(out, "ablation"):  # other files
            (out / "ablation.json").touch()
    assert [path.name for path in out.iterdir()] == ["ablation.json"]


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), held(tmp_path / "made" / "deep", "curve"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path, "curve"):
        pass
    assert tmp_path.exists()  # it was there before


def test_what_a_killed_process_leaves_behind_holds_nothing(tmp_path):
    (tmp_path / ".curve.lock").touch()
    with held(tmp_path, "curve"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_a_folder_is_one_line(tmp_path):
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "link").symlink_to("nothing")
    for out, match in (
        (file, "is a file: name a folder"),
        (file / "curve", "cannot make the folder"),
        (tmp_path / "link", "a link to nothing"),
    ):
        with pytest.raises(LayerdropError, match=match) as caught, held(out, "curve"):
            raise AssertionError
        assert "\n" not in str(caught.value)


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, capsys):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with held(tmp_path / "out", "curve"):
        pass
    assert "has no locks (No locks available): do not write curve" in capsys.readouterr().err


def test_a_lock_on_a_file_that_was_just_removed_does_not_count(tmp_path, monkeypatch):
    path, flock, calls = tmp_path / ".curve.lock", fcntl.flock, []

    def late(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            path.unlink()  # by the process that held it, between our opening and our locking
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", late)
    with held(tmp_path, "curve"):
        assert path.exists() and len(calls) == 2


def _hold_often(out, inside, entries):
    for _ in range(200):
        try:
            with held(out, "curve"):
                os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # fails if another process is in the block, too
                os.unlink(inside)
                entries.value += 1
        except LayerdropError as error:
            assert "is in use" in str(error)


def test_the_removal_of_the_lock_lets_no_two_in(tmp_path):
    context = multiprocessing.get_context("fork")
    counts = [context.Value("i", 0) for _ in range(4)]
    arguments = [(tmp_path / "out", tmp_path / "inside", count) for count in counts]
    processes = [context.Process(target=_hold_often, args=each) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert sum(count.value for count in counts) > 0
    assert not list(tmp_path.rglob("*.lock"))


@pytest.mark.parametrize("command", ["importance", "latency"])
def test_two_commands_do_not_write_one_file(tmp_path, command):
    """`--out FILE` is held like a folder, before the checkpoint is read."""
    arguments = [command, tmp_path, "--path", tmp_path / "none.pt", "--out", tmp_path / "found.json"]
    with held(tmp_path, "found.json"), pytest.raises(SystemExit, match=r"another process is writing found\.json"):
        main([str(argument) for argument in arguments])
    with pytest.raises(SystemExit, match=r"none\.pt"):
        main([str(argument) for argument in arguments])


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / "made" / "deep"
    with pytest.raises(KeyError), whole(out) as partial:
        (partial / "file").touch()
        raise KeyError
    assert list(out.parent.iterdir()) == []
    with whole(out) as partial:
        (partial / "file").touch()
        assert not out.exists()
    assert [path.name for path in out.parent.iterdir()] == ["deep"]
    assert [path.name for path in out.iterdir()] == ["file"]
    with pytest.raises(LayerdropError, match="deep exists: choose another folder"), whole(out):
        raise AssertionError


def test_an_empty_folder_is_as_good_as_none(tmp_path):
    with whole(tmp_path) as partial:
        (partial / "file").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
