"""Sentence pairs that the tests of parallel data share."""

import shutil

import pytest

from .conftest import recipe

SPLITS = ("train", "valid", "test")
WORDS = {
    "es": ("el", "perro", "grande", "come", "pan", "y", "bebe", "agua", "fría", "mañana"),
    "en": ("the", "dog", "large", "eats", "bread", "and", "drinks", "water", "cold", "tomorrow"),
}
PREPARE = "data/prepare_parallel.sh"
LANGUAGES = ["--src-lang", "es", "--tgt-lang", "en"]


def sentence(language, number):
    """Sentences that correspond: different ones for different numbers."""
    return " ".join(WORDS[language][(number // 10**place) % 10] for place in range(4)) + f" {number}"


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def write(path, content):
    path.write_text("".join(f"{line}\n" for line in content), encoding="utf-8")
    return path


def write_pair(folder, name, numbers):
    """Aligned files NAME.es and NAME.en of the sentences with these numbers."""
    return [write(folder / f"{name}.{language}", (sentence(language, i) for i in numbers)) for language in WORDS]


def small_slice(script, out, downloads):
    """Run a recipe that fetches and prepares parallel text, for 500 pairs; returns the finished process.

    Skips the test where the packages cannot be fetched.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("needs apt-get and dpkg-deb")
    options = ["--limit", 500, "--vocab-size", 500, "--max-tokens-per-sentence", 80, "--test", "0.1", "--valid", "0.1"]
    done = recipe(script, "--out", out, "--downloads", downloads, *options)
    if "could not download" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done
