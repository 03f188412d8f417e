"""What a folder's tokenizer lacks: tokenizer.json where there is only vocab.txt, and the tokens around a sentence."""

from pathlib import Path

from ..errors import LayerdropError
from .libraries import library
from .special_tokens import read_json, special_tokens
from .tokenizer import TOKENIZER, FolderTokenizer

VOCABULARY = "vocab.txt"


def folder_tokenizer(folder: Path, one_separator: bool) -> FolderTokenizer:
    """The tokenizer of a Hugging Face *folder*, complete: it puts special tokens around sentences.

    Args:
        folder: with tokenizer.json, or vocab.txt of a WordPiece.
        one_separator: how pairs are made where the tokenizer does not say: as BERT's, with segments, or RoBERTa's.

    Raises:
        LayerdropError: neither file is there, or one that is cannot be used.
    """
    if (folder / TOKENIZER).is_file():
        found = FolderTokenizer.load(folder)
    elif (folder / VOCABULARY).is_file():
        found = _word_piece(folder)
    else:
        raise LayerdropError(
            f"{folder} has neither {TOKENIZER} nor {VOCABULARY}: write the first with transformers,"
            f' AutoTokenizer.from_pretrained("{folder}").save_pretrained("{folder}")'
        )
    if found.pair_format is None:
        _add_template(found, one_separator)
    return found


def _word_piece(folder: Path) -> FolderTokenizer:
    """BERT's tokenizer on vocab.txt, set as tokenizer_config.json says, with transformers' defaults."""
    tokenizers, path = library("tokenizers"), folder / "tokenizer_config.json"
    says = read_json(path) if path.is_file() else {}
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
