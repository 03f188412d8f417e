"""Workloads of `layerdrop latency`: forward passes of sentence classifiers, and beam search of translation models.

Attributes of a workload:

    kind           kind of data folder
    compared       key of the ratio to the first model, "ratio" of times or "speed"
    batch_sizes    the default batch sizes
    settings       entries that it adds to the measurement
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .. import data_folder
from ..errors import LayerdropError
from .engines.base import Engine


def choose_workload(engines: Mapping[str, Engine]) -> "Classification | Translation":
    """Create the workload that fits all models.

    Args:
        engines: name -> the model in its engine.

    Raises:
        LayerdropError: some of the models translate, others do not.
    """
    translate = {name: engine.kind == data_folder.TRANSLATION for name, engine in engines.items()}
    if len(set(translate.values())) > 1:
        one, other = (next(name for name, does in translate.items() if does is wanted) for wanted in (True, False))
        raise LayerdropError(f"'{one}' translates and '{other}' classifies: time them apart")
    return (Translation if all(translate.values()) else Classification)(engines)


class _Workload:
    """What both have in common."""

    def __init__(self, engines: Mapping[str, Engine]):
        self._engines = engines
        self.settings = next((engine.settings for engine in engines.values() if engine.settings), {})

    def longest(self) -> int:
        """Maximum number of (source) tokens that all models can read."""
        return min(engine.longest for engine in self._engines.values())

    def collate(self, dataset: Any, samples: Sequence[Any]) -> dict[str, Any]:
        """A batch, padded by fairseq's own collater: name of a model -> its engine's input."""
        batch = dataset.collater(samples)
        return {name: engine.prepare(batch) for name, engine in self._engines.items()}

    def run(self, name: str, batches: Sequence[dict[str, Any]]) -> list[Any]:
        """Run the model *name* on *batches*; returns its outputs for each."""
        engine = self._engines[name]
        return [engine.run(batch[name]) for batch in batches]

    def count(self, name: str, outputs: Sequence[Any]) -> int:
        """Number of target tokens in the *outputs* of :meth:`run`, without end-of-sentence symbols; 0 of classifiers.

        Unlike in fairseq-generate, end-of-sentence symbols are not counted.
        """
        return sum(map(self._engines[name].count, outputs))


class Classification(_Workload):
    """Forward passes of an encoder and its classification head."""

    kind = data_folder.CLASSIFICATION
    compared = "ratio"
    batch_sizes = (1, 32)

    @staticmethod
    def size(dataset: Any, index: int) -> int:
        """Number of tokens of an example."""
        return int(dataset.size(index))

    @staticmethod
    def figures(
        seconds: Mapping[int, Sequence[float]], _counts: Mapping[int, int], sentences: int
    ) -> dict[str, dict[str, Any]]:
        """Milliseconds per sentence.

        Args:
            seconds: batch size -> seconds of each round.
            sentences: number of sentences in a round.

        Returns:
            ``ms_per_sentence`` and ``all_ms_per_sentence``, see :class:`latency.Timed`.
        """
        every = {str(size): [1000 * one / sentences for one in taken] for size, taken in seconds.items()}
        medians = {size: statistics.median(taken) for size, taken in every.items()}
        return {"ms_per_sentence": medians, "all_ms_per_sentence": every}

    @staticmethod
    def ratios(model: Mapping[str, Any], first: Mapping[str, Any]) -> dict[str, list[float]]:
        """Time divided by the first model's time in the same round: batch size -> ratio of each round."""
        times, base = model["all_ms_per_sentence"], first["all_ms_per_sentence"]
        return {size: [ms / first_ms for ms, first_ms in zip(times[size], base[size], strict=True)] for size in times}


class Translation(_Workload):
    """Beam search, without converting the hypotheses' tokens to text."""

    kind = data_folder.TRANSLATION
    compared = "speed"
    batch_sizes = (32,)

    @staticmethod
    def size(dataset: Any, index: int) -> int:
        """Number of source tokens of an example."""
        return int(dataset.src_sizes[index])

    @staticmethod
    def figures(
        seconds: Mapping[int, Sequence[float]], counts: Mapping[int, int], sentences: int
    ) -> dict[str, dict[str, Any]]:
        """Tokens and sentences per second at the median of the rounds.

        Args:
            seconds: batch size -> seconds of each round.
            counts: batch size -> target tokens of one round.
            sentences: number of sentences in a round.

        Returns:
            ``target_tokens``, ``tokens_per_second``, ``sentences_per_second`` and ``all_seconds``, see
            :class:`latency.Timed`.
        """
        medians = {size: statistics.median(taken) for size, taken in seconds.items()}
        return {
            "target_tokens": {str(size): count for size, count in counts.items()},
            "tokens_per_second": {str(size): counts[size] / median for size, median in medians.items()},
            "sentences_per_second": {str(size): sentences / median for size, median in medians.items()},
            "all_seconds": {str(size): taken for size, taken in seconds.items()},
        }

    @staticmethod
    def ratios(model: Mapping[str, Any], first: Mapping[str, Any]) -> dict[str, list[float]]:
        """Tokens per second divided by the first model's in the same round: batch size -> ratio of each round."""
        rates, base = (
            {
                size: [one["target_tokens"][size] / taken for taken in every]
                for size, every in one["all_seconds"].items()
            }
            for one in (model, first)
        )
        return {
            size: [rate / first_rate for rate, first_rate in zip(rates[size], base[size], strict=True)]
            for size in rates
        }
