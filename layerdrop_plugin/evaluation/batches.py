"""Batches that are collated one at a time during a pass over the data, so that only one batch is in memory."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from fairseq import utils
from fairseq.data import FairseqDataset

from .shards import token_counts


class Batches:
    """Iterable over batches of the given examples, shortest examples first; every pass gives the same batches.

    Args:
        dataset: the fairseq dataset.
        examples: indices (examples,) in the dataset, ascending.
        max_sentences, max_tokens: maximum number of examples and of tokens (padding included) in a batch; None is no
            limit.
        device: device of the batches.
        check: called with every batch; raises LayerdropError if it cannot be used.
        left_out: number of examples of the subset that are too long.

    Attributes:
        examples, left_out: as given.
    """

    def __init__(
        self,
        dataset: FairseqDataset,
        examples: np.ndarray,
        *,
        max_sentences: int | None,
        max_tokens: int | None,
        device: torch.device,
        check: Callable[[dict], None],
        left_out: int = 0,
    ):
        self.examples, self.left_out = examples, left_out
        self._dataset, self._device, self._check = dataset, device, check
        by_size = examples[np.argsort(token_counts(dataset, examples), kind="stable")]
        self._numbers = dataset.batch_by_size(
            by_size, max_tokens=max_tokens, max_sentences=max_sentences, required_batch_size_multiple=1
        )

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._numbers)

    def tokens(self) -> list[int]:
        """Number of tokens of each batch, padding included."""
        return [len(numbers) * int(token_counts(self._dataset, np.asarray(numbers)).max()) for numbers in self._numbers]

    def __iter__(self) -> Iterator[dict]:
        """Yield batches as fairseq collates them; ``sample["id"]`` (batch,) holds the indices of their examples."""
        if self._dataset.supports_prefetch:
            self._dataset.prefetch(self.examples)
        for numbers in self._numbers:
            sample = self._dataset.collater([self._dataset[number] for number in numbers])
            self._check(sample)
            yield utils.move_to_cuda(sample, self._device) if self._device.type == "cuda" else sample
