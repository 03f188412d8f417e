"""One dataset from a training set in several folders (shards), of which fairseq-train reads one per epoch."""

import numpy as np
from fairseq.data import ConcatDataset, FairseqDataset
from fairseq.tasks import FairseqTask

from ..data_folder import Split


class Shards(ConcatDataset):
    """Concatenation of the datasets of one task, with consecutive indices as the examples' ``id``."""

    def __getitem__(self, index: int) -> dict:
        """Example *index*, as its dataset returns it, with *index* as its ``id``."""
        return {**super().__getitem__(index), "id": int(index)}

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        """Numbers of tokens (examples,) of the examples *indices* (examples,)."""
        counts = np.zeros(len(indices), dtype=np.int64)
        for dataset, here, within in self._by_dataset(indices):
            counts[here] = token_counts(dataset, within)
        return counts

    def filter_indices_by_size(
        self, indices: np.ndarray, max_sizes: int | tuple[int, int]
    ) -> tuple[np.ndarray, list[int]]:
        """Split *indices* into those of examples within *max_sizes* tokens and a list of the others."""
        fitting = np.zeros(len(indices), dtype=bool)
        for dataset, here, within in self._by_dataset(indices):
            fitting[here] = np.isin(within, dataset.filter_indices_by_size(within, max_sizes)[0])
        return indices[fitting], indices[~fitting].tolist()

    def _by_dataset(self, indices):
        """Yield each dataset, the mask (examples,) of those *indices* that are in it, and their indices there."""
        for dataset, end in zip(self.datasets, self.cumulative_sizes, strict=True):
            here = (indices >= end - len(dataset)) & (indices < end)
            yield dataset, here, indices[here] - (end - len(dataset))


def token_counts(dataset: FairseqDataset, indices: np.ndarray) -> np.ndarray:
    """``dataset.num_tokens`` of each of *indices*, vectorised: (examples,)."""
    try:
        return dataset.num_tokens_vec(indices)
    except NotImplementedError:  # in datasets whose `sizes` are an array or a list of arrays
        sizes = dataset.sizes if isinstance(dataset.sizes, list) else [dataset.sizes]
        return np.max([each[indices] for each in sizes], axis=0)


def load_dataset(task: FairseqTask, split: Split) -> FairseqDataset:
    """Load all examples of *split*, for a training set from all its folders, with the fairseq *task*."""
    loaded = []
    for epoch in range(1, len(split.roots) + 1):
        task.load_dataset(split.name, epoch=epoch, combine=split.training)
        loaded.append(task.datasets[split.name])
    return loaded[0] if len(loaded) == 1 else Shards(loaded)
