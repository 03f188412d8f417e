"""``layerdrop prune --vocab``: the child's folder, and what fairseq makes of it."""

import json
import random
import shutil
import sys

import builders
import checkpoints
import pytest
import torch
from fairseq.models.roberta import RobertaModel

from layerdrop_plugin import checkpoint
from layerdrop_plugin.pruning import surgery

SENTENCEPIECE = "sentencepiece.bpe.model"
PLUGIN = ("--user-dir", builders.USER_DIR)


def text(count: int = 150, seed: int = 0) -> list[str]:
    """Random sentences; from another seed of other words."""
    rng = random.Random(seed)
    some = ["".join(rng.choices("abcdefgh你好", k=rng.randint(1, 6))) for _ in range(60)]
    return [" ".join(rng.choices(some, k=rng.randint(2, 7))) for _ in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A masked LM, its dictionary and SentencePiece model in ``lm``, a corpus that uses a part of it, and data."""
    import sentencepiece

    root = tmp_path_factory.mktemp("roberta")
    home = root / "lm"
    home.mkdir()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text()),
        model_prefix=str(root / "spm"),
        vocab_size=120,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    shutil.move(root / "spm.model", home / SENTENCEPIECE)
    model = sentencepiece.SentencePieceProcessor(model_file=str(home / SENTENCEPIECE))
    pieces = [model.id_to_piece(number) for number in range(3, model.vocab_size())]
    (home / "dict.txt").write_text("".join(f"{piece} {100 - number}\n" for number, piece in enumerate(pieces[:-5])))
    (root / "corpus.txt").write_text("\n".join([*text()[:4], "xyz 你"]) + "\n")
    for name in ("train", "valid"):
        lines = [" ".join(model.Encode(line, out_type=str)) for line in text()[:20]]
        (root / f"{name}.pieces").write_text("\n".join(lines) + "\n")
    checkpoints.save(
        home / "parent.pt", root, "masked_lm", f"--bpe sentencepiece --sentencepiece-model {home / SENTENCEPIECE}"
    )
    preprocess(root, home, home / "dict.txt")
    return root


def preprocess(root, destination, dictionary) -> None:
    builders.run(
        *("fairseq-preprocess", "--only-source", "--srcdict", dictionary, "--destdir", destination / "data"),
        *("--trainpref", root / "train.pieces", "--validpref", root / "valid.pieces", "--workers", "1"),
    )


@pytest.fixture
def pruned(folder, layerdrop, tmp_path):
    """Prune the parent by the corpus, with more options; returns what was printed."""

    def prune(*options):
        status, output, error = layerdrop(
            "prune", folder / "lm" / "parent.pt", tmp_path / "child.pt", "--vocab", folder / "corpus.txt", *options
        )
        assert (status, error) == (0, "")
        return output

    return prune


def hub(folder, name):
    return RobertaModel.from_pretrained(str(folder), name, data_name_or_path=str(folder)).eval()


def test_a_corpus_is_tokenised_and_computed_as_before(folder, pruned, tmp_path):
    said = pruned("--encoder-layers", "keep:0,1")
    before, after = hub(folder / "lm", "parent.pt"), hub(tmp_path, "child.pt")
    assert checkpoint.read(tmp_path / "child.pt")["cfg"]["model"]["_name"] == "roberta"
    old, new = before.task.source_dictionary, after.task.source_dictionary
    assert len(new) < len(old) and f"{len(new)} of {len(old)} embedding rows kept" in said
    assert new.symbols[-1] == "<mask>" and "not in dict.txt, so unknown as before" in said
    rows = torch.tensor([old.index(symbol) for symbol in new.symbols])
    for line in (folder / "corpus.txt").read_text().splitlines():
        assert after.bpe.encode(line) == before.bpe.encode(line)
        tokens = after.encode(line)
        assert torch.equal(rows[tokens], before.encode(line))
        with torch.no_grad():
            hidden = zip(
                before.extract_features(before.encode(line), return_all_hiddens=True),
                after.extract_features(tokens, return_all_hiddens=True),
                strict=True,
            )
            for expected, found in hidden:
                torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
            logits, expected = after.model(tokens[None])[0], before.model(before.encode(line)[None])[0]
            torch.testing.assert_close(logits, expected[..., rows], atol=1e-6, rtol=1e-6)


def test_the_files_are_complete_and_the_plan_says_what_was_done(folder, pruned, layerdrop, tmp_path):
    pruned("--encoder-layers", "first:1")
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"child.pt", "dict.txt", "input0/dict.txt", SENTENCEPIECE}
    assert (tmp_path / "dict.txt").read_text() == (tmp_path / "input0" / "dict.txt").read_text()
    lines = (folder / "lm" / "dict.txt").read_text().splitlines()
    assert [line for line in lines if line in (tmp_path / "dict.txt").read_text().splitlines()] == (
        tmp_path / "dict.txt"
    ).read_text().splitlines()
    cfg = checkpoint.read(tmp_path / "child.pt")["cfg"]
    assert cfg["model"]["_name"] == "roberta" and cfg["bpe"]["sentencepiece_model"] == SENTENCEPIECE
    plan = surgery.whole_plan(cfg[checkpoint.PROVENANCE])
    assert f"{len(plan.vocabulary.source)} of " in layerdrop("inspect", tmp_path / "child.pt")[1]
    # The plan alone gives the same child.
    (tmp_path / "plan.json").write_text(plan.to_json())
    (tmp_path / "again").mkdir()
    layerdrop("prune", folder / "lm" / "parent.pt", tmp_path / "again" / "child.pt", "--plan", tmp_path / "plan.json")
    for name in ("dict.txt", "input0/dict.txt"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()
    weights = checkpoint.read(tmp_path / "child.pt")["model"]
    again = checkpoint.read(tmp_path / "again" / "child.pt")["model"]
    line = text()[0]
    assert hub(tmp_path / "again", "child.pt").bpe.encode(line) == hub(folder / "lm", "parent.pt").bpe.encode(line)
    assert all(torch.equal(weight, again[name]) for name, weight in weights.items())
    # And a child is pruned again, from its own folder.
    (tmp_path / "third").mkdir()
    (tmp_path / "few.txt").write_text(text()[0] + "\n")
    status, output, _ = layerdrop(
        "prune", tmp_path / "child.pt", tmp_path / "third" / "child.pt", "--vocab", tmp_path / "few.txt"
    )
    assert status == 0 and f"of {len(plan.vocabulary.source)} embedding rows" in output
    assert len(hub(tmp_path / "third", "child.pt").encode(text()[0])) > 2


def test_data_made_with_the_old_dictionary_are_refused(folder, pruned, tmp_path):
    """By fairseq's commands with the plugin, by ours, and when a training starts from the child."""
    pruned()
    old, child = folder / "lm" / "data", tmp_path / "child.pt"
    masked = ("--task", "masked_lm", "--criterion", "masked_lm")
    train = (*masked, "--tokens-per-sample", "16", "--max-update", "1", *builders.TRAIN, "--arch", "layerdrop_roberta")
    train = (*train, *checkpoints.ENCODER.split(), "--max-positions", "40", "--save-dir", tmp_path / "out")
    commands = [
        ("fairseq-validate", old, *masked, "--path", child, "--batch-size", "8", "--cpu", *PLUGIN),
        ("layerdrop", "evaluate", old, "--path", child, "--subset", "valid", "--out", tmp_path / "evaluation"),
        ("fairseq-train", old, *train, "--finetune-from-model", child),
    ]
    for command in commands:
        result = builders.run(*command, check=False)
        assert result.returncode == 1 and "Traceback" not in result.stdout
        assert "trained with another dictionary than the data's" in result.stdout.strip().splitlines()[-1]
    # With its own dictionary the same commands work.
    preprocess(folder, tmp_path, tmp_path / "dict.txt")
    for command in commands:
        builders.run(*(tmp_path / "data" if part == old else part for part in command))


def test_all_characters(folder, pruned, tmp_path):
    pruned("--vocab-characters", "all")
    old, new = ({line.split()[0] for line in (at / "dict.txt").open()} for at in (folder / "lm", tmp_path))
    assert {piece for piece in old if len(piece) == 1} <= new < old


def test_a_list_of_tokens(folder, pruned, layerdrop, tmp_path):
    pieces = [line.split()[0] for line in (folder / "lm" / "dict.txt").open()]
    (tmp_path / "tokens.txt").write_text("\n".join(pieces[:30:3]) + "\n")
    command = ("prune", folder / "lm" / "parent.pt", tmp_path / "child.pt", "--vocab", tmp_path / "tokens.txt")
    status, _, error = layerdrop(*command)
    assert status == 1 and "looks like pieces" in error
    assert layerdrop(*command, "--vocab-format", "pieces")[0] == 0
    assert set(pieces[:30:3]) <= {line.split()[0] for line in (tmp_path / "dict.txt").open()}


@pytest.mark.parametrize("case", ["joined", "separate"])
def test_a_translation_model(case, data, layerdrop, tmp_path):
    """Pieces are the data's words; the child translates data made with its dictionaries, without overrides."""
    root = tmp_path / "data"
    shutil.copytree(data / "nmt", root / "nmt")
    joined = case == "joined"
    if not joined:
        lines = (root / "nmt" / "dict.b.txt").read_text().splitlines()
        (root / "nmt" / "dict.b.txt").write_text("\n".join(lines[::-1]) + "\n")
    more = "" if joined else "--no-share"
    path = root / "nmt" / "parent.pt"
    save_translator(path, root, share=not more)
    few = [" ".join(sorted({f"w{number}" for number in range(1, 30)}))]
    for side, lines in (("a", few), ("b", [few[0].replace("w2 ", "w30 ")])):
        (tmp_path / f"corpus.{side}").write_text("\n".join(lines) + "\n")
    (tmp_path / "out").mkdir()
    status, output, error = layerdrop(
        *("prune", path, tmp_path / "out" / "child.pt", "--decoder-layers", "first:1"),
        *("--vocab", tmp_path / "corpus.a", "--target-vocab", tmp_path / "corpus.b"),
    )
    assert (status, error) == (0, "")
    left = {side: {line.split()[0] for line in (tmp_path / "out" / f"dict.{side}.txt").open()} for side in "ab"}
    assert (left["a"] == left["b"]) == joined
    assert ("w2" in left["b"], "w30" in left["a"]) == (joined, joined)
    for side in "ab":
        shutil.copy(data / f"test.{side}", tmp_path)
    dictionaries = [part for side, name in (("a", "src"), ("b", "tgt"))
                    for part in (f"--{name}dict", tmp_path / "out" / f"dict.{side}.txt")]  # fmt: skip
    builders.run(
        *("fairseq-preprocess", "-s", "a", "-t", "b", "--testpref", tmp_path / "test", "--workers", "1"),
        *("--destdir", tmp_path / "binarised", *dictionaries),
    )
    for plugin in ((), PLUGIN):
        generated = builders.run(
            *("fairseq-generate", tmp_path / "binarised", "--path", tmp_path / "out" / "child.pt", *builders.GENERATE),
            *plugin,
        ).stdout
        assert sum(line.startswith("H-") for line in generated.splitlines()) == 21
    refused = builders.run(
        *("fairseq-generate", root / "nmt", "--path", tmp_path / "out" / "child.pt", *builders.GENERATE, *PLUGIN),
        check=False,
    )
    assert "another dictionary" in refused.stdout.strip().splitlines()[-1] and refused.returncode == 1


def save_translator(path, root, share: bool) -> None:
    folder, words = checkpoints.KINDS["translation"]
    if not share:
        words = words.replace("--share-all-embeddings", "--share-decoder-input-output-embed")
    kinds = checkpoints.KINDS | {"separate": (folder, words)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "KINDS", kinds)
        checkpoints.save(path, root, "separate")


@pytest.mark.parametrize(
    ("corpus", "options", "message"),
    [
        ("", [], "nothing in it is in"),
        ("ξζ\n", [], "nothing in it is in"),
        (None, [], "cannot read the vocabulary file"),
        (b"\xff\xfe\x00", [], "is no UTF-8"),
        ("ab", ["--vocab-from", "EMPTY"], "no dict.txt or input0/dict.txt in"),
        ("ab", ["--vocab-from", "OTHER"], "another model's dictionary"),
        ("ab", ["--vocab-from", "BARE", "--vocab-format", "text"], "has no tokenizer"),
        ("ab", ["--vocab-from", "BROKEN"], "no SentencePiece model"),
        ("ab", ["--vocab-from", "TWO"], "leave only the model's own"),
        ("ab", ["--target-vocab", "CORPUS"], "no target vocabulary of its own"),
        ("ab", ["--plan", "PLAN"], "names the rows of the vocabulary already"),
        ("ab", ["PARENTS"], "would take their place"),
        ("ab", ["EXISTS"], "dict.txt is there already"),
    ],
)
def test_bad_input(corpus, options, message, folder, layerdrop, tmp_path):
    given = {"CORPUS": tmp_path / "corpus.txt", "PLAN": tmp_path / "plan.json"}
    if corpus is not None:
        given["CORPUS"].write_bytes(corpus if isinstance(corpus, bytes) else corpus.encode())
    given["PLAN"].write_text('{"version": 1, "vocabulary": {"source": "0-9"}}')
    contents = (folder / "lm" / "dict.txt").read_text()
    for name in ("EMPTY", "OTHER", "BARE", "BROKEN", "TWO"):
        given[name] = tmp_path / name
        given[name].mkdir()
        if name != "EMPTY":
            (given[name] / "dict.txt").write_text(contents if name != "OTHER" else contents.replace("a", "A", 1))
    (given["BROKEN"] / SENTENCEPIECE).write_bytes(b"broken")
    (given["TWO"] / SENTENCEPIECE).write_bytes(b"")
    (given["TWO"] / "tokenizer.json").write_text("{}")
    out = tmp_path / "out"
    out.mkdir()
    child = folder / "lm" / "child.pt" if options == ["PARENTS"] else out / "child.pt"
    if options == ["EXISTS"]:
        (out / "dict.txt").write_text("mine 1\n")
    options = [] if options in (["PARENTS"], ["EXISTS"]) else options
    before = {path: path.read_bytes() for path in (*out.rglob("*"), *(folder / "lm").glob("*.*"))}
    status, _, error = layerdrop(
        "prune", folder / "lm" / "parent.pt", child, "--vocab", given["CORPUS"], *(given.get(o, o) for o in options)
    )
    assert status == 1 and message in error and "\n" not in error
    assert {path: path.read_bytes() for path in (*out.rglob("*"), *(folder / "lm").glob("*.*"))} == before


def test_options_without_a_vocabulary_are_refused(folder, layerdrop, tmp_path):
    command = ("prune", folder / "lm" / "parent.pt", tmp_path / "child.pt", "--encoder-layers", "first:1")
    status, _, error = layerdrop(*command, "--vocab-characters", "all")
    assert status == 1 and "say how --vocab works" in error


def test_the_pruning_tasks_refuse_a_plan_with_rows(folder, tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps({"version": 1, "vocabulary": {"source": "0-9"}}))
    command = (
        *("fairseq-train", folder / "lm" / "data", "--task", "pruning_masked_lm", "--criterion", "masked_lm"),
        *("--arch", "layerdrop_roberta", "--prune-from", folder / "lm" / "parent.pt", *builders.TRAIN),
        *("--prune-plan", tmp_path / "plan.json", "--tokens-per-sample", "16", "--save-dir", tmp_path / "out"),
    )
    result = builders.run(*command, check=False)
    assert result.returncode == 1
    assert "prunes the vocabulary" in result.stdout.strip().splitlines()[-1]


def test_a_child_answers_without_this_plugin(folder, pruned, tmp_path):
    pruned("--encoder-layers", "first:1")
    code = f"""
import sys
from fairseq.models.roberta import RobertaModel
model = RobertaModel.from_pretrained({str(tmp_path)!r}, "child.pt", data_name_or_path={str(tmp_path)!r}).eval()
assert "layerdrop_plugin" not in sys.modules
print(tuple(model.extract_features(model.encode({text()[0]!r})).shape))
"""
    patched = "import torch, argparse; torch.serialization.add_safe_globals([argparse.Namespace])\n" + code
    assert builders.run(sys.executable, "-c", patched, cwd="/").stdout.strip().endswith(", 8)")
