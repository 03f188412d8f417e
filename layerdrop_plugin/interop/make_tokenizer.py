"""What a folder's tokenizer lacks: tokenizer.json where there are older files only, and tokens around a sentence."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LayerdropError
from .libraries import library
from .piece_tokenizers import SENTENCEPIECE
from .prune_sentencepiece import CONTROL, NORMAL, UNIGRAM, UNKNOWN, SentencePieceModel
from .special_tokens import MASK, ROLES, read_json, special_tokens
from .spm_tokenizer import set_spaces
from .tokenizer import TOKENIZER, FolderTokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCABULARY = "vocab.txt"  # of a WordPiece
BYTE_LEVEL = ("vocab.json", "merges.txt")  # of GPT-2's and RoBERTa's byte-level BPE
SETTINGS = "tokenizer_config.json"
_OF_SENTENCEPIECE = ("<unk>", "<s>", "</s>")  # the first pieces of XLM-R's model


def folder_tokenizer(folder: Path, one_separator: bool) -> FolderTokenizer:
    """The tokenizer of a Hugging Face *folder*, complete: it puts special tokens around sentences.

    Args:
        folder: with tokenizer.json, vocab.txt of a WordPiece, sentencepiece.bpe.model of XLM-R, or vocab.json and
            merges.txt of RoBERTa; the first of them that is there is used.
        one_separator: how pairs are made where the tokenizer does not say: as BERT's, with segments, or RoBERTa's.

    Raises:
        LayerdropError: none of the files is there, or one that is cannot be used.
    """
    if (folder / TOKENIZER).is_file():
        found = FolderTokenizer.load(folder)
    elif (folder / VOCABULARY).is_file():
        found = _word_piece(folder)
    elif (folder / SENTENCEPIECE).is_file():
        found = _unigram(folder)
    elif all((folder / name).is_file() for name in BYTE_LEVEL):
        found = _byte_level(folder)
    else:
        raise LayerdropError(
            f"{folder} has neither {TOKENIZER} nor {VOCABULARY} nor {SENTENCEPIECE} nor {' with '.join(BYTE_LEVEL)}:"
            " write the first with transformers,"
            f' AutoTokenizer.from_pretrained("{folder}").save_pretrained("{folder}")'
        )
    if found.pair_format is None:
        _add_template(found, one_separator)
    return found


def _word_piece(folder: Path) -> FolderTokenizer:
    """BERT's tokenizer on vocab.txt, set as tokenizer_config.json says, with transformers' defaults."""
    tokenizers, says = library("tokenizers"), _settings(folder)
    lines = (folder / VOCABULARY).read_text(encoding="utf-8").split("\n")
    vocabulary = {token.rstrip("\r"): row for row, token in enumerate(lines[:-1] if not lines[-1] else lines)}
    special = special_tokens(folder, vocabulary)
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token=special["<unk>"]))
    made.normalizer = tokenizers.normalizers.BertNormalizer(
        handle_chinese_chars=says.get("tokenize_chinese_chars", True),
        strip_accents=says.get("strip_accents"),
        lowercase=says.get("do_lower_case", True),
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.decoder = tokenizers.decoders.WordPiece()
    made.add_special_tokens(list(special.values()))
    return FolderTokenizer(made, special, folder / VOCABULARY)


def _unigram(folder: Path) -> FolderTokenizer:
    """XLM-R's tokenizer on a SentencePiece model, numbered as transformers numbers its pieces.

    ``<s> <pad> </s> <unk>`` come first, ``<mask>`` last; between them are the model's pieces from the fourth on.
    """
    tokenizers, path = library("tokenizers"), folder / SENTENCEPIECE
    try:
        model = SentencePieceModel(path.read_bytes())
    except (OSError, LayerdropError) as error:
        raise LayerdropError(f"{path} cannot be read: {error}") from None
    first, pieces = model.pieces[: len(_OF_SENTENCEPIECE)], model.pieces[len(_OF_SENTENCEPIECE) :]
    if model.type != UNIGRAM:
        raise LayerdropError(f"{path} is no Unigram model, as XLM-R's is: its tokenizer.json cannot be made")
    if tuple(piece.text for piece in first) != _OF_SENTENCEPIECE:
        raise LayerdropError(f"{path} does not begin with {' '.join(_OF_SENTENCEPIECE)}, as XLM-R's does")
    other = next((piece.text for piece in pieces if piece.kind not in (NORMAL, UNKNOWN, CONTROL)), None)
    if other is not None:
        raise LayerdropError(f"{path}: its piece {other!r} is user-defined, a byte or unused, as none of XLM-R's is")
    *begin, mask = ROLES
    scores = [(token, 0.0) for token in begin] + [(piece.text, piece.score) for piece in pieces] + [(mask, 0.0)]
    special = special_tokens(folder, {token: number for number, (token, _) in enumerate(scores)})
    made = tokenizers.Tokenizer(tokenizers.models.Unigram(scores, unk_id=begin.index("<unk>")))
    set_spaces(made, model)
    _add_special_tokens(made, special)
    return FolderTokenizer(made, special, path)


def _byte_level(folder: Path) -> FolderTokenizer:
    """RoBERTa's tokenizer on vocab.json and merges.txt."""
    tokenizers, path = library("tokenizers"), folder / BYTE_LEVEL[0]
    try:
        model = tokenizers.models.BPE.from_file(*(str(folder / name) for name in BYTE_LEVEL))
    except Exception as error:  # the library raises no other class
        reason = str(error).splitlines()[0]
        raise LayerdropError(f"{' and '.join(BYTE_LEVEL)} in {folder} are no byte-level BPE: {reason}") from None
    made = tokenizers.Tokenizer(model)
    special = special_tokens(folder, made.get_vocab())
    before = bool(_settings(folder).get("add_prefix_space", False))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=before)
    made.decoder = tokenizers.decoders.ByteLevel()
    _add_special_tokens(made, special)
    return FolderTokenizer(made, special, path)


def _settings(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json of *folder*; empty if there is none."""
    return read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}


def _add_special_tokens(tokenizer: "Tokenizer", special: dict[str, str]) -> None:
    """Let *tokenizer* find *special* tokens in a text; ``<mask>`` with the space before it, as transformers does."""
    added = library("tokenizers").AddedToken
    tokenizer.add_special_tokens(
        [added(token, lstrip=symbol == MASK, normalized=False, special=True) for symbol, token in special.items()]
    )


def _add_template(tokenizer: FolderTokenizer, one_separator: bool) -> None:
    """Let *tokenizer* put the special tokens around sentences and pairs."""
    begin, end = tokenizer.special["<s>"], tokenizer.special["</s>"]
    second = f"$B:1 {end}:1" if one_separator else f"{end} $B {end}"
    tokenizer.tokenizer.post_processor = library("tokenizers").processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} {second}",
        special_tokens=[(token, tokenizer.tokenizer.token_to_id(token)) for token in (begin, end)],
    )
    del tokenizer.__dict__["pair_format"]  # it was asked for before
