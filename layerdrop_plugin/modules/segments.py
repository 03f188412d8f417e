"""BERT's embeddings of segments, which fairseq's RoBERTa does not have."""

from typing import NoReturn

from fairseq.modules.learned_positional_embedding import LearnedPositionalEmbedding
from torch import Tensor, nn

from .scriptable import Scriptable, refuse_to_script


def segments_of(tokens: Tensor, separator: int, segments: int) -> Tensor:
    """The segment of every place of *tokens* (batch, length): how many separators stand before it, the last at most.

    ``<s> a </s> b </s>`` is 0 0 0 1 1, as BERT's tokenizer gives ``[CLS] a [SEP] b [SEP]``.

    Args:
        separator: the token that ends a sentence.
        segments: how many there are.
    """
    ends = tokens.eq(separator).long()
    return (ends.cumsum(1) - ends).clamp(max=segments - 1)


class PositionsAndSegments(Scriptable, LearnedPositionalEmbedding):
    """fairseq's embeddings of positions, with those of segments (``segments.weight``) added.

    Args:
        positions: the embeddings to take the place of; their weight is shared.
        segments: how many there are.
        separator: see :func:`segments_of`.
    """

    def __init__(self, positions: LearnedPositionalEmbedding, segments: int, separator: int):
        super().__init__(positions.num_embeddings, positions.embedding_dim, positions.padding_idx)
        self.weight = positions.weight
        self.segments = nn.Embedding(segments, positions.embedding_dim)
        self.separator = separator

    def forward(self, input: Tensor, *args, **kwargs) -> Tensor:
        """Map tokens (batch, length) to the sum of both embeddings (batch, length, width)."""
        segments = segments_of(input, self.separator, self.segments.num_embeddings)
        return super().forward(input, *args, **kwargs) + self.segments(segments)

    def stock_attributes(self) -> NoReturn:
        """fairseq's class has no segments.

        Raises:
            LayerdropError: always.
        """
        refuse_to_script("segment embeddings")
