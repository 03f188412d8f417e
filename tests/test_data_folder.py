"""Data folders: their kind, their examples, their hash."""

import shutil

import numpy as np
import pytest
import torch
from samples import save_dataset, save_dictionary, save_nlu_data, save_translation_data

from layerdrop_plugin.data_folder import CLASSIFICATION, LANGUAGE_MODEL, TRANSLATION, find_split
from layerdrop_plugin.errors import LayerdropError


@pytest.fixture
def folders(tmp_path):
    """A folder of every kind, with a split "test"."""
    plain = tmp_path / "lm"
    plain.mkdir()
    symbols = save_dictionary(plain / "dict.txt", 20)
    save_dataset(plain / "test", [torch.tensor([4, 5, 2]), torch.tensor([6, 2])], symbols)
    return {
        CLASSIFICATION: save_nlu_data(tmp_path / "nlu", {"test": [3, 5, 2], "valid": [4]}),
        TRANSLATION: save_translation_data(tmp_path / "mt", [[1, 2], [3], [4, 5, 6]]),
        LANGUAGE_MODEL: plain,
    }


def test_the_kinds_and_their_examples(folders):
    found = {kind: find_split(folder, "test") for kind, folder in folders.items()}
    assert [split.kind for split in found.values()] == [CLASSIFICATION, TRANSLATION, LANGUAGE_MODEL]
    assert found[TRANSLATION].languages == ("de", "en") and found[LANGUAGE_MODEL].languages is None
    # Whoever holds the sizes must not hold a map of a file that fairseq has closed.
    sizes = [split.sizes() for split in found.values()]
    assert [np.asarray(one).tolist() for one in sizes] == [[3, 5, 2], [3, 2, 4], [3, 2]]


def test_folders_that_are_refused(folders):
    for folder in folders.values():
        with pytest.raises(LayerdropError, match="no split 'other' in .*other.*idx is missing"):
            find_split(folder, "other")
    for kind, name in ((TRANSLATION, "test.de-en.de"), (CLASSIFICATION, "input0/test")):
        (folders[kind] / f"{name}.idx").write_bytes(b"")
        with pytest.raises(LayerdropError, match=f"cannot read .*{name}.idx"):
            find_split(folders[kind], "test").sizes()
    (folders[TRANSLATION] / "test.de-fr.de.idx").write_bytes(b"")
    with pytest.raises(LayerdropError, match="several language pairs: de-en, de-fr"):
        find_split(folders[TRANSLATION], "test")
    save_dataset(folders[LANGUAGE_MODEL] / "test", [], 24)
    with pytest.raises(LayerdropError, match="has no examples"):
        find_split(folders[LANGUAGE_MODEL], "test").sizes()


def test_a_translation_may_be_asked_for_the_other_way_round(folders, tmp_path):
    folder = save_translation_data(tmp_path / "mt", [[1], [2, 3]], "valid")
    there, back = (find_split(folder, "test", pair) for pair in (("de", "en"), ("en", "de")))
    names = [[path.name for path in split.prefixes] for split in (there, back)]
    assert names == [["test.de-en.de"], ["test.de-en.en"]]
    assert back.languages == ("en", "de") and back.sizes().tolist() == [3, 2, 4]
    assert back.sha256() == there.sha256() == find_split(folder, "test").sha256()
    assert back.sha256() != find_split(folder, "valid", ("en", "de")).sha256()
    with pytest.raises(LayerdropError, match="has 'test' of de-en, but the model translates en-fr"):
        find_split(folder, "test", ("en", "fr"))
    for language in ("de", "fr"):
        shutil.copy(folder / "test.de-en.de.idx", folder / f"test.de-fr.{language}.idx")
    assert find_split(folder, "test", ("en", "de")).sha256() == there.sha256()  # of several pairs the one asked for
    before = back.sha256()
    (folder / "test.de-en.en.bin").write_bytes(b"something else")
    assert back.sha256() != before


@pytest.mark.parametrize("kind", [CLASSIFICATION, TRANSLATION, LANGUAGE_MODEL])
def test_a_training_set_is_all_its_files_and_folders(folders, tmp_path, kind):
    folder = folders[kind]
    alone = find_split(folder, "test")
    for file in [*folder.rglob("test.*")]:
        for name in ("test1", "test2", "test4"):
            shutil.copy(file, file.with_name(file.name.replace("test.", f"{name}.")))
    assert find_split(folder, "test").sha256() == alone.sha256()  # which has other splits beside it
    found = find_split(folder, "test", training=True)
    assert found.sizes().tolist() == alone.sizes().tolist() * 3
    before = found.sha256()
    other = shutil.copytree(folder, tmp_path / "other")
    joined = find_split(f"{folder}:{other}", "test", training=True)
    assert joined.roots == (folder, other) and len(joined.sizes()) == 6 * len(alone.sizes())
    assert find_split(f"{folder}:{other}", "test").roots == (folder,)
    hashes = {before, joined.sha256(), alone.sha256()}
    for count, (root, name) in enumerate(((folder, "test4"), (folder, "test2"), (other, "test1")), start=3):
        file = sorted(root.rglob(f"{name}.*.bin" if kind == TRANSLATION else f"{name}.bin"))[0]
        file.write_bytes(file.read_bytes() + b"more")
        hashes.add(find_split(f"{folder}:{other}", "test", training=True).sha256())
        assert len(hashes) == count, name
    for file in [*other.rglob("test.*idx")]:
        file.unlink()
    with pytest.raises(LayerdropError, match="no split 'test' in .*other"):
        find_split(f"{folder}:{other}", "test", training=True)


@pytest.mark.parametrize(
    ("kind", "other", "changed"),
    [
        (CLASSIFICATION, "input0/valid.bin", ["label/test.bin", "input0/test.idx", "input0/dict.txt"]),
        (TRANSLATION, "valid.de-en.en.bin", ["test.de-en.en.bin", "dict.de.txt", "test.en", "test.de"]),
        (LANGUAGE_MODEL, "preprocess.log", ["test.bin", "test.idx", "dict.txt"]),
    ],
)
def test_the_hash_is_of_contents_not_of_places(folders, tmp_path, kind, other, changed):
    folder = folders[kind]
    hashes = {find_split(folder, "test").sha256()}
    folder = folder.rename(tmp_path / "elsewhere")
    (folder / other).write_bytes(b"of no concern")
    hashes.add(find_split(folder, "test").sha256())
    assert len(hashes) == 1
    for count, name in enumerate(changed, start=2):
        (folder / name).write_bytes((folder / name).read_bytes() + b"more")
        hashes.add(find_split(folder, "test").sha256())
        assert len(hashes) == count, name
