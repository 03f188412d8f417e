"""Jobs, several at a time: each in its log, all of them ended with what started them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from .conftest import RECIPES

JOBS = [sys.executable, RECIPES / "lib/jobs.py"]


def jobs(folder, at_a_time, names, script):
    """Run the jobs `bash -c SCRIPT NAME`; returns the CompletedProcess."""
    command = [*JOBS, str(at_a_time), folder / "lo gs", *names, "--", "bash", "-c", script]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def test_each_job_has_its_log_and_is_told(tmp_path):
    done = jobs(tmp_path, 2, ["a", "b c"], 'echo "$0"; echo error >&2')
    assert done.returncode == 0 and done.stderr == ""
    assert (tmp_path / "lo gs/b c.log").read_text() == "b c\nerror\n"
    assert sorted(line[10:] for line in done.stdout.splitlines()) == [
        "  a: done", "  a: started", "  b c: done", "  b c: started",
    ]  # fmt: skip


@pytest.mark.parametrize("at_a_time", [1, 2])
def test_no_more_than_so_many_at_a_time(tmp_path, at_a_time):
    script = 'mkdir "at $0"; ls -d at* | wc -l >>seen; sleep 0.3; rmdir "at $0"'
    assert jobs(tmp_path, at_a_time, ["a", "b", "c"], script).returncode == 0
    assert max(map(int, (tmp_path / "seen").read_text().split())) == at_a_time


def test_a_job_that_fails_does_not_stop_the_others_and_is_named(tmp_path):
    done = jobs(tmp_path, 1, ["a", "b", "c"], 'echo "why $0"; echo; touch "$0"; [[ $0 == c ]]')
    assert done.returncode == 1 and all((tmp_path / name).exists() for name in "abc")
    log = tmp_path / "lo gs/a.log"
    assert done.stderr == f"jobs.py: error: 2 of 3 jobs failed, the first being a: why a (all of it: {log})\n"


@pytest.mark.parametrize("stopped", ["itself", "what started it"])
def test_who_stops_it_ends_all_that_the_jobs_started(tmp_path, stopped):
    """The recipe alone gets the signal, not its process group."""
    script = 'echo $$ >"$0.pid"; sleep 60 & wait'
    command = [*map(str, JOBS), "2", str(tmp_path / "logs"), "a", "b", "--", "bash", "-c", script]
    if stopped != "itself":
        command = ["bash", "-c", '"$@"; true', "recipe", *command]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not all((tmp_path / f"{name}.pid").exists() and (tmp_path / f"{name}.pid").read_text() for name in "ab"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    groups = [int((tmp_path / f"{name}.pid").read_text()) for name in "ab"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) in (143, -signal.SIGTERM)
    while any(alive(group) for group in groups):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(group):
    """Whether the process group has members."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
