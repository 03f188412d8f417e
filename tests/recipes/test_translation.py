"""Translation: train, prune, fine-tune, evaluate, compare: on a slice of the real data, with real fairseq commands."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from layerdrop_plugin.cli.inspect import describe
from layerdrop_plugin.results import record

from .conftest import RECIPES, environment, fails, recipe, succeeds

pytestmark = pytest.mark.recipe

# A model that trains in a second; what translate.sh --tiny-slice uses too.
TOY = {"NMT_UPDATES": "8", "NMT_WARMUP": "2", "NMT_SAVE_UPDATES": "2", "NMT_BEAM": "2", "LOG_INTERVAL": "2"}
TOY_SHAPE = [
    word
    for side in ("encoder", "decoder")
    for option, size in (("layers", 2), ("embed-dim", 32), ("ffn-embed-dim", 64), ("attention-heads", 2))
    for word in (f"--{side}-{option}", size)
]


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def run(*command, **variables):
    """A command of the user's, outside the recipes; returns its stdout."""
    done = subprocess.run(
        list(map(str, command)), env=environment(**variables), cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def translated(once, downloads):
    """The folder that translate.sh leaves, spaces in its name; `translated / "log"` is what it printed."""
    return once(
        "translate it",
        lambda out: succeeds("translate.sh", "--tiny-slice", "--out", out, "--downloads", downloads, cwd=out),
    )


@pytest.fixture(scope="module")
def data(translated):
    return translated / "data/en-de"


def test_translate_leaves_a_report_of_all_models(translated, data):
    rows = {row["name"]: row for row in read(translated / "report.json")["rows"]}
    assert list(rows) == [
        *("parent", "both-1-1", "both-1-1, fine-tuned"),
        *(f"{name}, CTranslate2 {kind}" for kind in ("float32", "int8") for name in ("parent", "both-1-1, fine-tuned")),
        *("parent at 2 updates", "copy of the source"),
    ]
    page = (translated / "report.md").read_text(encoding="utf-8")
    assert len(re.findall(r"CTranslate2 \S+: ctranslate2 \S+, \S+; \d+ of \d+ hypotheses are not those of", page)) == 4
    for name in ("report.md", "report.png", "latency.json"):
        assert (translated / name).stat().st_size > 500
    log = (translated / "log").read_text(encoding="utf-8")
    assert [int(n) for n in re.findall(r"^\[(\d)/9\]", log, re.M)] == list(range(1, 10))
    for command in ("fairseq-train", "fairseq-generate", "fairseq-validate", "layerdrop prune", "layerdrop score"):
        assert f"+ {command} " in log
    assert re.search(r"loss=[\d.]+.*num_updates=8", log)  # progress
    for file in (translated / "results").glob("[0-9].json"):
        assert read(file)["examples"] == len(lines(data / "test.de"))  # every sentence was counted


def test_translate_again_does_nothing(translated, downloads):
    before = {path: path.stat().st_mtime_ns for path in translated.rglob("*.pt")}
    log = succeeds("translate.sh", "--tiny-slice", "--out", translated, "--downloads", downloads)
    assert before == {path: path.stat().st_mtime_ns for path in translated.rglob("*.pt")}
    # data, training, pruning, fine-tuning, four results, timing; four exports and their results
    assert log.count("[done before]") == 17


def test_the_first_tenth_stays_and_the_dictionaries_lie_beside(translated, data):
    kept = [path.name for path in (translated / "parent").glob("checkpoint_*_*.pt")]
    assert sorted(kept) == [f"checkpoint_1_{updates}.pt" for updates in (2, 4, 6, 8)]
    for folder in ("parent", "pruned/both-1-1", "finetuned/both-1-1"):
        for name in ("dict.en.txt", "dict.de.txt", "sentencepiece.bpe.model"):
            assert (translated / folder / name).read_bytes() == (data / name).read_bytes()


def test_children_are_stock_checkpoints(translated, data):
    """Plain fairseq-generate, without --user-dir."""
    child = translated / "finetuned/both-1-1/checkpoint_best.pt"
    described = describe(child)
    assert described["architecture"] == "transformer" and described["task"] == "translation"
    assert described["encoder"]["layers"] == described["decoder"]["layers"] == 1
    options = ["--path", child, "--gen-subset", "valid", "--beam", "1", "--remove-bpe", "sentencepiece", "--cpu"]
    options += ["--required-batch-size-multiple", "1"]
    log = run("fairseq-generate", data, *options)
    assert len(re.findall(r"^D-\d+", log, re.M)) == len(lines(data / "valid.de"))


def test_models_translate_in_python_without_more_arguments(translated):
    program = """
import sys
from fairseq.models.transformer import TransformerModel
if sys.argv[2:]:
    import layerdrop_plugin
model = TransformerModel.from_pretrained(sys.argv[1], checkpoint_file="checkpoint_best.pt").eval()
tokens = model.encode("Save the current document.")
assert tokens[-1] == 2 and 3 not in tokens.tolist(), tokens
print([type(text).__name__ for text in model.translate(["Save the file.", "Close it."], beam=2, max_len_b=5)])
"""
    for arguments in (["finetuned/both-1-1"], ["parent", "plugin"]):
        assert "['str', 'str']" in run("python", "-c", program, translated / arguments[0], *arguments[1:])


def test_training_goes_on_after_a_kill_and_keeps_its_first_checkpoint(data, tmp_path):
    out = tmp_path / "par ent"
    variables = TOY | {"NMT_UPDATES": "60", "NMT_SAVE_UPDATES": "3", "LOG_INTERVAL": "3"}
    command = ["bash", RECIPES / "train_nmt.sh", "--data", data, "--out", out, *map(str, TOY_SHAPE)]
    process = subprocess.Popen(command, env=environment(**variables), stdout=subprocess.DEVNULL, start_new_session=True)
    last, deadline = out / "checkpoint_last.pt", time.monotonic() + 120
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert last.exists() and not (out / "done").exists()

    succeeds("train_nmt.sh", *command[2:], **variables)
    assert describe(last)["updates"] == 60
    assert (out / "train.log").read_text(encoding="utf-8").count("num_updates=3,") == 1  # resumed, not started again
    updates = sorted(int(path.stem.split("_")[-1]) for path in out.glob("checkpoint_*_*.pt"))
    assert updates[0] == 6 and sum(number % 6 > 0 for number in updates) == 1  # every tenth, and the newest other

    other = recipe("train_nmt.sh", *command[2:], **variables | {"NMT_LR": "5e-4"})
    assert other.returncode == 2 and "now: --lr 5e-4" in other.stderr


def test_fine_tuning_prunes_in_the_same_command_and_options_win(translated, data, tmp_path):
    parent = translated / "parent/checkpoint_best.pt"
    log = succeeds(
        "finetune_nmt.sh", "--data", data, "--from", parent, "--decoder-layers", "last:1", "--out", "out",
        "--seed", "3", "--lr", "2e-3", "--", "--dropout", "0.3", cwd=tmp_path,
        **TOY | {"NMT_FINETUNE_UPDATES": "2", "NMT_FINETUNE_WARMUP": "1"},
    )  # fmt: skip
    assert re.search(r"--seed 3 --lr 2e-3 --dropout 0.3 --save-dir", log)
    described = describe(tmp_path / "out/checkpoint_best.pt")
    assert (described["encoder"]["layers"], described["decoder"]["layers"]) == (2, 1)


def test_what_cannot_be_used_is_refused_in_one_line(translated, data, tmp_path):
    parent, out = translated / "parent/checkpoint_best.pt", ["--out", tmp_path / "out"]
    train = ["train_nmt.sh", "--data", data, *out]
    assert "--data is required" in fails("train_nmt.sh", *out)
    assert "gone: no such folder" in fails("train_nmt.sh", "--data", tmp_path / "gone", *out)
    assert "no translation data of the split 'train'" in fails("train_nmt.sh", "--data", tmp_path, *out)
    assert "no language pair en-fr in 'train', which has en-de" in fails(*train, "--src-lang", "en", "--tgt-lang", "fr")
    assert "gone.pt: no such file" in fails("finetune_nmt.sh", "--data", data, "--from", tmp_path / "gone.pt", *out)
    assert "keep" in fails("prune.sh", "--from", parent, "--decoder-layers", "even:0", *out)
    assert "--plan excludes" in fails(
        "prune.sh", "--from", parent, "--decoder-layers", "even:1", "--plan", parent, *out
    )
    evaluate = ["evaluate_nmt.sh", "--model", parent, "--data", data, "--out", tmp_path / "out/r.json"]
    assert "no translation data of the split 'dev'" in fails(*evaluate, "--split", "dev")
    assert not (tmp_path / "out").exists()


def test_translate_refuses_what_does_not_go_together(tmp_path):
    (tmp_path / "a.es").write_text("uno\ndos\n", encoding="utf-8")
    (tmp_path / "a.en").write_text("one\n", encoding="utf-8")
    common = ["translate.sh", "--out", tmp_path / "out", "--src", tmp_path / "a.es"]
    assert "--src and --tgt go together" in fails(*common)
    assert "gone: no such file" in fails(*common, "--tgt", tmp_path / "gone", "--src-lang", "es", "--tgt-lang", "en")
    assert "need --src-lang and --tgt-lang" in fails(*common, "--tgt", tmp_path / "a.en")
    assert "go together" in fails(*common, "--tgt", tmp_path / "a.en", "--src-lang", "es")
    assert "--src excludes --data" in fails(
        *common, "--tgt", tmp_path / "a.en", "--src-lang", "es", "--tgt-lang", "en", "--data", tmp_path
    )
    assert "needs --data" in fails(*common[:3], PRESET="wmt")
    assert "choose tiny" in fails(*common[:3], "--preset", "huge")
    assert "is not NAME=ENCODER-SPEC+DECODER-SPEC" in fails(*common[:3], NMT_CHILDREN="half")
    message = fails(*common, "--tgt", tmp_path / "a.en", "--src-lang", "es", "--tgt-lang", "en", "--tiny-slice")
    assert "lines" in message  # two against one
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a.en", "a.es"]


def test_sentences_of_our_own_and_prepared_data(data, tmp_path):
    """Own files to data, then a model of data as fairseq-preprocess leaves it: no text, no SentencePiece model."""
    for language in ("en", "de"):
        shutil.copy(data / f"train.{language}", tmp_path / f"my text.{language}")
    succeeds(
        "data/prepare_parallel.sh", "--src-lang", "xx", "--tgt-lang", "yy", "--out", "data", "--limit", 200,
        "--src", "my text.en", "--tgt", "my text.de", "--valid", 0.1, "--test", 0.1,
        "--vocab-size", 200, "--max-tokens-per-sentence", 150, cwd=tmp_path,
    )  # fmt: skip
    for path in [*(tmp_path / "data").glob("*.xx"), *(tmp_path / "data").glob("*.yy")]:
        path.unlink()
    (tmp_path / "data/sentencepiece.bpe.model").unlink()
    succeeds("train_nmt.sh", "--data", "data", "--out", "model", *TOY_SHAPE, cwd=tmp_path, **TOY)
    settings = (tmp_path / "model/settings.txt").read_text(encoding="utf-8")
    assert "--source-lang xx\n--target-lang yy\n" in settings and "--bpe" not in settings


def test_comparison(tmp_path, downloads):
    """A point for every depth: of the language model's 2 layers and of the decoder's 2, trained with p = 0.2 and 0.
    Started again it does what is missing, and says what failed."""
    compared = tmp_path / "com pare"
    options = ["--tiny-slice", "--seeds", 1, "--out", compared, "--downloads", downloads]
    log = succeeds("compare_layerdrop.sh", *options)
    points = [found["point"] for found in record.load([compared / "evaluated"])]
    assert {tuple(point[key] for key in ("task", "side", "kept", "train", "seed")) for point in points} == {
        (task, side, kept, f"p = {p}", 1)
        for task, side in (("masked-lm", "encoder"), ("translation", "decoder"))
        for kept in (1, 2)
        for p in ("0.2", "0")
    }
    assert list((compared / "children").iterdir()) == []
    assert (compared / "curves.png").stat().st_size > 500
    assert len(re.findall(r"^ +\d+:\d\d  (translation|masked-lm)-p0(\.2)?-seed1: done$", log, re.M)) == 4

    missing = compared / "evaluated/masked-lm-p0-seed1-encoder-1/evaluate.json"
    missing.unlink()
    (compared / "trained/translation-p0-seed1/checkpoint_last.pt").write_bytes(b"half")
    message = fails("compare_layerdrop.sh", *options)
    assert "1 of 4 jobs failed, the first being translation-p0-seed1: " in message and "not a whole" in message
    log = (compared / "logs/masked-lm-p0-seed1.log").read_text(encoding="utf-8")
    assert missing.exists() and log.count("+ layerdrop evaluate") == 1 and "+ fairseq-train" not in log
