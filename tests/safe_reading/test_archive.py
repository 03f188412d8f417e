"""Archives of torch.save: every changed byte is found, and only whole ones are read."""

import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.safe_reading import archive, loading

STATE = {"model": {"a.weight": torch.arange(60.0).view(6, 10), "b": torch.ones(7, dtype=torch.float16)}, "cfg": None}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "good.pt"
    torch.save(STATE, path)
    return path


def equal(found: dict) -> bool:
    return found["model"].keys() == STATE["model"].keys() and all(
        torch.equal(found["model"][name], value) for name, value in STATE["model"].items()
    )


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_a_flipped_bit_is_found_or_changes_nothing(saved, place, bit):
    content = bytearray(saved.read_bytes())
    content[place % len(content)] ^= 1 << bit
    damaged = saved.parent / "damaged.pt"
    damaged.write_bytes(content)
    try:
        assert equal(checkpoint.load(damaged))
    except LayerdropError as error:
        assert str(damaged) in str(error)


def test_the_damaged_entry_is_named(saved, tmp_path):
    content = bytearray(saved.read_bytes())
    place = content.find(STATE["model"]["a.weight"].numpy().tobytes())
    content[place + 40] ^= 1
    (tmp_path / "damaged.pt").write_bytes(content)
    with pytest.raises(archive.Damaged, match="entry 'good/data/0' has another checksum"):
        archive.check(tmp_path / "damaged.pt")
    with pytest.raises(LayerdropError, match="damaged.pt is damaged: its entry 'good/data/0'"):
        checkpoint.check_whole(tmp_path / "damaged.pt")
    assert torch.load(tmp_path / "damaged.pt")["model"].keys() == STATE["model"].keys()  # torch does not look


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"compression": zipfile.ZIP_DEFLATED}, "compressed"),
        ({"extra": ("good/code/x.py", b"x")}, "none of torch.save's"),
        ({"extra": ("other/data/9", b"x")}, "not those of one torch.save"),
        ({"drop": "data.pkl"}, "no entry data.pkl"),
        ({"drop": "data/0"}, "not the 240 bytes long"),
        ({"longer": "data/1"}, "not the 14 bytes long"),
    ],
)
def test_an_archive_that_torch_did_not_write_is_refused(saved, tmp_path, change, said):
    with (
        zipfile.ZipFile(saved) as good,
        zipfile.ZipFile(tmp_path / "bad.pt", "w", change.get("compression", zipfile.ZIP_STORED)) as bad,
    ):
        for name in good.namelist():
            if not name.endswith(change.get("drop", "\0")):
                bad.writestr(name, good.read(name) + bytes(8 * name.endswith(change.get("longer", "\0"))))
        if "extra" in change:
            bad.writestr(*change["extra"])
    with pytest.raises(archive.Damaged, match=said):
        loading.load(tmp_path / "bad.pt")


@pytest.mark.parametrize("mapped", [False, True])
def test_a_good_one_is_read_as_torch_reads_it(saved, mapped):
    assert equal(loading.load(saved, mapped))
    archive.check(saved)
