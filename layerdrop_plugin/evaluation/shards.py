"""A training set in several folders, of which fairseq-train takes the next one in each epoch, as one dataset."""

import numpy as np
from fairseq.data import ConcatDataset, FairseqDataset
from fairseq.tasks import FairseqTask

from ..data_folder import Split


class Shards(ConcatDataset):
    """Datasets of one task one after another, their examples numbered throughout."""

    def __getitem__(self, index: int) -> dict:
        """Example *index* as its dataset has it, under its number here."""
        return {**super().__getitem__(index), "id": int(index)}

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        """Number of tokens (examples,) of each of the examples *indices*."""
        counts = np.zeros(len(indices), dtype=np.int64)
        for dataset, here, within in self._by_dataset(indices):
            counts[here] = token_counts(dataset, within)
        return counts

    def filter_indices_by_size(
        self, indices: np.ndarray, max_sizes: int | tuple[int, int]
    ) -> tuple[np.ndarray, list[int]]:
        """*indices* without those of examples longer than *max_sizes*, and those."""
        fitting = np.zeros(len(indices), dtype=bool)
        for dataset, here, within in self._by_dataset(indices):
            fitting[here] = np.isin(within, dataset.filter_indices_by_size(within, max_sizes)[0])
        return indices[fitting], indices[~fitting].tolist()

    def _by_dataset(self, indices):
        """Each dataset, which of *indices* are its examples, and their numbers there."""
        for dataset, end in zip(self.datasets, self.cumulative_sizes, strict=True):
            here = (indices >= end - len(dataset)) & (indices < end)
            yield dataset, here, indices[here] - (end - len(dataset))


def token_counts(dataset: FairseqDataset, indices: np.ndarray) -> np.ndarray:
    """What ``dataset.num_tokens`` says of each of *indices*, at once."""
    try:
        return dataset.num_tokens_vec(indices)
    except NotImplementedError:  # of datasets whose `sizes` are an array, or a list of arrays
        sizes = dataset.sizes if isinstance(dataset.sizes, list) else [dataset.sizes]
        return np.max([each[indices] for each in sizes], axis=0)


def load_dataset(task: FairseqTask, split: Split) -> FairseqDataset:
    """All examples of *split*, a split of the data of *task*: of a training set those of all its folders."""
    loaded = []
    for epoch in range(1, len(split.roots) + 1):
        task.load_dataset(split.name, epoch=epoch, combine=split.training)
        loaded.append(task.datasets[split.name])
    return loaded[0] if len(loaded) == 1 else Shards(loaded)
