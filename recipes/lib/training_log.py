"""The log of fairseq-train.

python training_log.py run LOG COMMAND...
                                    runs fairseq-train, appends its output to LOG and prints what a person wants to
                                    watch; ends it when the recipe ends, and exits with its status
python training_log.py failed DIR   prints why the training into DIR failed, its traceback on stderr if there is one;
                                    without a checkpoint nothing stays in DIR
"""

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import children

PAUSE = 0.2  # seconds between two looks at the recipe

WATCHED = re.compile(r".* \| (?:INFO \| (?:train_inner|valid)|WARNING \| layerdrop_plugin\S*) \| (.*)")
UNWATCHED = re.compile(
    r", (?:ppl|wpb|bsz|gnorm|clip|loss_scale|train_wall|gb_free|nll_loss|ups)=[^,]*"
    r"| *\| (?:nll_loss|ppl|wpb|bsz|wps|train_wall|gb_free|wall) [^|]*?(?= *(?:\||$))"
)


def progress(line):
    """What to print of a line, or None."""
    match = WATCHED.match(line)
    return match and "    " + UNWATCHED.sub("", match[1]).rstrip()


def run(log, *command):
    """Run *command*, copy its output to the end of *log* and print its progress; returns its exit status."""
    children.exit_on_signals()
    starter = children.Starter()
    process = children.start(command, subprocess.PIPE)
    threading.Thread(target=_end_with, args=(starter, process), daemon=True).start()
    try:
        with open(log, "ab", buffering=0) as file:
            for line in process.stdout:
                file.write(line)
                text = progress(line.decode("utf-8", "replace"))
                if text:
                    with contextlib.suppress(BrokenPipeError):
                        print(text, flush=True)
        return process.wait()
    finally:
        children.end([process])


def _end_with(starter, process):
    while not starter.is_gone():
        time.sleep(PAUSE)
    children.end([process])
    os._exit(143)


def failure(text):
    """(the last line, the last traceback and what follows it or "") of a log."""
    lines = [line for line in text.splitlines() if line.strip()]
    _, traceback, rest = f"\n{text}".rpartition("\nTraceback")
    return (lines or [""])[-1], traceback.strip() + rest if traceback else ""


def failed(folder):
    """Print why, and remove what a training without checkpoints has left in *folder*."""
    log = folder / "train.log"
    why, traceback = failure(log.read_text(encoding="utf-8", errors="replace"))
    sys.stderr.write(traceback)
    if not any(folder.glob("checkpoint*.pt")):
        for path in (folder / "settings.txt", folder / ".lock", log):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
    print(why)


if __name__ == "__main__":
    sys.exit({"run": run, "failed": failed}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:]))
