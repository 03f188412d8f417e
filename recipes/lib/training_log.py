"""The log of fairseq-train.

python training_log.py watch LOG    appends stdin to LOG, and prints what a person wants to watch
python training_log.py failed DIR   prints why the training into DIR failed, its traceback on stderr if there is one;
                                    without a checkpoint nothing stays in DIR
"""

import contextlib
import re
import signal
import sys
from pathlib import Path

WATCHED = re.compile(r".* \| (?:INFO \| (?:train_inner|valid)|WARNING \| layerdrop_plugin\S*) \| (.*)")
UNWATCHED = re.compile(
    r", (?:ppl|wpb|bsz|gnorm|clip|loss_scale|train_wall|gb_free|nll_loss|ups)=[^,]*"
    r"| *\| (?:nll_loss|ppl|wpb|bsz|wps|train_wall|gb_free|wall) [^|]*?(?= *(?:\||$))"
)


def progress(line):
    """What to print of a line, or None."""
    match = WATCHED.match(line)
    return match and "    " + UNWATCHED.sub("", match[1]).rstrip()


def watch(log):
    """Copy stdin to the end of *log*, and print its progress."""
    # who stops the training stops this too: when there is no more to read
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(log, "ab", buffering=0) as file:
        for line in sys.stdin.buffer:
            file.write(line)
            text = progress(line.decode("utf-8", "replace"))
            if text:
                with contextlib.suppress(BrokenPipeError):
                    print(text, flush=True)


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
    {"watch": watch, "failed": failed}[sys.argv[1]](Path(sys.argv[2]))
