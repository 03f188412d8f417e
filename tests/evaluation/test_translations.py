"""Translations of a session's model, their references, and the paired bootstrap of BLEU."""

import shutil

import checkpoints
import numpy as np
import pytest
import sacrebleu

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation import losses, session, translations


def test_references_are_the_folders_text(sessions, data):
    lines = (data / "test.b").read_text().splitlines()
    loaded = sessions["translation"]
    assert not (data / "nmt" / "test.b").exists()
    # put together from the binarised text
    assert translations.examples(loaded, "test", np.arange(21)).references == lines
    chosen = loaded.examples("test", 5)
    assert translations.examples(loaded, "test", chosen).references == [lines[number] for number in chosen]


def test_references_are_in_the_language_that_the_model_writes(data, tmp_path):
    path = checkpoints.save(tmp_path / "back.pt", data, "translation", "-s b -t a")  # on a folder named a-b
    folder = shutil.copytree(data / "nmt", tmp_path / "nmt")
    loaded = session.load(path, folder, cpu=True)
    lines = {language: (data / f"test.{language}").read_text().splitlines() for language in "ab"}
    assert translations.examples(loaded, "test", np.arange(21)).references == lines["a"]  # of the binarised text
    for language in "ab":
        shutil.copy(data / f"test.{language}", folder)
    found = translations.examples(loaded, "test", np.arange(21))
    assert found.references == lines["a"]
    words = loaded.task.source_dictionary
    for sample in found.batches:
        for number, tokens in zip(sample["id"], sample["net_input"]["src_tokens"], strict=True):
            assert words.string(tokens, extra_symbols_to_ignore={words.pad()}) == lines["b"][number]
    assert len({loaded.split(subset).sha256() for subset in ("train", "valid", "test")}) == 3


def test_references_in_the_folder_come_first(files, data, tmp_path):
    path, nmt = files["translation"]
    folder = shutil.copytree(nmt, tmp_path / "nmt")
    (folder / "test.b").write_text("".join(f"Line {number}\n" for number in range(21)))
    loaded = session.load(path, folder, cpu=True)
    assert translations.examples(loaded, "test", np.arange(21)).references == [f"Line {number}" for number in range(21)]
    (folder / "test.b").write_text("One line\n")
    with pytest.raises(LayerdropError, match="1 lines, but the data folder has 21"):
        translations.examples(loaded, "test", np.arange(21))


def test_translations_come_in_order_and_leave_the_model_as_it_was(sessions):
    loaded = sessions["translation"]
    batches = list(loaded.batches("test"))
    before = losses.measure_all(loaded, batches).losses
    found = translations.translator(loaded, batches, beam=3)()
    assert np.array_equal(losses.measure_all(loaded, batches).losses, before)
    assert translations.translator(loaded, batches[::-1], beam=3)() == found
    for sample in batches:  # whose own translations are the same ones
        numbers = sorted(sample["id"].tolist())
        assert translations.translator(loaded, [sample], beam=3)() == [found[number] for number in numbers]
    assert len(found) == 21 and not any("</s>" in line or "<pad>" in line for line in found)


def test_translations_are_compared_with_the_first():
    references = [f"the cat number {number} sat on the mat and slept well" for number in range(30)]
    worse = [line.replace("sat on the mat", "stood by a rug") if number % 2 else line
             for number, line in enumerate(references)]  # fmt: skip
    found, signature = translations.compare_with_first(
        {"whole": references, "same": list(references), "worse": worse}, references
    )
    assert found["whole"][0] == pytest.approx(100.0) and found["whole"][1] is None
    assert found["same"] == (pytest.approx(100.0), 1.0)
    assert found["worse"][1] < 0.01
    expected = sacrebleu.corpus_bleu(worse, [references]).score
    assert found["worse"][0] == pytest.approx(expected) == translations.bleu(worse, references)
    assert "bs:1000" in signature and "seed:12345" in signature
