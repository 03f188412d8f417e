"""tokenizer.json from the older files of RoBERTa and XLM-R, against the tokenizers that those files are of."""

import json
import random

import builders
import pytest
from hf_folders import REFERENCES, load
from hypothesis import given, settings
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.interop.import_hf import import_folder
from layerdrop_plugin.interop.make_tokenizer import folder_tokenizer
from layerdrop_plugin.interop.tokenizer import FolderTokenizer

TEXTS = st.text("abcdeß éÉ１ﬁ\u00a0\u200b\u3000中.,!'0", max_size=30)


def sentencepiece_model(folder, **options):
    """Train sentencepiece.bpe.model in *folder* on random words; returns its processor."""
    library = pytest.importorskip("sentencepiece")
    rng = random.Random(0)
    lines = [
        " ".join("".join(rng.choices("abcdeé中", k=rng.randint(1, 5))) for _ in range(rng.randint(2, 6)))
        for _ in range(200)
    ]
    (folder / "text").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    library.SentencePieceTrainer.train(
        input=str(folder / "text"),
        model_prefix=str(folder / "sentencepiece.bpe"),
        **({"vocab_size": 48, "model_type": "unigram", "minloglevel": 2, "hard_vocab_limit": False} | options),
    )
    return library.SentencePieceProcessor(model_file=str(folder / "sentencepiece.bpe.model"))


@pytest.fixture(scope="module", params=[{}, {"normalization_rule_name": "identity"}, {"add_dummy_prefix": False}])
def unigram(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unigram")
    return sentencepiece_model(folder, **request.param), folder_tokenizer(folder, one_separator=False)


@given(text=TEXTS)
@settings(max_examples=100, deadline=None)
def test_unigram_pieces_are_sentencepieces(unigram, text):
    """Their numbers too: one more than SentencePiece's, but for the first, as in XLM-R's dictionary."""
    processor, made = unigram
    numbers = processor.encode(text)
    found = made.tokenizer.encode(text, add_special_tokens=False).ids
    assert found == [number + 1 if number else made.tokenizer.token_to_id("<unk>") for number in numbers]
    assert made.tokenizer.encode(text).ids == [0, *found, 2]


def test_unigram_pairs_and_masks(unigram):
    _, made = unigram
    assert made.pair_format.separators == 2 and not made.pair_format.segments
    mask = made.tokenizer.token_to_id("<mask>")
    assert made.tokenizer.encode("ab <mask>").ids[-2:] == [mask, 2]
    assert mask == made.tokenizer.get_vocab_size() - 1
    assert made.decode(made.encode("ab ca")) == "ab ca"


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory):
    """transformers' own tokenizer.json of the reference, and the one made without it."""
    folder = tmp_path_factory.mktemp("byte_level")
    for path in (REFERENCES / "roberta_classes").iterdir():
        if path.name != "tokenizer.json":
            (folder / path.name).write_bytes(path.read_bytes())
    return FolderTokenizer.load(REFERENCES / "roberta_classes"), folder_tokenizer(folder, one_separator=False), folder


@given(text=TEXTS, second=TEXTS)
@settings(max_examples=100, deadline=None)
def test_byte_level_pieces_are_robertas(byte_level, text, second):
    theirs, mine, _ = byte_level
    assert mine.tokenizer.encode(text, second).ids == theirs.tokenizer.encode(text, second).ids
    assert mine.encode(text) == theirs.encode(text)
    assert mine.decode(mine.encode(text)) == theirs.decode(theirs.encode(text))
    assert mine.pair_format == theirs.pair_format


def test_a_roberta_without_tokenizer_json_is_imported(byte_level, imported, tmp_path):
    import_folder(byte_level[2], tmp_path / "out")
    whole, _ = imported("roberta_classes")
    assert (tmp_path / "out" / "dict.txt").read_bytes() == (whole / "dict.txt").read_bytes()
    ours, theirs = load(tmp_path / "out"), load(whole)
    for pair in (["the film <mask>"], ["a good film", "bad, é"]):
        assert ours.encode(*pair).equal(theirs.encode(*pair))


def test_an_xlm_roberta_with_a_sentencepiece_model_only_is_imported(copy, tmp_path):
    folder = copy("xlm_roberta")
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink()
    processor = sentencepiece_model(folder)
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    assert processor.get_piece_size() + 2 <= rows
    run = builders.run("layerdrop", "import-hf", folder, tmp_path / "out")
    assert run.stdout.splitlines()[-1] == f"wrote {tmp_path / 'out'}"
    hub = load(tmp_path / "out")
    text = "abc caé"
    pieces = [hub.task.source_dictionary[number] for number in hub.encode(text)]
    assert pieces == ["<s>", *processor.encode(text, out_type=str), "</s>"]


BPE = "roberta_classes"
BAD = {
    "no merges": (BPE, lambda folder: (folder / "merges.txt").unlink(), "nor vocab.json with merges.txt: write the"),
    "broken merges": (BPE, lambda folder: (folder / "merges.txt").write_text("zq qz\n"), "are no byte-level BPE: "),
    "broken vocabulary": (BPE, lambda folder: (folder / "vocab.json").write_text("{"), "are no byte-level BPE: "),
    "no model": (
        "xlm_roberta",
        lambda folder: (folder / "sentencepiece.bpe.model").write_bytes(b"no model"),
        "sentencepiece.bpe.model cannot be read: it is no SentencePiece model",
    ),
    "bpe": ("xlm_roberta", lambda folder: sentencepiece_model(folder, model_type="bpe"), "is no Unigram model"),
    "first pieces": (
        "xlm_roberta",
        lambda folder: sentencepiece_model(folder, pad_id=0, unk_id=1, bos_id=2, eos_id=3),
        "does not begin with <unk> <s> </s>",
    ),
    "user-defined": (
        "xlm_roberta",
        lambda folder: sentencepiece_model(folder, user_defined_symbols=["ab"]),
        "its piece 'ab' is user-defined",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_files_that_make_no_tokenizer_are_refused(case, copy, tmp_path):
    name, change, message = BAD[case]
    folder = copy(name)
    (folder / "tokenizer.json").unlink()
    change(folder)
    with pytest.raises(LayerdropError, match=message) as refused:
        import_folder(folder, tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()
