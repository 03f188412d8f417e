import io
import tarfile

import builders
import pytest


def test_check_calls_a_file_in_the_format_before_2020_whole_unless_it_is_cut_short(layerdrop, tmp_path):
    state = builders.state_of(builders.build("layerdrop_roberta"))
    builders.save_as_before_2020(state, tmp_path / "old.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "old.pt").read_bytes()[:-1])
    assert layerdrop("check", tmp_path / "old.pt") == (0, "", "")
    status, _, error = layerdrop("check", tmp_path / "old.pt", tmp_path / "cut.pt")
    assert status == 1
    assert "cut.pt is not a whole PyTorch file" in error


def test_a_tar_archive_is_refused_with_its_reason(layerdrop, tmp_path):
    path = tmp_path / "first.pt"
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "storages", "tensors", "pickle"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    for command in (("check", path), ("inspect", path), ("convert", "--trust", path, tmp_path / "out.pt")):
        status, _, error = layerdrop(*command)
        assert status == 1
        assert "before 2017 (a tar archive), which is not supported" in error


@pytest.mark.parametrize(("kind", "message"), [("missing", "does not exist"), ("folder", "is a folder")])
def test_check_says_what_else_is_wrong(kind, message, layerdrop, tmp_path):
    path = tmp_path / "file.pt"
    if kind == "folder":
        path.mkdir()
    status, _, error = layerdrop("check", path)
    assert status == 1
    assert message in error
