import argparse
import collections
import os
import pathlib
import pickle
import re
import subprocess

import builders
import checkpoints
import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils

import layerdrop_plugin
from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError


class Hostile:
    """Unpickling it creates the file *marker*."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


def small_state(**extra) -> dict:
    return builders.state_of(builders.build("layerdrop_roberta")) | extra


def test_what_fairseq_saves_loads(tmp_path):
    extra = {
        "best": np.float64(1.5),
        "scores": np.arange(3.0),
        "counts": [np.int64(3), np.bool_(True), np.float32(2)],
        "dtype": np.dtype("int32"),
        "names": np.array(["a", "b"]),
        "ordered": collections.OrderedDict(a=1),
    }
    state = small_state(extra_state={"train_iterator": {"epoch": 1}} | extra)
    state["cfg"]["model"] = argparse.Namespace(**state["cfg"]["model"])
    torch.save(state, tmp_path / "saved.pt")
    found = checkpoint.read(tmp_path / "saved.pt")
    assert found["extra_state"]["best"] == 1.5
    assert found["extra_state"]["scores"].tolist() == [0, 1, 2]
    assert found["cfg"]["model"]["encoder_layers"] == 4


def test_a_file_pickled_under_numpy_1_loads(tmp_path):
    torch.save(small_state(extra_state={"best": np.float64(1.5), "train_iterator": None}), tmp_path / "new.pt")
    # numpy 1 called the module numpy.core; protocol 2 writes module names as text lines
    import zipfile

    with (
        zipfile.ZipFile(tmp_path / "new.pt") as source,
        zipfile.ZipFile(tmp_path / "old.pt", "w", zipfile.ZIP_STORED) as old,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                assert b"numpy._core" in content
                content = content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
            old.writestr(name, content)
    assert checkpoint.read(tmp_path / "old.pt")["extra_state"]["best"] == 1.5


@pytest.mark.parametrize("where", ["cfg", "extra_state"])
def test_a_hostile_checkpoint_is_refused_and_executes_nothing(where, tmp_path):
    marker = tmp_path / "executed"
    state = small_state()
    state[where]["payload"] = Hostile(marker)
    torch.save(state, tmp_path / "hostile.pt")
    with pytest.raises(LayerdropError, match="system.*not plain data.*convert --trust") as caught:
        checkpoint.read(tmp_path / "hostile.pt")
    assert "\n" not in str(caught.value)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Hostile(marker)))  # the payload would have worked
    assert marker.exists()


def test_fairseqs_own_loader_refuses_too_even_when_it_trusts(tmp_path, monkeypatch):
    """Newer fairseq passes weights_only=False itself."""
    from fairseq import checkpoint_utils

    marker = tmp_path / "executed"
    torch.save(small_state(payload=Hostile(marker)), tmp_path / "hostile.pt")
    real = torch.load
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: real(*args, **(kwargs | {"weights_only": False})))
    with pytest.raises(LayerdropError, match="system"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "hostile.pt"))
    assert not marker.exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_other_classes_are_named(tmp_path):
    torch.save(small_state(extra=pathlib.PurePosixPath("a")), tmp_path / "path.pt")
    with pytest.raises(LayerdropError, match="pathlib"):
        checkpoint.read(tmp_path / "path.pt")


def test_a_trusted_file_can_be_converted(tmp_path):
    state = small_state()
    state["cfg"]["model"] = builders.options(**state["cfg"]["model"])
    state["extra_state"]["counter"] = collections.Counter("aab")
    state["cfg"]["data"] = pathlib.PurePosixPath("data")
    torch.save(state, tmp_path / "trusted.pt")
    checkpoint.convert_trusted(tmp_path / "trusted.pt", tmp_path / "plain.pt")
    assert checkpoint.read(tmp_path / "plain.pt")["cfg"]["data"] == "data"


def test_what_has_no_plain_form_is_not_converted(tmp_path):
    torch.save(small_state(extra=re.compile("a")), tmp_path / "pattern.pt")
    with pytest.raises(LayerdropError, match="re._compile, which has no plain form"):
        checkpoint.convert_trusted(tmp_path / "pattern.pt", tmp_path / "plain.pt")
    assert not (tmp_path / "plain.pt").exists()


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "truncated", "not a checkpoint"])
def test_broken_files_are_refused_in_one_line(kind, tmp_path):
    path = tmp_path / "file.pt"
    torch.save(small_state(), path)
    if kind == "missing":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("hello, this is not a checkpoint\n" * 50)
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    else:
        torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(LayerdropError) as caught:
        checkpoint.read(path)
    assert "file.pt" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert checkpoint.is_whole(path) == (kind == "not a checkpoint")


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    checkpoint.write_text_atomic(path, "before")
    with pytest.raises(ZeroDivisionError), checkpoint.atomic_path(path) as temporary:
        with open(temporary, "w") as file:
            file.write("half")
        raise ZeroDivisionError
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(LayerdropError, match="does not exist"):
        checkpoint.write({}, tmp_path / "nowhere" / "child.pt")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # a caught error may still hold a file of it open


def test_a_full_disk_is_said_and_keeps_what_was_there(small_disk):
    checkpoint.write({"a": 1}, small_disk / "child.pt")
    before = (small_disk / "child.pt").read_bytes()
    with pytest.raises(LayerdropError, match="no space left"):
        checkpoint.write({"a": torch.zeros(100_000)}, small_disk / "child.pt")
    with pytest.raises(LayerdropError, match="No space left|no space left"):
        checkpoint.write_text_atomic(small_disk / "report.md", "x" * 100_000)
    assert os.listdir(small_disk) == ["child.pt"]
    assert (small_disk / "child.pt").read_bytes() == before


def test_a_folder_without_write_permission_is_said(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):  # root writes anywhere: ask for a folder where nobody can
        folder = pathlib.Path("/proc/self")
    with pytest.raises(LayerdropError, match="cannot write"):
        checkpoint.write({}, folder / "child.pt")


def test_files_that_a_checkpoint_names_are_not_read(data, tmp_path):
    path = checkpoints.save(tmp_path / "model.pt", data, "translation")
    state = torch.load(path, weights_only=False)
    for side in ("encoder", "decoder"):
        setattr(state["cfg"]["model"], f"{side}_embed_path", "/dev/zero")
    torch.save(state, path)
    layerdrop_plugin.register()
    (model,), cfg, _ = checkpoint_utils.load_model_ensemble_and_task([path], {"data": str(data / "nmt")})
    assert cfg.model.encoder_embed_path is None
    assert torch.equal(model.encoder.embed_tokens.weight, state["model"]["encoder.embed_tokens.weight"])


def test_reading_leaves_what_torch_accepts_as_it_was(tmp_path):
    torch.save(small_state(), tmp_path / "file.pt")
    before = set(torch.serialization.get_safe_globals())
    checkpoint.read(tmp_path / "file.pt")
    assert set(torch.serialization.get_safe_globals()) == before and argparse.Namespace in before
