"""python jobs.py N LOGS NAME... -- COMMAND...: COMMAND NAME for every NAME, at most N at a time.

Each writes into LOGS/NAME.log. A job that fails does not stop the others; the first one is named at the end. Whoever
stops this, or what started it, ends all jobs: each is a process group of its own, so that nothing of it is left.
"""

import sys
import time
from pathlib import Path

import children

PAUSE = 0.1  # seconds between two looks at the jobs


def last_line(path):
    """The last line of a file that is not blank, or ""."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line for line in reversed(lines) if line.strip()), "")


def run(names, at_a_time, logs, command):
    """Run all jobs, and print when each starts and ends; returns the names of those that failed."""
    began, starter, waiting, running, failures = time.monotonic(), children.Starter(), list(names), {}, []

    def tell(name, what):
        minutes, seconds = divmod(int(time.monotonic() - began), 60)
        print(f"    {minutes:3d}:{seconds:02d}  {name}: {what}", flush=True)

    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                name = waiting.pop(0)
                with open(logs / f"{name}.log", "wb") as file:
                    running[name] = children.start([*command, name], file)
                tell(name, "started")
            time.sleep(PAUSE)
            for name in [name for name, process in running.items() if process.poll() is not None]:
                if running.pop(name).returncode:
                    failures.append(name)
                tell(name, "failed" if name in failures else "done")
            if starter.is_gone():
                sys.exit(143)
    finally:
        children.end(running.values())
    return failures


def main(at_a_time, logs, *words):
    children.exit_on_signals()
    logs, cut = Path(logs), words.index("--")
    logs.mkdir(parents=True, exist_ok=True)
    failures = run(words[:cut], int(at_a_time), logs, words[cut + 1 :])
    if failures:
        log = logs / f"{failures[0]}.log"
        why = f"the first being {failures[0]}: {last_line(log)} (all of it: {log})"
        sys.exit(f"jobs.py: error: {len(failures)} of {cut} jobs failed, {why}")


if __name__ == "__main__":
    main(*sys.argv[1:])
