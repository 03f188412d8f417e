"""A translator served without fairseq and PyTorch, in an environment with CTranslate2 and SentencePiece only."""

import os
import subprocess
import sys
import urllib.request
import venv
from pathlib import Path

import builders
import pytest

from layerdrop_plugin.interop.ct2_folder import MAX_LEN_A, MAX_LEN_B

from .conftest import RECIPES, SOFTWARE

SCRIPT = RECIPES / "serve_translator.py"
ROOT = RECIPES.parent


@pytest.fixture(scope="session")
def serving(downloads):
    """The Python of an environment that has only what the script imports; kept between runs, as downloads are."""
    versions = [line for line in (ROOT / "constraints.txt").read_text().split() if line.startswith("ctranslate2==")]
    folder = downloads / f"serving-{'-'.join(versions)}-{sys.version_info[0]}.{sys.version_info[1]}"
    python = folder / "bin/python"
    if not (folder / "done").exists():
        venv.create(folder, clear=True, with_pip=True)
        command = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", "ctranslate2", "sentencepiece"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"pip cannot install them: {done.stderr.strip()[-300:]}")
        (folder / "done").touch()
    return python


def run(python, *arguments, text=""):
    return subprocess.run(
        [python, *map(str, arguments)], input=text, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.recipe
def test_a_translator_without_fairseq_and_torch(serving, tmp_path):
    assert run(serving, "-c", "import torch").returncode and run(serving, "-c", "import fairseq").returncode
    folder = exported(tmp_path)
    lines = ["the dog eats bread", "cold water", ""]
    done = run(serving, SCRIPT, folder, text="".join(f"{line}\n" for line in lines))
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert len(said) == 3 and not any("\u2581" in line or "</s>" in line for line in said)
    server = subprocess.Popen([serving, SCRIPT, folder, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip()
        with urllib.request.urlopen(address, data=lines[0].encode(), timeout=60) as answer:
            assert answer.read().decode() == f"{said[0]}\n"
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def exported(folder: Path) -> Path:
    """What export-ct2 makes of a toy model of a few words."""
    text = folder / "text"
    for language in ("en", "xx"):
        (folder / f"text.{language}").write_text("the dog eats bread\ncold water and bread\nthe dog drinks\n" * 60)
    environment = {"PATH": f"{SOFTWARE}{os.pathsep}{os.environ['PATH']}"}
    train = ["--encoder-layers", 1, "--decoder-layers", 1, "--max-update", 20, "--save-interval-updates", 20]
    toy = {"NMT_UPDATES": "20", "NMT_WARMUP": "2", "NMT_SAVE_UPDATES": "20"}
    for command in (
        [
            RECIPES / "data/prepare_parallel.sh", "--src-lang", "en", "--tgt-lang", "xx", "--out", folder / "data",
            "--train-src", f"{text}.en", "--train-tgt", f"{text}.xx", "--valid-src", f"{text}.en",
            "--valid-tgt", f"{text}.xx", "--vocab-size", 40,
        ],
        [RECIPES / "train_nmt.sh", "--data", folder / "data", "--out", folder / "model", *train],
    ):  # fmt: skip
        done = builders.run("bash", *command, env=environment | toy)
        assert done.returncode == 0
    builders.run("layerdrop", "export-ct2", folder / "model/checkpoint_best.pt", folder / "data", folder / "served")
    return folder / "served"


def test_a_folder_without_its_model(tmp_path):
    pytest.importorskip("ctranslate2")
    done = run(sys.executable, SCRIPT, tmp_path)
    assert done.returncode == 1 and "has no model.bin: name a folder of" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_script_limits_translations_as_the_project_does():
    assert f"{MAX_LEN_A} * " in SCRIPT.read_text() and f"+ {MAX_LEN_B})" in SCRIPT.read_text()
