"""Run fairseq's and our commands in processes of their own without importing torch and fairseq anew each time.

Every command runs in a fork of a server that has imported fairseq (not this plugin), and what PyTorch imports when it
builds an optimizer, and done nothing else: what it sees is a new process, five seconds younger.
"""

import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile

COMMANDS = {
    **{f"fairseq-{name}": (f"fairseq_cli.{name.replace('-', '_')}", "cli_main")
       for name in ("train", "validate", "generate", "interactive", "eval-lm", "preprocess")},
    "layerdrop": ("layerdrop_command", "main"),
}  # fmt: skip

_context = multiprocessing.get_context("forkserver")
_fairseq = [module for module, _ in COMMANDS.values() if module.startswith("fairseq")]
_context.set_forkserver_preload([*_fairseq, "torch._dynamo"])


def run(command, cwd, env, timeout=300) -> subprocess.CompletedProcess:
    """Run *command*, a list: one of COMMANDS and its arguments, or ``python -c CODE``.

    Its output is in ``stdout``, both streams.
    """
    process, output = start(command, cwd, env)
    process.join(timeout)
    if process.is_alive():
        process.kill()
        raise subprocess.TimeoutExpired(command, timeout)
    with output:
        output.seek(0)
        text = output.read()
    return subprocess.CompletedProcess(command, process.exitcode, text)


def start(command, cwd, env):
    """Begin *command*; returns its process and the file that its output goes to."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the server, whose threads forks cannot use
    output = tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace")  # noqa: SIM115 (closed by `run`)
    process = _context.Process(target=_main, args=(command, cwd, env, output.name))
    process.start()
    return process, output


def _main(command, cwd, env, output) -> None:
    with open(output, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    multiprocessing.set_start_method("fork", force=True)  # a new process's own on Linux, for fairseq's data workers
    os.environ.update(env)
    os.chdir(cwd or os.getcwd())
    sys.argv = command
    status = 0
    try:
        if command[0] == "python":
            exec(compile(command[2], "<string>", "exec"), {"__name__": "__main__"})
        else:
            module, function = COMMANDS[command[0]]
            getattr(importlib.import_module(module), function)()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(status)
