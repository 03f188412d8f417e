"""A SentencePiece ``.model`` with fewer pieces, which tokenises what they make up as before.

The file is a protocol buffer (sentencepiece_model.proto). Only its pieces are read, all else stays byte for byte, so no
generated code is needed. Why the text stays tokenised as it is, is said in prune_tokenizer.py.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..errors import LayerdropError
from .merges import intermediate_pieces

_PIECE, _TRAINER, _NORMALIZER = 1, 2, 3  # fields of the model
_CHARACTER_MAP = 2  # of its normalizer
_TEXT, _SCORE, _KIND = 1, 2, 3  # of a piece
_MODEL_TYPE, _VOCABULARY_SIZE = 3, 4  # of what it was trained with
NORMAL = 1  # kinds of pieces; the others are unknown, control, user-defined, unused and byte
BPE = 2  # types of models; 1 is Unigram, 3 words, 4 characters
BOUNDARY = "\N{LOWER ONE EIGHTH BLOCK}"  # at the beginning of a word


@dataclass(frozen=True)
class Piece:
    """A piece of the model; *message* is how the file has it."""

    text: str
    score: float
    kind: int
    message: bytes


class SentencePieceModel:
    """The pieces of the file's *contents*.

    Attributes:
        contents: the file's.
        pieces: in the order of their numbers.
        type: 1 Unigram, 2 BPE, 3 words, 4 characters.

    Raises:
        LayerdropError: *contents* are no SentencePiece model.
    """

    def __init__(self, contents: bytes):
        self.contents = contents
        try:
            self._fields = list(_fields(contents))
            self.pieces = [_piece(message) for number, _, message in self._fields if number == _PIECE]
            trainer = next((message for number, _, message in self._fields if number == _TRAINER), b"")
            types = [value for number, _, value in _fields(trainer) if number == _MODEL_TYPE]
        except (IndexError, TypeError, UnicodeDecodeError, struct.error) as error:
            raise LayerdropError(f"it is no SentencePiece model ({error})") from None
        if not self.pieces:
            raise LayerdropError("it is no SentencePiece model: it has no pieces")
        self.type = types[-1] if types else 1

    @property
    def character_map(self) -> bytes:
        """The table with which characters are replaced before a text is split; empty if they are not."""
        parts = [message for number, _, message in self._fields if number == _NORMALIZER]
        return b"".join(value for part in parts for number, _, value in _fields(part) if number == _CHARACTER_MAP)

    def needed(self, used: Iterable[str], characters: set[str] | None) -> set[str]:
        """The pieces that must stay so that what *used* make up is tokenised as before, and other text still is.

        Args:
            used: pieces that appear in a text.
            characters: those whose pieces stay, at the beginning of a word too; None: of all.
        """
        normal = {piece.text: piece.score for piece in self.pieces if piece.kind == NORMAL}
        found = set(used) & normal.keys() | {piece.text for piece in self.pieces if piece.kind != NORMAL}
        for piece in normal:
            letter = piece.removeprefix(BOUNDARY) or piece
            if len(letter) == 1 and (characters is None or letter in characters or piece == BOUNDARY):
                found.add(piece)
        if normal:  # the score of what is unknown hangs on the lowest one, that of user-defined pieces on the highest
            found |= {min(normal, key=normal.get), max(normal, key=normal.get)}
        if self.type == BPE:
            scores = {piece.text: piece.score for piece in self.pieces}

            def merge(first: str, second: str) -> tuple[float, str] | None:
                return (-scores[first + second], first + second) if first + second in scores else None

            for piece in tuple(found):
                found |= intermediate_pieces(piece, piece, merge) & scores.keys()
        return found

    def pruned(self, kept: Iterable[str]) -> bytes:
        """The contents of a file that has only the *kept* of the pieces, in their order."""
        kept = set(kept)
        pieces = (piece for piece in self.pieces)
        left = [piece for piece in self.pieces if piece.text in kept]
        written = bytearray()
        for number, kind, value in self._fields:
            if number == _TRAINER:
                written += _field(number, kind, _with_size(value, len(left)))
            elif number != _PIECE or next(pieces).text in kept:
                written += _field(number, kind, value)
        return bytes(written)


def _piece(message: bytes) -> Piece:
    values = {number: value for number, _, value in _fields(message)}
    score = struct.unpack("<f", values[_SCORE])[0] if _SCORE in values else 0.0
    return Piece(values.get(_TEXT, b"").decode(), score, values.get(_KIND, NORMAL), message)


def _with_size(trainer: bytes, size: int) -> bytes:
    fields = ((number, kind, size if number == _VOCABULARY_SIZE else value) for number, kind, value in _fields(trainer))
    return b"".join(_field(*each) for each in fields)


def _fields(message: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """(number, wire type, value) of the fields of a *message*; IndexError where it is cut short."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, place = _varint(message, place)
        else:
            if kind == 2:
                size, place = _varint(message, place)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise IndexError(f"wire type {kind}")
            value, place = message[place : place + size], place + size
            if place > len(message):
                raise IndexError("it is cut short")
        yield number, kind, value


def _field(number: int, kind: int, value: int | bytes) -> bytes:
    head = _written_varint(number << 3 | kind)
    if kind == 0:
        return head + _written_varint(value)
    return head + (_written_varint(len(value)) if kind == 2 else b"") + value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _written_varint(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
