"""The tokenizer that goes with an exported model: its tokenizer.json, or one made of its SentencePiece model.

XLM-R's order of ids: ``<s> <pad> </s> <unk>``, the pieces, ``<mask>``.
"""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LayerdropError
from .libraries import library
from .piece_tokenizers import SENTENCEPIECE
from .prune_sentencepiece import BOUNDARY, BPE, NORMAL, SentencePieceModel
from .special_tokens import ROLES
from .tokenizer import TOKENIZER, FolderTokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_UNIGRAM, _USER_DEFINED, _BYTE = 1, 4, 6  # types of models; kinds of pieces


def tokenizer_beside(folder: Path) -> FolderTokenizer:
    """The tokenizer of the model in *folder*.

    Raises:
        LayerdropError: there is none, it cannot be read, or it is of a kind that ``tokenizers`` does not have.
    """
    if (folder / TOKENIZER).is_file():
        return FolderTokenizer.load(folder)
    path = folder / SENTENCEPIECE
    if not path.is_file():
        raise LayerdropError(
            f"{folder} has neither {TOKENIZER} nor {SENTENCEPIECE}, with which text becomes the model's input: name the"
            " folder that has one (the model's data) with --data"
        )
    try:
        made = tokenizer_of(SentencePieceModel(path.read_bytes()))
    except (OSError, LayerdropError) as error:
        raise LayerdropError(f"{path} cannot be used: {error}") from None
    return FolderTokenizer(made, {symbol: symbol for symbol in ROLES}, path)


def tokenizer_of(model: SentencePieceModel) -> "Tokenizer":
    """A tokenizer of the library ``tokenizers`` that splits text as *model* does; it adds ``<s>`` and ``</s>``.

    Raises:
        LayerdropError: the model's pieces are words or characters.
    """
    tokenizers = library("tokenizers")
    fallback = any(piece.kind == _BYTE for piece in model.pieces)
    user = [piece.text for piece in model.pieces if piece.kind == _USER_DEFINED]
    pieces = dict.fromkeys(list(ROLES)[:4], 0.0)
    pieces |= {piece.text: piece.score for piece in model.pieces if piece.kind in (NORMAL, _USER_DEFINED, _BYTE)}
    pieces["<mask>"] = 0.0
    if model.type == _UNIGRAM:
        kind = tokenizers.models.Unigram(
            list(pieces.items()), unk_id=list(pieces).index("<unk>"), byte_fallback=fallback
        )
    elif model.type == BPE:
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        scores = {piece.text: piece.score for piece in model.pieces if piece.kind == NORMAL}
        options = {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": fallback}
        kind = tokenizers.models.BPE(vocabulary, _merges(scores), **options)
    else:
        raise LayerdropError("its pieces are words or characters: only Unigram and BPE can be exported")
    made = tokenizers.Tokenizer(kind)
    set_spaces(made, model)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    made.add_special_tokens(list(ROLES))
    made.add_tokens(user)
    return made


def set_spaces(tokenizer: "Tokenizer", model: SentencePieceModel) -> None:
    """Let *tokenizer* prepare a text as *model* does: its table of characters, spaces, and where words begin."""
    tokenizers = library("tokenizers")
    rules = [tokenizers.normalizers.Precompiled(model.characters_map)] if model.characters_map else []
    for spaces, left in ((" {2,}", " "), ("^ | $", "")) if model.trims else ():  # no other white space
        rules.append(tokenizers.normalizers.Replace(tokenizers.Regex(spaces), left))
    tokenizer.normalizer = tokenizers.normalizers.Sequence(rules)
    spaces = {"replacement": BOUNDARY, "prepend_scheme": "always" if model.dummy_prefix else "never"}
    whole_words = all(BOUNDARY not in piece.text[1:] for piece in model.pieces)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(split=whole_words, **spaces)
    tokenizer.decoder = tokenizers.decoders.Metaspace(**spaces)


def _merges(scores: dict[str, float]) -> list[tuple[str, str]]:
    """The merges of a BPE model whose pieces have these *scores*, the highest of which is merged first."""
    parts = (
        [(piece[:cut], piece[cut:]) for cut in range(1, len(piece)) if {piece[:cut], piece[cut:]} <= scores.keys()]
        for piece in sorted(scores, key=scores.get, reverse=True)
    )
    return list(itertools.chain.from_iterable(parts))
