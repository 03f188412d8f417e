"""Time models against each other: one process, the same sentences, in turn.

Times of two processes are not comparable on a machine with other load. All models are therefore loaded into one
process, and in every round each of them is timed on the same batches, in turn (see rounds.py). Ratios are computed
within each round, and their median and range are reported. workloads.py says what is timed, engines/ what it runs in.
"""

import contextlib
import os
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from tqdm import tqdm

from .. import provenance
from ..data_folder import find_split
from ..errors import LayerdropError, first_line
from ..modules.onednn_linear import check_dtype
from . import engines, rounds
from .engines.base import Engine
from .workloads import Classification, Translation, choose_workload

TYPE = "layerdrop.latency"


class Timed(TypedDict, total=False):
    """Times of one model. All entries but the first three are dictionaries with the batch size, a string, as key.

    Attributes:
        name, checkpoint: as in a result.
        peak_bytes: classifiers: most bytes that a process of its own held which loaded the model, with nothing but what
            its engine needs, and answered one batch of the largest size.
        ms_per_sentence: classifiers: milliseconds per sentence, median over rounds.
        ratio: classifiers: time divided by the first model's time in the same round, median over rounds.
        all_ms_per_sentence: classifiers: milliseconds per sentence in each round.
        target_tokens: translation models: tokens of the best hypotheses in one round, without end-of-sentence symbols.
        tokens_per_second, sentences_per_second: translation models: rates at the median of the rounds' seconds.
        speed: translation models: tokens per second divided by the first model's in the same round, median over rounds.
        all_seconds: translation models: seconds of each round.
        spread: range over rounds of ``ratio`` or ``speed``; absent for the first model.
    """

    name: str
    checkpoint: provenance.CheckpointRecord
    peak_bytes: int
    ms_per_sentence: dict[str, float]
    ratio: dict[str, float]
    all_ms_per_sentence: dict[str, list[float]]
    target_tokens: dict[str, int]
    tokens_per_second: dict[str, float]
    sentences_per_second: dict[str, float]
    speed: dict[str, float]
    all_seconds: dict[str, list[float]]
    spread: dict[str, rounds.Spread]


class Latency(TypedDict, total=False):
    """A measurement: `layerdrop latency` writes it, `layerdrop report` reads it.

    Attributes:
        type, version: TYPE and 2; version 1 has no ``spread``, and its ratios are those of the medians.
        task: "classification" or "translation"; the first measurements do not have it.
        device, cpu, threads: "cpu", name of the processor, number of torch's threads.
        inference_dtype: precision of the products; absent if it is single precision.
        versions, command: see provenance.py.
        data_sha256, split: data that the sentences were drawn from.
        seed, sentences, mean_tokens: seed of the draw, number of sentences, their mean length in source tokens.
        repeats: number of timed rounds, without the warm-up round.
        batch_sizes: numbers of sentences per batch.
        generation: translation models: fairseq's beam, nbest, max_len_a, max_len_b, min_len, lenpen.
        models: times of the models, in the order given.
    """

    type: str
    version: int
    task: str
    device: str
    cpu: str
    threads: int
    inference_dtype: str
    versions: dict[str, str]
    command: str | None
    data_sha256: str
    split: str
    seed: int
    sentences: int
    mean_tokens: float
    repeats: int
    batch_sizes: list[int]
    generation: dict[str, Any]
    models: list[Timed]


def measure(
    models: Mapping[str, str | os.PathLike],
    data: str | os.PathLike,
    split: str,
    batch_sizes: Sequence[int] | None = None,
    threads: int = 2,
    repeats: int = 7,
    max_sentences: int = 256,
    seed: int = 1,
    beam: int = 4,
    command: str | None = None,
    dtype: torch.dtype = torch.float32,
    memory: bool = False,
) -> Latency:
    """Load models and time them.

    Args:
        models: name -> path of a sentence_prediction or translation checkpoint, or of a folder that an export wrote;
            the first is the base of the ratios.
        data: path of the binarised data folder, with the dictionaries that the models were trained with.
        split: name of the split to draw sentences from.
        batch_sizes: numbers of sentences per batch; by default 1 and 32 for classifiers, 32 for translation models.
        threads: number of torch's threads within one operation.
        repeats: number of timed rounds; each runs every model over the sentences once with each batch size.
        max_sentences: maximum number of sentences; a multiple of the largest batch size is drawn, so that all batches
            are full.
        seed: seed of the draw.
        beam: beam size, for translation models.
        command: the command line, for the record.
        dtype: precision of the products of this plugin's models, float32 or bfloat16.
        memory: also measure the peak memory of each classifier.

    Raises:
        LayerdropError: a model or the data cannot be used, an exported model does not answer as its checkpoint, or
            there are fewer sentences than a batch needs.
    """
    check_dtype(dtype)
    with threads_set(threads):
        loaded = {name: engines.load(path, data, threads, beam, dtype) for name, path in models.items()}
        workload = choose_workload(loaded)
        first = next(iter(loaded.values()))
        languages = first.described["languages"]  # selects the pair in folders with several
        data_hash = find_split(data, split, languages and tuple(languages)).sha256()
        for engine in loaded.values():
            engine.check()
        batch_sizes = batch_sizes or workload.batch_sizes
        dataset = _load_split(first.task, data, split)
        sizes = [workload.size(dataset, index) for index in range(len(dataset))]
        chosen = choose(sizes, workload.longest(), max(batch_sizes), max_sentences, seed)
        seconds, counts = _time_all(workload, list(models), dataset, chosen, batch_sizes, repeats)
    largest = workload.collate(dataset, [dataset[index] for index in chosen[-max(batch_sizes) :]])
    peaks = {name: engine.peak_bytes([largest[name]]) if memory else None for name, engine in loaded.items()}
    return {
        "type": TYPE,
        "version": 2,
        "task": workload.kind,
        "device": "cpu",
        "cpu": cpu_name(),
        "threads": threads,
        **({} if dtype == torch.float32 else {"inference_dtype": str(dtype)}),
        **provenance.made_with(command),
        "data_sha256": data_hash,
        "split": split,
        "seed": seed,
        "sentences": len(chosen),
        "mean_tokens": statistics.fmean(sizes[index] for index in chosen),
        "repeats": repeats,
        "batch_sizes": list(batch_sizes),
        **workload.settings,
        "models": _summary(workload, loaded, seconds, counts, len(chosen), peaks),
    }


def choose(sizes: Sequence[int], longest: int, batch_size: int, max_sentences: int, seed: int) -> list[int]:
    """Draw sentences at random and sort them by length, as fairseq does before it batches.

    Args:
        sizes: number of tokens of every example.
        longest: maximum number of tokens; longer examples are left out.
        batch_size: the largest batch size; the number of drawn sentences is a multiple of it.
        max_sentences: maximum number of sentences to draw.
        seed: seed of the draw.

    Returns:
        Indices of the drawn sentences, shortest first.

    Raises:
        LayerdropError: there are fewer sentences than one batch needs.
    """
    sizes = np.asarray(sizes)
    usable = np.flatnonzero(sizes <= longest)
    count = min(len(usable), max_sentences) // batch_size * batch_size
    if count == 0:
        raise LayerdropError(
            f"a batch of {batch_size} needs as many sentences: the split has {len(usable)} that fit the models, "
            f"and --max-sentences is {max_sentences}"
        )
    drawn = np.random.default_rng(seed).choice(usable, size=count, replace=False)
    return [int(index) for index in drawn[np.lexsort((drawn, sizes[drawn]))]]


def cpu_name() -> str:
    """The processor's name, such as "Intel(R) Xeon(R) CPU @ 2.20GHz", or Python's name for it outside Linux."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _load_split(task, data: str | os.PathLike, split: str):
    try:
        with provenance.quiet():
            task.load_dataset(split)
            return task.dataset(split)
    except Exception as error:
        raise LayerdropError(f"cannot read the split '{split}' of {data}: {first_line(error)}") from error


def _time_all(
    workload: Classification | Translation,
    names: Sequence[str],
    dataset,
    chosen: Sequence[int],
    batch_sizes: Sequence[int],
    repeats: int,
) -> tuple[rounds.Seconds, rounds.Counts]:
    """Time all models with every batch size; returns seconds and counts as :func:`rounds.time_rounds` does."""
    work = {}
    for size in batch_sizes:
        batches = [
            workload.collate(dataset, [dataset[index] for index in chosen[start : start + size]])
            for start in range(0, len(chosen), size)
        ]
        together = max(1, rounds.TURN // size)
        work[size] = [batches[start : start + together] for start in range(0, len(batches), together)]
    turns = (repeats + 1) * sum(map(len, work.values())) * len(names)
    with tqdm(total=turns, desc="latency", unit="turn") as progress:
        return rounds.time_rounds(workload, names, work, repeats, progress.update)


def _summary(
    workload: Classification | Translation,
    loaded: Mapping[str, Engine],
    seconds: rounds.Seconds,
    counts: rounds.Counts,
    sentences: int,
    peaks: Mapping[str, int | None],
) -> list[Timed]:
    found = [
        {
            "name": name,
            "checkpoint": loaded[name].described,
            **({} if peaks[name] is None else {"peak_bytes": peaks[name]}),
            **workload.figures(seconds[name], counts[name], sentences),
        }
        for name in seconds
    ]
    for model in found:
        ratios = workload.ratios(model, found[0])
        model[workload.compared] = {size: statistics.median(each) for size, each in ratios.items()}
        if model is not found[0]:
            model["spread"] = {size: rounds.spread(each) for size, each in ratios.items()}
    return found


@contextlib.contextmanager
def threads_set(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
