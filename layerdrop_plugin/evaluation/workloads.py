"""Workloads of `layerdrop latency`: forward passes of sentence classifiers, and fairseq's beam search.

Attributes of a workload:

    kind           kind of data folder
    compared       key of the ratio to the first model, "ratio" of times or "speed"
    batch_sizes    the default batch sizes
    settings       entries that it adds to the measurement
"""

import statistics
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .. import data_folder
from ..errors import LayerdropError
from ..modules.inference import ReadyForInference, optimize_for_inference
from ..provenance import CheckpointRecord

Loaded = Mapping[str, tuple[torch.nn.Module, Any]]  # name -> model and task, as fairseq loads them


def choose_workload(
    described: Mapping[str, CheckpointRecord], loaded: Loaded, beam: int
) -> "Classification | Translation":
    """Create the workload that fits all models.

    Args:
        described: name -> description of the checkpoint.
        loaded: name -> model and task of the checkpoint.
        beam: beam size, for translation models.

    Raises:
        LayerdropError: the models are of different kinds, or neither classifiers nor translation models.
    """
    translates = {
        name: made["decoder_layers"] is not None and not _head_name(loaded[name][1]) for name, made in described.items()
    }
    if len(set(translates.values())) > 1:
        one, other = (next(name for name, does in translates.items() if does is wanted) for wanted in (True, False))
        raise LayerdropError(f"'{one}' translates and '{other}' classifies: time them apart")
    workload = Translation if all(translates.values()) else Classification
    for name, (model, task) in loaded.items():
        workload.check(described[name]["path"], model, task)
    return workload(loaded, beam)


def _head_name(task: Any) -> str | None:
    """Name of the classification head that *task* uses, if it uses one."""
    return getattr(task.cfg, "classification_head_name", None)


class Classification:
    """Forward passes of an encoder, BART's decoder too, and its classification head, without gradients."""

    kind = data_folder.CLASSIFICATION
    compared = "ratio"
    batch_sizes = (1, 32)
    settings = {}

    def __init__(self, loaded: Loaded, _beam: int):
        self._heads = {name: task.cfg.classification_head_name for name, (_, task) in loaded.items()}
        self._models = {name: model.eval() for name, (model, _) in loaded.items()}
        for model in self._models.values():
            if isinstance(model, ReadyForInference):
                optimize_for_inference(model, model.inference_dtype)

    @staticmethod
    def check(path: str, model: torch.nn.Module, task: Any) -> None:
        """Raise LayerdropError unless the model has the head that its task names."""
        if _head_name(task) not in getattr(model, "classification_heads", {}):
            raise LayerdropError(f"{path} is no sentence_prediction model: it has no classification head")

    def longest(self) -> int:
        """Maximum number of tokens that all models can read."""
        longest = (model.max_positions() for model in self._models.values())
        return min(min(each) if isinstance(each, tuple) else each for each in longest)

    @staticmethod
    def size(dataset: Any, index: int) -> int:
        """Number of tokens of an example."""
        return int(dataset.size(index))

    @staticmethod
    def collate(dataset: Any, samples: Sequence[Any]) -> Any:
        """A batch, padded by fairseq's own collater."""
        return dataset.collater(samples)["net_input"]

    @torch.no_grad()
    def run(self, name: str, batches: Sequence[Any]) -> None:
        """Run the model *name* on *batches*."""
        model, head = self._models[name], self._heads[name]
        for net_input in batches:
            model(**net_input, features_only=True, classification_head_name=head)

    @staticmethod
    def count(_outputs: None) -> int:
        """0, as no tokens are generated."""
        return 0

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


class Translation:
    """fairseq's beam search as fairseq-generate runs it, without converting the hypotheses' tokens to text."""

    kind = data_folder.TRANSLATION
    compared = "speed"
    batch_sizes = (32,)

    def __init__(self, loaded: Loaded, beam: int):
        from fairseq.dataclass.configs import GenerationConfig

        # Heavily pruned models may repeat words up to the limit: the same limit as in translations.translator.
        generation = GenerationConfig(beam=beam, max_len_a=1.2, max_len_b=10)
        names = ("beam", "nbest", "max_len_a", "max_len_b", "min_len", "lenpen")
        self.settings = {"generation": {name: getattr(generation, name) for name in names}}
        self._runs = {}
        for name, (model, task) in loaded.items():
            model.eval()  # before prepare_for_inference_, after which a model has no train mode
            model.prepare_for_inference_(Namespace(generation=generation))
            self._runs[name] = model, task, task.build_generator([model], generation)

    @staticmethod
    def check(path: str, model: torch.nn.Module, task: Any) -> None:
        """Raise LayerdropError unless the model has an encoder and a decoder and its task is a translation."""
        if not (hasattr(model, "encoder") and getattr(task.cfg, "target_lang", None)):
            raise LayerdropError(f"{path} is no translation model: it has no encoder, or its task no target language")

    def longest(self) -> int:
        """Maximum number of source tokens that all models can read."""
        return min(model.max_positions()[0] for model, *_ in self._runs.values())

    @staticmethod
    def size(dataset: Any, index: int) -> int:
        """Number of source tokens of an example."""
        return int(dataset.src_sizes[index])

    @staticmethod
    def collate(dataset: Any, samples: Sequence[Any]) -> Any:
        """A batch, padded by fairseq's own collater."""
        return dataset.collater(samples)

    def run(self, name: str, batches: Sequence[Any]) -> list[Any]:
        """Translate *batches* with the model *name*.

        Returns:
            For each batch, for each sentence, fairseq's hypotheses, the best one first.
        """
        model, task, generator = self._runs[name]
        return [task.inference_step(generator, [model], batch) for batch in batches]  # without gradients

    def count(self, outputs: Sequence[Any]) -> int:
        """Number of target tokens (subwords) in the best hypothesis of every sentence.

        Unlike in fairseq-generate, end-of-sentence symbols are not counted.
        """
        return sum(len(best["tokens"]) - 1 for batch in outputs for best, *_ in batch)

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
