"""A ``tokenizer.json`` (of the ``tokenizers`` library) with fewer pieces, which tokenises what they make up as before.

All functions work on the file's plain form. A text whose pieces, and what :func:`needed` adds to them, are kept is
tokenised as before: WordPiece takes the longest piece that fits, which is still there and no longer one is new; the
best path of a Unigram model has fewer rivals; each merge of a BPE model that happened can happen, and no other one.
"""

import copy
from collections.abc import Iterable

from ..errors import LayerdropError
from .merges import intermediate_pieces

TYPES = ("WordPiece", "Unigram", "BPE", "WordLevel")


def pieces_of(tokenizer: dict) -> list[str]:
    """The model's pieces in the order of their numbers.

    Raises:
        LayerdropError: a kind of model that is not known.
    """
    model = _model(tokenizer)
    if model["type"] == "Unigram":
        return [piece for piece, _ in model["vocab"]]
    return sorted(model["vocab"], key=model["vocab"].get)


def special_pieces(tokenizer: dict) -> set[str]:
    """Pieces that stay whatever the text: added tokens, the unknown one, those of post-processor and padding."""
    found = {token["content"] for token in tokenizer.get("added_tokens") or []}
    unknown = _model(tokenizer).get("unk_token")
    if unknown is not None:
        found.add(unknown)
    if _model(tokenizer).get("unk_id") is not None:
        found.add(tokenizer["model"]["vocab"][tokenizer["model"]["unk_id"]][0])
    if tokenizer.get("padding"):
        found.add(tokenizer["padding"]["pad_token"])
    for part in _parts(tokenizer.get("post_processor")):
        found |= {token for special in (part.get("special_tokens") or {}).values() for token in special["tokens"]}
        found |= {part[name][0] for name in ("cls", "sep") if name in part}
    return found


def bare(tokenizer: dict, piece: str) -> str:
    """*piece* without the marks that say where in a word it stands."""
    model = _model(tokenizer)
    prefix, suffix = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""
    if len(piece) > 1:
        piece = piece.removeprefix("\N{LOWER ONE EIGHTH BLOCK}")
    return piece.removeprefix(prefix).removesuffix(suffix) or piece


def needed(tokenizer: dict, used: Iterable[str], characters: set[str] | None) -> set[str]:
    """The pieces that must stay so that what *used* make up is tokenised as before, and other text still is.

    Added tokens are among them, whether or not the model has them too.

    Args:
        used: pieces that appear in a text.
        characters: those whose pieces stay, within words and at their beginning or end; None: of all.

    Raises:
        LayerdropError: a kind of model that is not known.
    """
    model, pieces = _model(tokenizer), pieces_of(tokenizer)
    found = set(used) & set(pieces) | special_pieces(tokenizer)
    short = ((piece, bare(tokenizer, piece)) for piece in pieces)
    found |= {piece for piece, letter in short if len(letter) == 1 and (characters is None or letter in characters)}
    if model.get("byte_fallback"):
        found |= {piece for piece in pieces if len(piece) == 6 and piece.startswith("<0x")}
    if model["type"] == "Unigram":  # the score of what is unknown hangs on the lowest one
        found.add(min(model["vocab"], key=lambda entry: entry[1])[0])
    if model["type"] == "BPE":
        if any(part.get("type") == "ByteLevel" for part in _parts(tokenizer.get("pre_tokenizer"))):
            found |= {piece for piece in pieces if len(piece) == 1}
        found |= _merged_from(model, found)
    return found


def prune_tokenizer(tokenizer: dict, kept: Iterable[str]) -> dict:
    """A copy of *tokenizer* whose model has only those of its pieces that are *kept*, numbered anew in their order.

    Args:
        kept: what :func:`needed` found at least.
    """
    kept = set(kept)
    child = {name: copy.deepcopy(part) for name, part in tokenizer.items() if name != "model"}
    model = dict(_model(tokenizer))
    pieces = [piece for piece in pieces_of(tokenizer) if piece in kept]
    if model["type"] == "Unigram":
        unknown = model.get("unk_id")
        scores = dict(map(tuple, model["vocab"]))
        if unknown is not None:
            model["unk_id"] = pieces.index(model["vocab"][unknown][0])
        model["vocab"] = [[piece, scores[piece]] for piece in pieces]
    else:
        model["vocab"] = {piece: number for number, piece in enumerate(pieces)}
    if model["type"] == "BPE":
        model["merges"] = [merge for merge in model["merges"] if {*_pair(merge), _joined(model, *_pair(merge))} <= kept]
    child["model"] = model
    numbers = {piece: number for number, piece in enumerate(pieces)}
    for token in sorted(child.get("added_tokens") or [], key=lambda token: token["id"]):
        token["id"] = numbers.setdefault(token["content"], len(numbers))
    if child.get("added_tokens"):
        child["added_tokens"].sort(key=lambda token: token["id"])
    _renumber(child, numbers)
    return {name: child[name] for name in tokenizer}  # in the file's order


def _renumber(child: dict, numbers: dict[str, int]) -> None:
    """Put the new *numbers* of special tokens where padding and post-processor name them."""
    if child.get("padding") and child["padding"]["pad_token"] in numbers:
        child["padding"]["pad_id"] = numbers[child["padding"]["pad_token"]]
    for part in _parts(child.get("post_processor")):
        for special in (part.get("special_tokens") or {}).values():
            special["ids"] = [numbers[token] for token in special["tokens"]]
        for name in ("cls", "sep"):
            if name in part:
                part[name] = [part[name][0], numbers[part[name][0]]]


def _model(tokenizer: dict) -> dict:
    model = tokenizer.get("model") if isinstance(tokenizer, dict) else None
    kind = model.get("type") if isinstance(model, dict) else None
    if kind not in TYPES:
        raise LayerdropError(f"the tokenizer's model is {kind!r}: only {', '.join(TYPES)} can lose pieces")
    return model


def _parts(component: dict | None) -> list[dict]:
    """A pre-tokenizer or post-processor, or what a sequence of them consists of."""
    if not component:
        return []
    inner = [*(component.get("processors") or []), *(component.get("pretokenizers") or [])]
    return [part for each in inner for part in _parts(each)] if inner else [component]


def _pair(merge: str | list[str]) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _joined(model: dict, first: str, second: str) -> str:
    return first + second.removeprefix(model.get("continuing_subword_prefix") or "")


def _merged_from(model: dict, pieces: Iterable[str]) -> set[str]:
    """What the *pieces* of a BPE *model* are merged from."""
    ranks = {_pair(merge): rank for rank, merge in enumerate(model["merges"])}
    prefix, suffix = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""

    def merge(first: str, second: str) -> tuple[int, str] | None:
        rank = ranks.get((first, second))
        return None if rank is None else (rank, _joined(model, first, second))

    found = set()
    for piece in pieces:
        start = prefix if prefix and piece.startswith(prefix) else ""
        end = suffix if suffix and piece.endswith(suffix) else ""
        letters = list(piece[len(start) : len(piece) - len(end)]) or [""]
        letters = [start + letters[0], *(prefix + letter for letter in letters[1:])]
        found |= intermediate_pieces(piece, [*letters[:-1], letters[-1] + end], merge)
    return found & set(model["vocab"])
