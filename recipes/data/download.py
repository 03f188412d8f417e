"""Files of package indexes, whole or not at all, without installing anything.

python download.py pypi DIR FILE SHA256 PIP-ARGUMENT...   FILE, which has that checksum, into DIR
python download.py debian DIR NAME FOLDER ELSE            the package NAME of Debian and Ubuntu into DIR, its files into
                                                          FOLDER; ELSE says what can be done without it

What is in DIR already is not fetched again.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from textfile import fail

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps"]


def versioned(path):
    """Sorts as versions are: 2 before 10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def sha256(path):
    """The checksum of a file, in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def newest(folder, pattern):
    """The file of the *folder* with a name like *pattern* and the highest version; None if there is none."""
    return max(folder.glob(pattern), key=versioned, default=None)


def fetch(folder, pattern, command, instead):
    """The newest file of the *folder* with a name like *pattern*; if there is none, *command* makes it where it runs.

    Exits with one line, which ends with *instead*, if it does not.
    """
    found, name = newest(folder, pattern), pattern.partition("_*")[0]
    if found:
        print(f"[have] {found}")
        return found
    if not shutil.which(command[0]):
        fail(f"{command[0]} not found, which fetches {name}; {instead}")
    folder.mkdir(parents=True, exist_ok=True)
    print(f"+ (cd {shlex.quote(str(folder))} && {shlex.join(command)})", flush=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as partial:
        # all that apt-get says is kept back, such as its warning that root downloads as root
        done = subprocess.run(
            command, cwd=partial, env=os.environ | {"LC_ALL": "C"}, capture_output=True, text=True, check=False
        )
        files = sorted(Path(partial).glob(pattern)) if done.returncode == 0 else []
        if not files:
            why = re.search(r"^(?:ERROR|E): (.*)", done.stdout + done.stderr, re.M)
            why = why[1] if why else "no such file came"
            fail(f"could not download {name} ({why}); is the network there, and the package index? {instead}".rstrip())
        return files[0].rename(folder / files[0].name)


def pypi(folder, file, checksum, *arguments):
    """Fetch *file* with pip; one with another checksum is not kept."""
    folder = Path(folder)
    if (folder / file).exists() and sha256(folder / file) != checksum:
        (folder / file).unlink()
    fetched = fetch(folder, file, [*PIP, *arguments], "")
    if sha256(fetched) != checksum:
        fetched.unlink()
        fail(f"{fetched}: the checksum of the download is not {checksum}; it was not kept")


def debian(folder, name, target, instead):
    """Fetch the package *name* and unpack it into *target*."""
    if not shutil.which("dpkg-deb"):
        fail(f"dpkg-deb not found, which unpacks the package {name} of Debian and Ubuntu; {instead}")
    command = ["apt-get", "download", name]
    fetched = fetch(Path(folder), f"{name}_*.deb", command, f"Was apt-get update run? If not, {instead}")
    if subprocess.run(["dpkg-deb", "-x", fetched, target], stderr=subprocess.DEVNULL, check=False).returncode:
        fail(f"{fetched} is not a whole package; delete it and run this again")


if __name__ == "__main__":
    {"pypi": pypi, "debian": debian}[sys.argv[1]](*sys.argv[2:])
