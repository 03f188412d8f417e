"""Fixtures: data and a pre-trained parent, made once per test run with fairseq's own commands."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import builders  # noqa: E402

os.environ.setdefault("LAYERDROP_PACK", "1")  # models that are only read are packed, small ones too: no trial decides


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "recipe: runs a recipe end to end, with real fairseq commands (seconds each), or a browser"
    )


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder with binarised data: ``lm`` and ``nlu``."""
    folder = tmp_path_factory.mktemp("data")
    builders.write_data(folder)
    return folder


@pytest.fixture(scope="session")
def parent(data, tmp_path_factory):
    """A pre-trained LayerDrop checkpoint of 4 layers."""
    folder = tmp_path_factory.mktemp("parent")
    builders.run(
        *("fairseq-train", data / "lm", "--save-dir", folder, "--max-update", "4", "--encoder-layerdrop", "0.3"),
        *builders.PRETRAIN,
    )
    return folder / "checkpoint_last.pt"
