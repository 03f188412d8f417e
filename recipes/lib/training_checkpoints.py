"""The checkpoints that fairseq-train leaves in a folder.

python training_checkpoints.py repair DIR   replaces those that a kill cut short, and says so
python training_checkpoints.py first DIR    prints the one of fewest updates that is kept, if there is one
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path


def are_whole(paths):
    """Whether all of them are whole checkpoint files."""
    return subprocess.run(["layerdrop", "check", *paths], capture_output=True, check=False).returncode == 0


def repair(folder, are_whole=are_whole):
    """Remove files cut short and put the newest whole one in the place of checkpoint_best and checkpoint_last.

    fairseq copies what it has saved to these two: a kill in between leaves them cut short, and the newest whole file is
    what they were copied from. Returns a list of sentences.
    """
    for pattern in ("*.pt.tmp", "*.pt.partial"):
        for path in folder.glob(pattern):
            path.unlink()
    files, said = sorted(folder.glob("checkpoint*.pt")), []
    if not files:
        return said
    broken = [] if are_whole(files) else [path for path in files if not are_whole([path])]
    for path in broken:
        path.unlink(missing_ok=True)
        said.append(f"[repair] {path} was cut short by a kill")
    whole = [path for path in files if path not in broken]
    missing = [path for path in broken if path.name == "checkpoint_best.pt"]
    if folder / "checkpoint_last.pt" not in whole:
        missing.append(folder / "checkpoint_last.pt")
    for path in missing if whole else []:
        newest = max(whole, key=lambda path: path.stat().st_mtime_ns)
        shutil.copyfile(newest, f"{path}.partial")
        os.replace(f"{path}.partial", path)
        said.append(f"[repair] {path} taken from {newest}")
    return said


def first(folder):
    """The checkpoint_EPOCH_UPDATES.pt with the fewest updates, or None."""
    found = {path: re.fullmatch(r"checkpoint_\d+_(\d+)\.pt", path.name) for path in folder.glob("checkpoint_*_*.pt")}
    return min((path for path, match in found.items() if match), key=lambda path: int(found[path][1]), default=None)


def main(command, folder):
    for line in repair(Path(folder)) if command == "repair" else filter(None, [first(Path(folder))]):
        print(line)


if __name__ == "__main__":
    main(*sys.argv[1:])
