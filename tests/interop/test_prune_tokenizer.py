"""Tokenizers that lost pieces: a text whose pieces stayed is tokenised as before."""

import io
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.interop.prune_sentencepiece import SentencePieceModel
from layerdrop_plugin.interop.prune_tokenizer import needed, pieces_of, prune_tokenizer

LETTERS = "abcdeé你好"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
words = st.lists(st.text(LETTERS + "zQ", min_size=1, max_size=8), min_size=1, max_size=6)


def sentences(count: int = 200, seed: int = 0) -> list[str]:
    """Random text in which some words are frequent."""
    rng = random.Random(seed)
    some = ["".join(rng.choices(LETTERS, k=rng.randint(1, 7))) for _ in range(80)]
    return [" ".join(rng.choices(some, weights=range(1, 81), k=6)) for _ in range(count)]


def trained(kind: str, library) -> dict:
    """The plain form of a tokenizer of a *kind* of model, trained on :func:`sentences`."""
    models, trainers, split = library.models, library.trainers, library.pre_tokenizers
    unknown = {"unk_token": "[UNK]"}
    if kind == "WordPiece":
        model, before = models.WordPiece(**unknown, max_input_chars_per_word=7), split.Whitespace()
        trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=SPECIAL, show_progress=False)
    elif kind == "Unigram":
        model, before = models.Unigram(), split.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=70, special_tokens=SPECIAL, unk_token="[UNK]", show_progress=False)
    elif kind == "WordLevel":
        model, before = models.WordLevel(**unknown), split.Whitespace()
        trainer = trainers.WordLevelTrainer(vocab_size=40, special_tokens=SPECIAL, show_progress=False)
    else:
        byte_level = kind == "byte-level BPE"
        marks = {"end_of_word_suffix": "</w>"} if kind == "BPE with </w>" else {}
        marks = {"continuing_subword_prefix": "##"} if kind == "BPE with ##" else marks
        model, before = models.BPE(**unknown, **marks), split.ByteLevel() if byte_level else split.Metaspace()
        trainer = trainers.BpeTrainer(
            vocab_size=360 if byte_level else 110,
            special_tokens=SPECIAL,
            show_progress=False,
            initial_alphabet=split.ByteLevel.alphabet() if byte_level else [],
            **marks,
        )
    tokenizer = library.Tokenizer(model)
    tokenizer.pre_tokenizer = before
    tokenizer.train_from_iterator(sentences(), trainer)
    tokenizer.post_processor = library.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    )
    tokenizer.add_tokens(["<new>"])
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    return json.loads(tokenizer.to_str())


KINDS = ["WordPiece", "Unigram", "WordLevel", "BPE", "BPE with </w>", "BPE with ##", "byte-level BPE"]


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    library = pytest.importorskip("tokenizers")
    plain = trained(request.param, library)
    return plain, lambda plain: library.Tokenizer.from_str(json.dumps(plain))


@given(kept=words, other=words, letters=st.booleans())
@settings(max_examples=40, deadline=None)
def test_text_whose_pieces_stay_is_tokenised_as_before(tokenizer, kept, other, letters):
    plain, build = tokenizer
    before, used = build(plain), set()
    for text in (" ".join(kept), sentences()[0]):
        used |= set(before.encode(text, add_special_tokens=False).tokens) & set(pieces_of(plain))
    stay = needed(plain, used, set(" ".join(kept)) if letters else set())
    child = prune_tokenizer(plain, stay)
    after = build(child)
    assert pieces_of(child) == [piece for piece in pieces_of(plain) if piece in stay]
    for text in (" ".join(kept), " ".join(other), "".join(other), "<new> " + sentences()[0]):
        found, expected = after.encode(text), before.encode(text)
        words_known = "[UNK]" not in expected.tokens or plain["model"]["type"] != "WordPiece"
        if words_known and needed(plain, set(expected.tokens), set()) <= stay:
            assert found.tokens == expected.tokens
            assert [after.id_to_token(number) for number in found.ids] == [
                before.id_to_token(number) for number in expected.ids
            ]


def test_special_tokens_have_their_new_numbers(tokenizer):
    plain, build = tokenizer
    child = prune_tokenizer(plain, needed(plain, {"a", "##b"}, {"a", "b"}))
    tokens = {token["content"]: token["id"] for token in child["added_tokens"]}
    count = len(pieces_of(child))
    assert count < len(pieces_of(plain)) and tokens["<new>"] == count
    assert build(child).token_to_id("<new>") == count
    processor = child["post_processor"]["special_tokens"]
    assert processor["[SEP]"]["ids"] == [tokens["[SEP]"]]
    assert child["padding"]["pad_id"] == tokens["[PAD]"]
    assert list(child) == list(plain) and plain["model"] != child["model"]


def test_all_characters_stay_when_they_are_asked_for():
    vocabulary = {piece: number for number, piece in enumerate(["[UNK]", "a", "##a", "ab", "##b", "bc", "x", "##yz"])}
    marks = {"continuing_subword_prefix": "##", "unk_token": "[UNK]"}
    plain = {"model": {"type": "WordPiece", "vocab": vocabulary, **marks}}
    assert needed(plain, {"ab"}, set()) == {"[UNK]", "ab"}
    assert needed(plain, {"ab"}, {"a"}) == {"[UNK]", "ab", "a", "##a"}
    assert needed(plain, {"ab"}, None) == {"[UNK]", "ab", "a", "##a", "##b", "x"}


def test_a_tokenizer_of_another_kind_is_refused():
    with pytest.raises(LayerdropError, match="'Other'"):
        pieces_of({"model": {"type": "Other"}})


@pytest.fixture(scope="module", params=["unigram", "bpe", "bpe with bytes", "char", "word"])
def sentencepiece_model(request):
    library = pytest.importorskip("sentencepiece")
    contents = io.BytesIO()
    library.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences()),
        model_writer=contents,
        vocab_size=350 if "bytes" in request.param else 75,
        hard_vocab_limit=False,
        model_type=request.param.split()[0],
        byte_fallback="bytes" in request.param,
        user_defined_symbols=["<new>"],
        minloglevel=2,
    )
    return contents.getvalue(), lambda contents: library.SentencePieceProcessor(model_proto=contents)


@given(kept=words, other=words, letters=st.booleans())
@settings(max_examples=40, deadline=None)
def test_sentencepiece_tokenises_as_before(sentencepiece_model, kept, other, letters):
    contents, build = sentencepiece_model
    model, before = SentencePieceModel(contents), build(contents)
    assert [piece.text for piece in model.pieces] == [before.id_to_piece(n) for n in range(before.vocab_size())]
    used = set(before.Encode(" ".join(kept), out_type=str)) | set(before.Encode(sentences()[0], out_type=str))
    stay = model.needed(used, set(" ".join(kept)) if letters else set())
    after = build(model.pruned(stay))
    assert after.vocab_size() == len(stay)
    assert model.pruned({piece.text for piece in model.pieces}) == contents
    known = {piece.text for piece in model.pieces}
    for text in (" ".join(kept), " ".join(other), "".join(other), "<new>" + sentences()[0]):
        expected = before.Encode(text, out_type=str)
        if model.needed(set(expected) & known, set()) <= stay:
            assert after.Encode(text, out_type=str) == expected
        assert after.Decode(after.Encode(" ".join(kept))) == before.Decode(before.Encode(" ".join(kept)))


@pytest.mark.parametrize("contents", [b"", b"\x0a\xff", b"no model at all", b"\x10\x01"])
def test_what_is_no_sentencepiece_model_is_refused(contents):
    with pytest.raises(LayerdropError, match="no SentencePiece model"):
        SentencePieceModel(contents)
