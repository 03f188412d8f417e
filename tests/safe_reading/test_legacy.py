import pathlib
import pickle

import builders
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_checkpoint import Hostile, small_state

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.safe_reading import legacy, pickled


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint in the format before 2020, with storages of several dtypes, shared, in part, and empty."""
    path = tmp_path_factory.mktemp("legacy") / "whole.pt"
    state = small_state()
    some = next(iter(state["model"].values()))
    state["extra"] = [some, some[1:], some.half(), torch.zeros(3, dtype=torch.int64), torch.ones(0), some.bfloat16()]
    builders.save_as_before_2020(state, path)
    return path


def test_magic_number_and_lengths_are_those_of_torch():
    serialization = torch.serialization
    assert pickle.loads(legacy.MAGIC_NUMBER) == serialization.MAGIC_NUMBER
    assert pickle.dumps(serialization.MAGIC_NUMBER, serialization.DEFAULT_PROTOCOL) == legacy.MAGIC_NUMBER
    types = torch.storage._dtype_to_storage_type_map()
    assert {name: dtype.itemsize for dtype, name in types.items()} == pickled.BYTES_PER_ELEMENT


def test_a_checkpoint_in_the_format_before_2020_is_whole_and_loads(whole):
    assert checkpoint.is_whole(whole)
    assert checkpoint.read(whole)["cfg"]["model"]["encoder_layers"] == 4


@pytest.mark.parametrize(
    "state", [{"a": 1}, [torch.zeros(5)] * 2, torch.zeros(3, dtype=torch.int8), torch.nn.Linear(2, 3)], ids=type
)
def test_whole_to_the_last_byte(state, tmp_path):
    builders.save_as_before_2020(state, tmp_path / "file.pt")
    assert checkpoint.is_whole(tmp_path / "file.pt")
    (tmp_path / "file.pt").write_bytes((tmp_path / "file.pt").read_bytes()[:-1])
    assert not checkpoint.is_whole(tmp_path / "file.pt")


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, deadline=None)
def test_one_cut_short_anywhere_is_called_so(share, whole):
    content = whole.read_bytes()
    cut = whole.with_name("cut.pt")
    cut.write_bytes(content[: int(share * len(content))])
    assert not checkpoint.is_whole(cut)
    for read in (checkpoint.read, checkpoint.check_whole, lambda path: checkpoint.convert_trusted(path, "out.pt")):
        with pytest.raises(LayerdropError, match="cut.pt is not a whole PyTorch file"):
            read(cut)


def test_a_refused_class_in_one_is_named_and_its_conversion_offered(tmp_path):
    marker = tmp_path / "executed"
    builders.save_as_before_2020(small_state(payload=Hostile(marker)), tmp_path / "hostile.pt")
    with pytest.raises(LayerdropError, match="system.*not plain data.*convert --trust") as caught:
        checkpoint.read(tmp_path / "hostile.pt")
    assert "\n" not in str(caught.value)
    assert checkpoint.is_whole(tmp_path / "hostile.pt")
    assert not marker.exists()


def test_one_that_is_trusted_can_be_converted(tmp_path):
    builders.save_as_before_2020(small_state(extra=pathlib.PurePosixPath("a")), tmp_path / "old.pt")
    with pytest.raises(LayerdropError, match="pathlib.*convert --trust"):
        checkpoint.read(tmp_path / "old.pt")
    checkpoint.convert_trusted(tmp_path / "old.pt", tmp_path / "new.pt")
    assert checkpoint.read(tmp_path / "new.pt")["cfg"]["model"]["encoder_layers"] == 4
