"""Time models against each other: one process, the same real sentences, in turn.

Two numbers from two processes are not comparable on a machine that others use as well. So all models are loaded
together and every round times each of them on the same batches, in turn (see rounds.py). Ratios are taken within each
round; their median is what counts, and how far they agree is said with it. What is timed, of classifiers and of
translation models, is in workloads.py.

The measurement (`layerdrop latency` writes it, `layerdrop report` reads it):

    type, version         "layerdrop.latency", 2 (1: without spread; ratio and speed were those of the medians)
    task                  "classification" or "translation"
    device, cpu, threads  "cpu", the processor's name, threads that torch may use
    versions, command     as in a result (see results.py)
    data_sha256, split    of what the sentences come from
    seed, sentences, mean_tokens, repeats, batch_sizes
                          which and how many sentences were drawn, their mean length in (source) tokens; how many
                          rounds counted
    generation            of translations: fairseq's beam, nbest, max_len_a, max_len_b, min_len, lenpen
    models                per model: name, checkpoint (as in a result), and by batch size (a string in JSON)
        classification    ms_per_sentence: median over rounds, in milliseconds
                          ratio: of the time to the first model's in the same round, median over rounds
                          all_ms_per_sentence: the single rounds, in the order they were taken
        translation       target_tokens: tokens of the best hypotheses in one round, without end marks
                          tokens_per_second, sentences_per_second: over the median of the rounds' seconds
                          speed: ratio of the tokens per second to the first model's in the same round, median over
                          rounds
                          all_seconds: the single rounds, in the order they were taken
        both              spread (not of the first model): of ratio or speed, see rounds.spread: rounds, least,
                          greatest, unreliable
"""

import contextlib
import platform
import statistics
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .. import provenance
from ..data_folder import find_split
from ..errors import LayerdropError
from . import rounds
from .workloads import choose_workload

TYPE = "layerdrop.latency"


def measure(
    models, data, split, batch_sizes=None, threads=2, repeats=7, max_sentences=256, seed=1, beam=4, command=None
):
    """Load models and time them.

    Args:
        models (dict[str, str]): name -> checkpoint of a sentence_prediction or a translation model; the first is the
            base of ratios.
        data (str): binarised data folder, with the dictionaries the models were trained with.
        split (str): split to draw sentences from.
        batch_sizes (Sequence[int] | None): sentences per batch; by default 1 and 32, 32 for translations.
        threads (int): torch's threads for one operation.
        repeats (int): timed rounds; each runs every model over the sentences once with each batch size.
        max_sentences (int): most sentences to draw; a multiple of the largest batch is taken, so all are full.
        seed (int): of the draw.
        beam (int): beam's size of translations.
        command (str | None): what was typed, for the record.

    Returns:
        dict: the measurement, see the module's docstring.

    Raises:
        LayerdropError: a checkpoint or the data cannot be used, or there are fewer sentences than a batch needs.
    """
    described = {name: provenance.describe_checkpoint(path)[0] for name, path in models.items()}
    data_hash = find_split(data, split).sha256()
    loaded = {name: _load(path, data) for name, path in models.items()}
    workload = choose_workload(described, loaded, beam)
    batch_sizes = batch_sizes or workload.batch_sizes
    dataset = _load_split(next(iter(loaded.values()))[1], data, split)
    sizes = [workload.size(dataset, index) for index in range(len(dataset))]
    chosen = choose(sizes, workload.longest(), max(batch_sizes), max_sentences, seed)
    with _threads(threads):
        seconds, counts = _time_all(workload, list(models), dataset, chosen, batch_sizes, repeats)
    return {
        "type": TYPE,
        "version": 2,
        "task": workload.kind,
        "device": "cpu",
        "cpu": cpu_name(),
        "threads": threads,
        **provenance.made_with(command),
        "data_sha256": data_hash,
        "split": split,
        "seed": seed,
        "sentences": len(chosen),
        "mean_tokens": statistics.fmean(sizes[index] for index in chosen),
        "repeats": repeats,
        "batch_sizes": list(batch_sizes),
        **workload.settings,
        "models": _summary(workload, described, seconds, counts, len(chosen)),
    }


def choose(sizes, longest, batch_size, max_sentences, seed):
    """Draw sentences at random and sort them by length, as fairseq does before it batches.

    Args:
        sizes (Sequence[int]): tokens of every example.
        longest (int): most tokens that every model can read; longer examples are left out.
        batch_size (int): the largest batch.
        max_sentences (int): most sentences to draw.
        seed (int): of the draw.

    Returns:
        list[int]: indices, a multiple of `batch_size` of them, shortest first.

    Raises:
        LayerdropError: fewer sentences than one batch.
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


def cpu_name():
    """The processor's name, such as "Intel(R) Xeon(R) CPU @ 2.20GHz", or whatever the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _load(path, data):
    """The model in a checkpoint, as fairseq loads it, and its task."""
    from fairseq import checkpoint_utils

    try:
        with provenance.quiet():
            (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
                [str(path)], arg_overrides={"data": str(data)}
            )
    except LayerdropError:
        raise
    except Exception as error:  # fairseq raises whatever its parts raise: a wrong dictionary, a wrong task, …
        raise LayerdropError(f"cannot load {path} with the data in {data}: {_first_line(error)}") from error
    return model, task


def _load_split(task, data, split):
    try:
        with provenance.quiet():
            task.load_dataset(split)
            return task.dataset(split)
    except Exception as error:
        raise LayerdropError(f"cannot read the split '{split}' of {data}: {_first_line(error)}") from error


def _time_all(workload, names, dataset, chosen, batch_sizes, repeats):
    """Time every round and count what it makes.

    Returns:
        tuple[dict, dict]: {name: {batch size: [seconds, one per round]}} and {name: {batch size: count}}
    """
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


def _summary(workload, described, seconds, counts, sentences):
    found = [
        {
            "name": name,
            "checkpoint": described[name],
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
def _threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
