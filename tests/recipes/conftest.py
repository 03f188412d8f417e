"""The recipes on a slice of the real data: one quick start for all tests, its downloads kept between runs."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"
SOFTWARE = Path(sys.executable).parent
# A model that trains in a second; what the quick start's --tiny-slice uses too.
TOY = {
    "PRETRAIN_TOKENS": "64",
    "PRETRAIN_UPDATES": "8",
    "PRETRAIN_WARMUP": "2",
    "PRETRAIN_SAVE_UPDATES": "4",
    "FINETUNE_EPOCHS": "1",
    "LOG_INTERVAL": "2",
}
TOY_SHAPE = ["--encoder-layers", "2", "--encoder-embed-dim", "32", "--encoder-ffn-embed-dim", "64"]
TOY_SHAPE += ["--encoder-attention-heads", "2"]


def environment(**variables):
    """The environment of a recipe: this Python's software first, and variables that replace a preset's."""
    path = f"{SOFTWARE}{os.pathsep}{os.environ['PATH']}"
    # Toy models are no faster on two threads, and much slower when the machine does something else too.
    return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"} | variables


def recipe(script, *arguments, cwd=None, **variables):
    """Run recipes/SCRIPT; returns the CompletedProcess with stdout and stderr as text."""
    return subprocess.run(
        ["bash", RECIPES / script, *map(str, arguments)],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=600,  # of a slice, a minute or two; more where other things run too
        check=False,
    )


def succeeds(script, *arguments, **options):
    """Run recipes/SCRIPT, which must succeed; returns its stdout."""
    done = recipe(script, *arguments, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def fails(script, *arguments, **options):
    """Run recipes/SCRIPT, which must fail with one line and no traceback; returns that line."""
    done = recipe(script, *arguments, **options)
    assert done.returncode != 0, done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.fixture(scope="session")
def worker_id():
    """As pytest-xdist's, for runs without it."""
    return os.environ.get("PYTEST_XDIST_WORKER", "master")


@pytest.fixture(scope="session")
def downloads():
    """A folder of downloads that outlives the tests."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "layerdrop_plugin"


@pytest.fixture(scope="session")
def once(tmp_path_factory, worker_id):
    """``once(name, fill)``: the folder *name*, which ``fill(folder)`` has filled; what that returned is in its ``log``.

    pytest-xdist's workers share one: the first makes it, the others wait. Tests only read it.
    """
    base = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        base = base.parent

    def make(name, fill):
        out = base / name
        with open(out.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (out / "log").exists():
                out.mkdir(exist_ok=True)
                (out / "log").write_text(fill(out), encoding="utf-8")
        return out

    return make


@pytest.fixture(scope="session")
def world(once, downloads):
    """The folder that the quick start leaves, spaces in its name; `world / "log"` is what it printed."""
    return once(
        "quick start",
        lambda out: succeeds("quickstart.sh", "--tiny-slice", "--out", out, "--downloads", downloads, cwd=out),
    )
