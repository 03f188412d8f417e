"""Fixtures: the Hugging Face folders in references/, imported, and what transformers computes with them."""

import functools
import shutil
from pathlib import Path

import numpy as np
import pytest
from fairseq.models.roberta import RobertaModel

from layerdrop_plugin.interop.import_hf import import_folder

REFERENCES = Path(__file__).parent / "references"
NAMES = sorted(path.name for path in REFERENCES.iterdir() if path.is_dir())


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


def load(folder, file="checkpoint.pt"):
    """fairseq's hub interface on an imported folder, in evaluation mode."""
    return RobertaModel.from_pretrained(str(folder), file, data_name_or_path=str(folder)).eval()


def expected(name):
    """What transformers computes: ids, masks, hidden states and logits of single sentences and of pairs."""
    return dict(np.load(REFERENCES / f"{name}.npz"))
