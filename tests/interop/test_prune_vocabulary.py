"""A corpus to rows, dictionary and tokenizer.json, for random dictionaries and corpora."""

import json

import builders
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_prune_tokenizer import KINDS, LETTERS, sentences, trained

from layerdrop_plugin.interop.piece_tokenizers import TokenizerJson
from layerdrop_plugin.interop.prune_vocabulary import VocabularyRules, prune_vocabulary
from layerdrop_plugin.interop.tokenizer import FolderTokenizer
from layerdrop_plugin.pruning.parent import Parent

ROLES = ("<s>", "<pad>", "</s>", "<unk>")
lines = st.lists(st.text(LETTERS + "zQ ,", min_size=1, max_size=20), min_size=1, max_size=4)


@pytest.fixture(scope="module", params=KINDS)
def model(request, tmp_path_factory):
    """A folder with tokenizer.json and a dictionary of its pieces, and a parent for it."""
    library = pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("model")
    tokenizer = library.Tokenizer.from_str(json.dumps(trained(request.param, library)))
    tokenizer.save(str(folder / "tokenizer.json"))
    symbols = [symbol for symbol in FolderTokenizer.load(folder).symbols.values() if symbol not in (*ROLES, "<mask>")]
    (folder / "dict.txt").write_text("".join(f"{symbol} 1\n" for symbol in sorted(symbols)))
    state = builders.state_of(builders.build("layerdrop_roberta", symbols=len(symbols), encoder_layers=1))
    del state["cfg"]["model"]["dictionary_sha256"]  # of other words
    return folder, Parent(state)


@given(corpus=lines)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_corpus_is_tokenised_as_before(model, corpus, tmp_path_factory):
    folder, parent = model
    out = tmp_path_factory.mktemp("child")
    corpus = [*corpus, sentences()[1]]
    (out / "corpus.txt").write_text("\n".join(corpus) + "\n", encoding="utf-8")
    found = prune_vocabulary(parent, VocabularyRules({"source": [str(out / "corpus.txt")]}, folder))
    for name, contents in found.files.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(contents)
    before, after = FolderTokenizer.load(folder), FolderTokenizer.load(out)
    dictionary = {line.rsplit(" ", 1)[0] for line in (out / "dict.txt").read_text().splitlines()}
    assert found.vocabulary.symbols["source"][4:-1] == sorted(dictionary)
    for line in corpus:
        assert after.encode(line) == before.encode(line)
        assert set(after.encode(line)) <= dictionary | set(ROLES)
    assert len(found.vocabulary.plan.source) < parent.vocabulary_size()
    assert set(after.symbols.values()) <= dictionary | {*ROLES, "<mask>"}  # no piece without its row
    for other in sentences(5, seed=1):  # other text: of known characters nothing becomes unknown
        letters = set("".join(corpus))
        if (
            set(other) <= letters
            and "<unk>" not in before.encode(other)
            and "WordLevel" not in str(before.tokenizer.model)
        ):
            assert "<unk>" not in after.encode(other)


def test_words_that_wordpiece_gives_up_stay_unknown(tmp_path):
    """Without `ab`, which nothing fits behind, `a` and `##bd` would make a word of what is unknown."""
    library = pytest.importorskip("tokenizers")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##bd", "ab", "c", "##x"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = library.Tokenizer(library.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = library.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    whole = TokenizerJson(tmp_path)
    assert whole.encode(["abd", "abx", "c"]) == [["<unk>"], ["ab", "##x"], ["c"]]
    assert whole.unknown(["abd"]) == {"ab"}
    used = {"a", "c", "##bd"}
    assert whole.pruned(whole.needed(used, set(), ())).encode(["abd"]) == [["a", "##bd"]]
    assert whole.pruned(whole.needed(used | whole.unknown(["abd"]), set(), ())).encode(["abd"]) == [["<unk>"]]
