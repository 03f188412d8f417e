"""A share of the trials of trials.py, and what they rest on: each kind of harm is seen where it is done."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness  # noqa: E402
import trials  # noqa: E402

SHARE = 0.004


def test_no_file_of_a_small_share_runs_hangs_or_is_half_believed(data, tmp_path, capfd):
    models, wanted = trials.prepare(data, tmp_path), trials.names(SHARE)
    ended = Counter(found.column for _, found in trials.run_all(wanted, models, tmp_path, seed=2))
    assert not {column: ended[column] for column in harness.BAD if ended[column]}, capfd.readouterr().out
    assert ended["refused"] > len(wanted) / 3 and ended["read"]


def test_a_run_goes_on_where_it_was_interrupted(tmp_path):
    path, found = tmp_path / "partial", harness.Found("kind", "name", [], "read", "")
    trials.Progress(path, {"seed": 1}).add(("damaged", 3), found)
    with path.open("a") as file:
        file.write('["damaged", 4, "ki')
    assert trials.Progress(path, {"seed": 1}).ended == [(("damaged", 3), "kind", "read")]
    assert not trials.Progress(path, {"seed": 2}).ended and "damaged" not in path.read_text()


def _touch(name):
    return lambda: open(name, "w").close()


@pytest.mark.parametrize(
    "column, does",
    [
        ("executed", _touch(harness.MARKER)),
        ("executed", lambda: print(os.environ["MY_TOKEN"])),
        ("hang", lambda: [None for _ in iter(int, 1)]),
        ("memory", lambda: bytearray(1 << 33)),
        ("traceback", lambda: {}["a"]),
        ("traceback", lambda: os.kill(os.getpid(), 11)),
        ("silently changed", lambda: None),
    ],
)
def test_each_kind_of_harm_is_seen(column, does, tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "SECONDS", 1)
    monkeypatch.setitem(harness.COMMANDS, "harm", does)
    case = harness.Case("harm", column, lambda folder: None, ["harm"], "refuse")
    assert harness.run(case, tmp_path / "case").column == column
