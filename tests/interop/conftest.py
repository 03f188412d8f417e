"""Fixtures: the Hugging Face folders in references/, imported, and copies of them."""

import functools
import shutil
from pathlib import Path

import pytest
from hf_folders import REFERENCES

from layerdrop_plugin.interop.import_hf import import_folder


@pytest.fixture(scope="session")
def imported(tmp_path_factory):
    """Function: the name of a reference -> the folder made of it, and the lines that the import said."""
    root = tmp_path_factory.mktemp("imported")

    @functools.cache
    def make(name, stock):
        out = root / f"{name}{'-stock' * stock}"
        return out, import_folder(REFERENCES / name, out, stock=stock)

    return lambda name, stock=False: make(name, stock)


@pytest.fixture
def copy(tmp_path):
    """Function: a copy of the reference folder of a name, to be changed."""
    return lambda name: Path(shutil.copytree(REFERENCES / name, tmp_path / name))
