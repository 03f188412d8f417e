"""Runs commands on damaged and hostile files, each in a fork of one process that has imported everything.

A case is tried, and ends in one of the columns of COLUMNS; none may end in one of BAD.
"""

import contextlib
import io
import os
import resource
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

COLUMNS = ("tried", "refused", "read", "traceback", "hang", "memory", "executed", "silently changed")
BAD = COLUMNS[3:]
SECONDS = 10  # that a command may compute, whatever else the machine does
WAITING = 60  # seconds until it ends, computing or waiting for something
TIMERS = (signal.SIGPROF, signal.SIGALRM)
SPARE = 1 << 30  # bytes that a command may take beside twice its file's size
TOKEN = "token-of-the-environment-7f3a"
MARKER = "executed"  # a file that payloads make in the folder they run in
ERRORS = ("layerdrop: error: ", "layerdrop_plugin: error: ")


@dataclass
class Case:
    """One file or command.

    Attributes:
        kind: the table's row.
        name: what was done.
        write: makes the files in the folder that it is given.
        command: words; the first is a key of COMMANDS.
        wanted: ``refuse`` where a command that succeeds has believed what it must not; ``same`` where it must do as it
            does with the file that was not changed; ``any`` otherwise.
        same: tells, of the case's folder, whether the outcome is that of the file that was not changed.
    """

    kind: str
    name: str
    write: Callable[[Path], None]
    command: list[str]
    wanted: str = "any"
    same: Callable[[Path], bool] | None = None


@dataclass
class Found:
    """How a case ended: a column, and what the command said."""

    kind: str
    name: str
    command: list[str]
    column: str
    output: str = field(repr=False)


def run(case: Case, folder: Path) -> Found:
    """Run *case* in the new folder *folder*, which is removed again."""
    folder.mkdir()
    try:
        case.write(folder)
        size = max((file.stat().st_size for file in folder.iterdir() if file.is_file()), default=0)
        status = _forked(case.command, folder, size)
        output = (folder.with_suffix(".out")).read_text(encoding="utf-8", errors="replace")
        return Found(case.kind, case.name, case.command, _column(case, folder, status, output), output[-4000:])
    finally:
        shutil.rmtree(folder)
        with contextlib.suppress(FileNotFoundError):
            folder.with_suffix(".out").unlink()


def table(ended: list[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Kind -> column -> number of cases, of the kind and the column of each."""
    rows: dict[str, Counter] = {}
    for kind, column in sorted(ended):
        rows.setdefault(kind, Counter()).update(("tried", column))
    return {kind: {column: row[column] for column in COLUMNS} for kind, row in rows.items()}


def _forked(command: list[str], folder: Path, size: int) -> int:
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            _main(command, folder, size)
        os._exit(99)
    return os.waitpid(child, 0)[1]


def _main(command: list[str], folder: Path, size: int) -> None:
    with open(folder.with_suffix(".out"), "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding="utf-8")
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), encoding="utf-8", line_buffering=True)
    os.chdir(folder)
    os.environ["MY_TOKEN"] = TOKEN
    for number in TIMERS:
        signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(WAITING)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = used + 2 * size + SPARE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    torch.manual_seed(0)
    sys.argv = list(command)
    status = 0
    try:
        COMMANDS[command[0]]()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _column(case: Case, folder: Path, status: int, output: str) -> str:
    if (folder / MARKER).exists() or TOKEN in output or _holds_token(folder):
        return "executed"
    if os.WIFSIGNALED(status):
        return "hang" if os.WTERMSIG(status) in TIMERS else "traceback"
    if "MemoryError" in output or "allocate memory" in output or "not enough memory" in output:
        return "memory"
    status = os.waitstatus_to_exitcode(status)
    if status:
        errors = [line for line in output.splitlines() if line.startswith(ERRORS) or ": error: " in line]
        plain = (
            "Traceback" not in output and "error: unexpected " not in output and len(errors) == 1 and status in (1, 2)
        )
        return "refused" if plain and not (folder / "child.pt").exists() else "traceback"
    if "Traceback" in output:
        return "traceback"
    changed = case.wanted == "refuse" or (case.wanted == "same" and case.same and not case.same(folder))
    return "silently changed" if changed else "read"


def _holds_token(folder: Path) -> bool:
    child = folder / "child.pt"
    return child.is_file() and TOKEN.encode() in child.read_bytes()


def _layerdrop() -> None:
    from layerdrop_plugin.cli.main import main

    main(sys.argv[1:])


def _fairseq(name: str) -> Callable[[], None]:
    def main() -> None:
        import importlib

        importlib.import_module(f"fairseq_cli.{name}").cli_main()

    return main


def _load() -> None:
    """fairseq's loading of a model, which all of its commands and ``from_pretrained`` share."""
    from fairseq import checkpoint_utils

    checkpoint_utils.load_model_ensemble_and_task([sys.argv[1]])


COMMANDS = {
    "layerdrop": _layerdrop,
    "load": _load,
    **{f"fairseq-{name.replace('_', '-')}": _fairseq(name) for name in ("validate", "generate", "eval_lm", "train")},
}
