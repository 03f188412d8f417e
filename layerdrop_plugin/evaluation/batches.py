"""Examples in batches that are collated while a pass goes over them: memory holds one batch, however many there are."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from fairseq import utils
from fairseq.data import FairseqDataset

from .shards import token_counts


class Batches:
    """Batches of some examples, shortest first: the same ones in every pass over them.

    Args:
        dataset: fairseq's, which collates.
        examples: numbers of the examples, ascending.
        max_sentences, max_tokens: most examples and most tokens (padding included) of a batch.
        device: where the batches go.
        check: raises LayerdropError for a batch that cannot be used.
        left_out: how many examples of the subset are too long.

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

    def __iter__(self) -> Iterator[dict]:
        """Batches as fairseq collates them; ``sample["id"]`` has the numbers of their examples."""
        if self._dataset.supports_prefetch:
            self._dataset.prefetch(self.examples)
        for numbers in self._numbers:
            sample = self._dataset.collater([self._dataset[number] for number in numbers])
            self._check(sample)
            yield utils.move_to_cuda(sample, self._device) if self._device.type == "cuda" else sample
