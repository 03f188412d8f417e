"""Sessions over small random models of every kind."""

import checkpoints
import pytest

from layerdrop_plugin.evaluation import session


@pytest.fixture(scope="session")
def files(data, tmp_path_factory):
    """By kind: a checkpoint's path and the data folder that goes with it."""
    folder = tmp_path_factory.mktemp("models")
    return {
        kind: (checkpoints.save(folder / f"{kind}.pt", data, kind), data / name)
        for kind, (name, _) in checkpoints.KINDS.items()
    }


@pytest.fixture(scope="session")
def sessions(files):
    """By kind: a session on the CPU, seven examples a batch."""
    return {kind: session.load(path, data, batch_size=7, cpu=True) for kind, (path, data) in files.items()}
