"""What the recipes leave to Python: batches, data folders, checkpoints cut short, shapes, the installation."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .conftest import RECIPES

sys.path.insert(0, str(RECIPES / "lib"))
sys.path.insert(0, str(RECIPES / "data"))
from batches import share
from data_folder import count_examples, finetuning_options, language_pair
from installed import is_installed
from options import Declared, Refused, assignments, parse
from shape import kept, layers
from shape import options as shape_options
from training_checkpoints import first, repair
from training_log import failed, failure, progress

# ---------------------------------------------------------------- batches


@given(st.integers(1, 10**6), st.integers(1, 10**5), st.integers(1, 256))
def test_a_batch_is_the_same_on_any_number_of_gpus(batch, limit, workers):
    size, passes = share(batch, limit, workers)
    assert 1 <= size <= limit
    assert batch <= size * passes * workers < batch + passes * workers


@pytest.mark.parametrize(
    ("batch", "limit", "workers", "expected"),
    [(32, 32, 1, (32, 1)), (32, 32, 4, (8, 1)), (8192, 16, 1, (16, 512)), (458752, 3584, 8, (3584, 16))],
)
def test_batches_of_the_presets(batch, limit, workers, expected):
    assert share(batch, limit, workers) == expected


# ---------------------------------------------------------------- data folders


def translation_data(folder, *names):
    """Empty files of a data folder; dictionaries of es, en and de."""
    folder.mkdir(exist_ok=True)
    for name in (*names, "dict.es.txt", "dict.en.txt", "dict.de.txt"):
        (folder / name).touch()
    return folder


def test_the_language_pair_is_that_of_the_files(tmp_path):
    data = translation_data(
        tmp_path, "train.es-en.es.idx", "train.es-en.en.idx", "test.de-en.de.idx", "test.es-en.es.idx", "test.es"
    )
    assert language_pair(data, "train") == ("es", "en")
    assert language_pair(data, "test", "es") == language_pair(data, "test", target="en", source="es") == ("es", "en")


@pytest.mark.parametrize(
    ("split", "pair", "expected"),
    [
        ("dev", (), "no translation data of the split 'dev'"),
        ("test", (), "has de-en es-en: choose with --src-lang and --tgt-lang"),
        ("test", ("fr",), "no language pair fr-any in 'test', which has de-en es-en"),
        ("valid", (), "dict.fr.txt: no such file"),
    ],
)
def test_pairs_that_are_not_there_or_not_one(tmp_path, split, pair, expected):
    data = translation_data(tmp_path, "test.de-en.de.idx", "test.es-en.es.idx", "valid.fr-en.fr.idx", "train.x-y.y.idx")
    with pytest.raises(SystemExit, match=expected):
        language_pair(data, split, *pair)


@pytest.fixture
def sentences(tmp_path):
    """A sentence_prediction folder of 70 training examples with three labels, made by fairseq."""
    import torch
    from fairseq.data import indexed_dataset

    for folder in ("input0", "label"):
        (tmp_path / folder).mkdir()
    builder = indexed_dataset.make_builder(str(tmp_path / "input0/train.bin"), impl="mmap", vocab_size=10)
    for _ in range(70):
        builder.add_item(torch.tensor([4, 5, 2]))
    builder.finalize(str(tmp_path / "input0/train.idx"))
    (tmp_path / "label/dict.txt").write_text("a 30\nb 30\nc 10\n")
    (tmp_path / "label/train.label").write_text("1.5\n" * 70)
    return tmp_path


def test_fine_tuning_ends_with_its_epochs(sentences):
    assert count_examples(sentences / "input0/train.idx") == 70
    words = finetuning_options(sentences, batch=32, epochs=20)
    assert dict(zip(words[-6::2], words[-5::2], strict=True)) == {
        "--total-num-update": "60", "--warmup-updates": "3", "--max-epoch": "20",
    }  # fmt: skip
    assert words[:2] == ["--num-classes", "3"] and "--maximize-best-checkpoint-metric" in words


def test_labels_are_numbers_where_said_or_where_no_dictionary_is(sentences):
    said = finetuning_options(sentences, 32, 1, regression=True)
    assert said[:3] == ["--num-classes", "1", "--regression-target"]
    (sentences / "label/dict.txt").unlink()
    assert finetuning_options(sentences, 32, 1) == said
    (sentences / "label/train.label").unlink()
    with pytest.raises(SystemExit, match=r"train\.label: no such file"):
        finetuning_options(sentences, 32, 1)


@pytest.mark.parametrize("content", [None, b"MMIDIDX"])
def test_an_index_that_cannot_be_read(sentences, content):
    index = sentences / "input0/train.idx"
    index.unlink()
    if content:
        index.write_bytes(content)
    with pytest.raises(SystemExit, match=r"train\.idx: no such file, or no index"):
        finetuning_options(sentences, 32, 1)


# ---------------------------------------------------------------- checkpoints


def whole(paths):
    """Stands for `layerdrop check`."""
    return all(Path(path).read_text().startswith("whole") for path in paths)


def write(folder, **contents):
    """checkpoint_NAME.pt, each a second newer than the one before."""
    for age, (name, content) in enumerate(contents.items()):
        path = folder / f"checkpoint_{name}.pt"
        path.write_text(content)
        os.utime(path, (10**9 + age, 10**9 + age))


def read(folder):
    return {path.name.removeprefix("checkpoint_").removesuffix(".pt"): path.read_text() for path in folder.iterdir()}


def test_what_a_kill_cut_short_is_replaced_by_the_newest_whole_file(tmp_path):
    write(tmp_path, best="ha", last="whole 1", **{"1_20": "whole 2", "1_30": "ha"})
    (tmp_path / "checkpoint_last.pt.tmp").touch()
    said = repair(tmp_path, whole)
    assert read(tmp_path) == {"best": "whole 2", "last": "whole 1", "1_20": "whole 2"}
    assert len(said) == 3 and all(line.startswith("[repair] ") for line in said)


def test_nothing_is_done_to_whole_files(tmp_path):
    write(tmp_path, best="whole 1", last="whole 2")
    assert repair(tmp_path, whole) == []
    assert read(tmp_path) == {"best": "whole 1", "last": "whole 2"}
    assert repair(tmp_path / "gone", whole) == []


def test_a_missing_last_checkpoint_is_the_newest(tmp_path):
    write(tmp_path, **{"1_10": "whole 1", "1_20": "whole 2"})
    repair(tmp_path, whole)
    assert read(tmp_path)["last"] == "whole 2" and "best" not in read(tmp_path)


def test_nothing_whole_is_nothing_at_all(tmp_path):
    write(tmp_path, best="ha", last="ha")
    assert len(repair(tmp_path, whole)) == 2 and read(tmp_path) == {}


def test_the_first_checkpoint_has_the_fewest_updates(tmp_path):
    assert first(tmp_path) is None
    write(tmp_path, best="", last="", **{"2_100": "", "1_20": "", "10_3": ""})
    assert first(tmp_path).name == "checkpoint_10_3.pt"


# ---------------------------------------------------------------- the log of a training

INNER = "2026-01-02 03:04:05 | INFO | train_inner | epoch 001:  2 / 4 loss=8.1, ppl=275, wps=90, num_updates=2, lr=1"
VALID = "2026-01-02 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 8.1 | ppl 275 | wps 0 | num_updates 2"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (INNER, "    epoch 001:  2 / 4 loss=8.1, wps=90, num_updates=2, lr=1"),
        (VALID, "    epoch 001 | valid on 'valid' subset | loss 8.1 | num_updates 2"),
        ("2026 | WARNING | layerdrop_plugin.tasks | a layer is gone\n", "    a layer is gone"),
        ("2026 | WARNING | fairseq.tasks | x", None),
        ("2026 | INFO | fairseq_cli.train | Namespace(...)", None),
        ("", None),
    ],
)
def test_what_a_person_watches_of_a_training(line, shown):
    assert progress(line) == shown


def test_a_training_keeps_every_byte_of_its_log_and_its_status(tmp_path):
    log = b"before\n\xff\r\n" + INNER.encode() + b"\nno end"
    (tmp_path / "said").write_bytes(log)
    (tmp_path / "train.log").write_bytes(b"old\n")
    script = [sys.executable, RECIPES / "lib/training_log.py", "run", tmp_path / "train.log"]
    command = ["sh", "-c", 'cat "$0" >&2; exit 7', tmp_path / "said"]
    done = subprocess.run([*script, *command], capture_output=True, check=False)
    assert done.returncode == 7 and done.stdout.count(b"\n") == 1
    assert (tmp_path / "train.log").read_bytes() == b"old\n" + log


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("a\nb\n \n", ("b", "")),
        ("", ("", "")),
        ("Traceback (1)\nTraceback (2)\n  x\nError: y\n", ("Error: y", "Traceback (2)\n  x\nError: y\n")),
    ],
)
def test_why_a_training_failed(log, expected):
    assert failure(log) == expected


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_failed_training_leaves_nothing_but_checkpoints(tmp_path, capsys, checkpoint):
    out = tmp_path / "out"
    out.mkdir()
    names = {"settings.txt", ".lock", *(["checkpoint_1_2.pt"] if checkpoint else [])}
    for name in names:
        (out / name).touch()
    (out / "train.log").write_text("Traceback\nError: no\n")
    failed(out)
    assert tuple(capsys.readouterr()) == ("Error: no\n", "Traceback\nError: no\n")
    assert {path.name for path in out.iterdir()} == names | {"train.log"} if checkpoint else not out.exists()


# ---------------------------------------------------------------- shapes


def test_the_options_of_a_shape():
    described = {
        "encoder": {"layers": 3, "embed_dim": 32, "ffn": 64, "heads": 2},
        "decoder": None,
        "max_positions": 66,
        "options": {"activation_fn": "gelu", "encoder_normalize_before": True, "untie_weights_roberta": False},
    }
    expected = "--encoder-layers 3 --encoder-embed-dim 32 --encoder-ffn-embed-dim 64 --encoder-attention-heads 2"
    expected += " --max-positions 66 --activation-fn gelu --encoder-normalize-before"
    assert shape_options(described) == expected.split()
    assert layers(described) == ["3", "0"]
    assert layers(described | {"decoder": {"layers": 2}}) == ["3", "2"]
    bert = described | {"options": {"layernorm_eps": 1e-12, "segment_embeddings": 2}}
    assert shape_options(bert)[-4:] == ["--layernorm-eps", "1e-12", "--segment-embeddings", "2"]
    assert kept({"provenance": {"plan": {"encoder": {"layers": [1, 3]}}}}) == ["1,3"]


# ---------------------------------------------------------------- the installation


def test_the_plugin_is_this_checkouts_and_what_it_needs_is_there(tmp_path):
    here = RECIPES.parent / "layerdrop_plugin"
    script = [sys.executable, RECIPES / "lib/installed.py"]
    # wherever it is asked, as long as this checkout is the one that is imported
    there = {"env": os.environ | {"PYTHONPATH": str(RECIPES.parent)}, "cwd": RECIPES.parent}
    assert subprocess.run([*script, here, "json"], check=False, **there).returncode == 0
    assert subprocess.run([*script, here, "no_such_module"], check=False, **there).returncode == 1
    (tmp_path / "layerdrop_plugin").mkdir()
    assert subprocess.run([*script, tmp_path / "layerdrop_plugin"], check=False, **there).returncode == 1
    assert not is_installed(here, "no_such_module")


# ---------------------------------------------------------------- options

LINES = ["   --name WORD     a name", "   --flag          none", "   --*             more"]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), st.lists(st.text(min_size=1)))
def test_any_word_is_a_value_and_what_follows_two_hyphens_is_untouched(word, rest):
    declared = Declared(LINES, {})
    assert parse(declared, [f"--name={word}", "--", *rest], "/") == ({"--name": word}, rest)


def test_assignments_are_what_bash_reads():
    declared = Declared(LINES, {})
    text = "\n".join(assignments(declared, {"--name": "it's $(x) `y`\n"}, ["a b", "'"]))
    script = f'declare -A KIND\n{text}\nprintf "%s|" "$NAME" "$FLAG" "${{OTHERS[@]}}" "${{KIND[--name]}}"'
    printed = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed == "it's $(x) `y`\n||a b|'|WORD|"


def test_a_default_comes_from_the_environment_where_the_comment_says_so():
    lines = [
        "   --preset NAME   [env: PRESET]",
        "                   [default: tiny]",
        "   --out PATH      [default: out]",
    ]
    assert Declared(lines, {"PRESET": ""}).defaults == {"--preset": "tiny", "--out": "out"}
    with pytest.raises(Refused, match="unknown argument --x"):
        parse(Declared(lines, {}), ["--x"], "/")
