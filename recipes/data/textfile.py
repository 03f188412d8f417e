"""What the data scripts share: strict reading of text files, splits by hash, and one-line errors."""

import hashlib
import math
import sys
from pathlib import Path

SPLITS = ("train", "valid", "test")


def read_lines(path):
    """Yield (line number, line without its end) of a UTF-8 text file.

    Exits with one line naming file and line if the file is missing or not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                try:
                    line = raw.decode("utf-8").rstrip("\r\n")
                    yield number, line.removeprefix("\ufeff") if number == 1 else line
                except UnicodeDecodeError as error:
                    fail(
                        f"{path}, line {number}: byte 0x{raw[error.start]:02x} is not UTF-8;"
                        f" convert the file first, for instance: iconv -f latin1 -t utf-8 {path}"
                    )
    except OSError as error:
        fail(f"{path}: {error.strerror}")


def is_number(text):
    """Whether *text* is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def tidy(text):
    """Single spaces instead of any white space: fairseq would take some of it for line ends."""
    return " ".join(text.split())


def place_of(text):
    """A number from 0 to 1 that depends on nothing but the text, case and white space aside."""
    digest = hashlib.sha256(tidy(text).casefold().encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_of(text, valid, test=0.0):
    """The split of a text, decided by nothing but the text: equal texts never part, whoever splits them.

    Case and white space do not count. `valid` and `test` are fractions of all texts.
    """
    place = place_of(text)
    return "test" if place < test else "valid" if place < test + valid else "train"


def chosen(texts, limit):
    """The places of at most `limit` of the texts in order, the same ones every time; files are often sorted."""
    if not limit or limit >= len(texts):
        return range(len(texts))
    # "#": the splits depend on the hash of the text itself
    return sorted(sorted(range(len(texts)), key=lambda i: place_of(texts[i] + "#"))[:limit])


def fraction(text):
    """argparse type: a number from 0 up to, not including, 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise ValueError
    return value


def write_splits(folder, splits):
    """Write {file name: list of lines} into a folder; one line a record."""
    try:
        for name, lines in splits.items():
            Path(folder, name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    except OSError as error:
        fail(f"{error.filename or folder}: {error.strerror}")


def fail(message):
    """Exit with status 1 and one line on stderr."""
    sys.exit(f"{Path(sys.argv[0]).name}: error: {message}")
