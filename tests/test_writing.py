"""What is replaced when a file is written, what is left of killed writers, and closed pipes and interrupts."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import checkpoints
import pytest

import layerdrop_command
from layerdrop_plugin.cli import main
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.writing import atomic_path, check_target, write_text_atomic


@pytest.mark.parametrize("write", [check_target, lambda path: write_text_atomic(path, "new")])
def test_only_regular_files_are_replaced(tmp_path, write):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link to pipe").symlink_to("pipe")
    for name, said in (("pipe", "device, a pipe"), ("link to pipe", "device, a pipe"), (".", "a folder")):
        with pytest.raises(LayerdropError, match=f"cannot write .*{said}"):
            write(tmp_path / name)
    with pytest.raises(LayerdropError, match="/dev/null: it is a device"):
        write("/dev/null")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode) and stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(LayerdropError, match="the folder .*/none does not exist"):
        write(tmp_path / "none" / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link to pipe", "pipe"]


def test_links_are_written_through(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("old")
    (tmp_path / "link").symlink_to("folder/file")
    (tmp_path / "to nothing").symlink_to("folder/other")
    write_text_atomic(tmp_path / "link", "new")
    write_text_atomic(tmp_path / "to nothing", "newer")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "to nothing").is_symlink()
    assert (tmp_path / "folder" / "file").read_text() == "new"
    assert (tmp_path / "folder" / "other").read_text() == "newer"


def test_asking_first_changes_nothing(tmp_path):
    (tmp_path / "file").write_text("old")
    for name in ("file", "other"):
        check_target(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "old"


KILLED = """
import os, sys
from layerdrop_plugin.writing import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    open(temporary, "w").write("half")
    os._exit(9)
"""


def test_what_a_killed_writer_left_goes_with_the_next_write_to_the_same_place(tmp_path):
    for name in ("file", "other"):
        subprocess.run([sys.executable, "-c", KILLED, tmp_path / name], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    write_text_atomic(tmp_path / "file", "whole")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 2 and left[0].startswith(".other.") and left[1] == "file"


def test_writers_at_the_same_time_do_not_disturb_each_other(tmp_path):
    path, inside = tmp_path / "file", threading.Event()

    def write(text: str) -> None:
        with atomic_path(path) as temporary:
            Path(temporary).write_text(text)
            inside.wait(30)

    threads = [threading.Thread(target=write, args=(text,)) for text in ("a" * 9, "b" * 9)]
    for thread in threads:
        thread.start()
    with atomic_path(path) as temporary:  # it takes neither of the others for a killed one's
        Path(temporary).write_text("c" * 9)
        inside.set()
        for thread in threads:
            thread.join()
    assert path.read_text() == "c" * 9 and list(tmp_path.iterdir()) == [path]


def test_a_closed_pipe_costs_no_child(data, tmp_path):
    parent = checkpoints.save(tmp_path / "parent.pt", data, "masked_lm")
    command = [sys.executable, "-m", "layerdrop_plugin.cli", "prune", parent, tmp_path / "child.pt"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*command, "--encoder-layers", "keep:0"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "") and (tmp_path / "child.pt").exists()


def test_an_interrupt_is_one_line_and_status_130(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "main", interrupted)
    with pytest.raises(SystemExit) as ended:
        layerdrop_command.main()
    assert ended.value.code == 130 and capsys.readouterr().err == "layerdrop: interrupted\n"


@pytest.mark.parametrize("debug", ["", "1"])
def test_an_error_that_nobody_thought_of_is_one_line_and_a_traceback_if_asked_for(monkeypatch, capsys, debug):
    def fails(args):
        raise ZeroDivisionError("first\nsecond")

    monkeypatch.setenv("LAYERDROP_DEBUG", debug)
    monkeypatch.setattr("layerdrop_plugin.cli.path.run", fails)
    with pytest.raises(SystemExit) as ended:
        main.main(["path"])
    assert ended.value.code == (
        "layerdrop: error: unexpected ZeroDivisionError: first (LAYERDROP_DEBUG=1 shows where; please report it)"
    )
    assert ("Traceback" in capsys.readouterr().err) == bool(debug)
