"""Time fairseq sentence classifiers against each other: one process, the same real sentences, in turn.

Two numbers from two processes are not comparable on a machine that others use as well. So all models are loaded
together and every repeat times each of them on the same batches, in an order that alternates from repeat to repeat;
the median over repeats is what counts.

The measurement (`layerdrop latency` writes it, `layerdrop report` reads it):

    type, version         "layerdrop.latency", 1
    device, cpu, threads  "cpu", the processor's name, threads that torch may use
    versions, command     as in a result (see score.py)
    data_sha256, split    of what the sentences come from
    seed, sentences, mean_tokens, repeats, batch_sizes
                          which and how many sentences were drawn, their mean length in tokens
    models                per model: name, checkpoint (as in a result), and by batch size (a string in JSON)
                          ms_per_sentence: median over repeats, in milliseconds
                          ratio: that over the first model's
                          all_ms_per_sentence: the single repeats, in the order they were taken
"""

import contextlib
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from . import signature
from .errors import LayerdropError


def measure(models, data, split, batch_sizes=(1, 32), threads=2, repeats=7, max_sentences=256, seed=1, command=None):
    """Load models and time them.

    Args:
        models (dict[str, str]): name -> checkpoint of a sentence_prediction model; the first is the base of ratios.
        data (str): binarised data folder, with the dictionaries the models were trained with.
        split (str): split to draw sentences from.
        batch_sizes (Sequence[int]): sentences per forward.
        threads (int): torch's threads for one operation.
        repeats (int): timed passes over the sentences for each model and batch size.
        max_sentences (int): most sentences to draw; a multiple of the largest batch is taken, so all are full.
        seed (int): of the draw.
        command (str | None): what was typed, for the record.

    Returns:
        dict: the measurement, see the module's docstring.

    Raises:
        LayerdropError: a checkpoint or the data cannot be used, or there are fewer sentences than a batch needs.
    """
    described = {name: signature.describe_checkpoint(path) for name, path in models.items()}
    data_hash = signature.data_sha256(data, split)
    loaded, task = _load(models, data)
    dataset = _load_split(task, data, split)
    longest = min(model.max_positions() for model, _ in loaded.values())
    sizes = [int(dataset.size(index)) for index in range(len(dataset))]
    chosen = choose(sizes, longest, max(batch_sizes), max_sentences, seed)
    with _threads(threads):
        times = _time_all(loaded, dataset, chosen, batch_sizes, repeats)
    return {
        "type": "layerdrop.latency",
        "version": 1,
        "device": "cpu",
        "cpu": cpu_name(),
        "threads": threads,
        "versions": signature.versions(),
        "command": command,
        "data_sha256": data_hash,
        "split": split,
        "seed": seed,
        "sentences": len(chosen),
        "mean_tokens": statistics.fmean(sizes[index] for index in chosen),
        "repeats": repeats,
        "batch_sizes": list(batch_sizes),
        "models": _summary(described, times),
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


def _load(models, data):
    """Load every checkpoint; return ({name: (model in eval mode, its head's name)}, the first one's task)."""
    from fairseq import checkpoint_utils

    loaded, first = {}, None
    for name, path in models.items():
        try:
            with signature.quiet():
                (model,), _, task = checkpoint_utils.load_model_ensemble_and_task(
                    [str(path)], arg_overrides={"data": str(data)}
                )
        except LayerdropError:
            raise
        except Exception as error:  # fairseq raises whatever its parts raise: a wrong dictionary, a wrong task, …
            raise LayerdropError(f"cannot load {path} with the data in {data}: {_first_line(error)}") from error
        head = getattr(task.cfg, "classification_head_name", None)
        if head not in getattr(model, "classification_heads", {}):
            raise LayerdropError(f"{path} is no sentence_prediction model: it has no classification head")
        loaded[name] = model.eval(), head
        first = first or task
    return loaded, first


def _load_split(task, data, split):
    try:
        with signature.quiet():
            return task.load_dataset(split)
    except Exception as error:
        raise LayerdropError(f"cannot read the split '{split}' of {data}: {_first_line(error)}") from error


def _time_all(loaded, dataset, chosen, batch_sizes, repeats):
    """Seconds of every pass: {name: {batch size: [one per repeat, …]}}, divided by the sentences, in milliseconds."""
    times = {name: {size: [] for size in batch_sizes} for name in loaded}
    names = list(loaded)
    with tqdm(total=len(batch_sizes) * (repeats + 1) * len(names), desc="latency", unit="pass") as progress:
        for size in batch_sizes:
            batches = _batches(dataset, chosen, size)
            for repeat in range(-1, repeats):  # the first pass warms up: allocator, caches, thread pool
                for name in names if repeat % 2 == 0 else reversed(names):
                    milliseconds = 1000 * _one_pass(*loaded[name], batches) / len(chosen)
                    if repeat >= 0:
                        times[name][size].append(milliseconds)
                    progress.update()
    return times


def _batches(dataset, chosen, size):
    """Batches of `size` sentences in the given order, padded by fairseq's own collater."""
    return [
        dataset.collater([dataset[index] for index in chosen[start : start + size]])["net_input"]
        for start in range(0, len(chosen), size)
    ]


@torch.no_grad()
def _one_pass(model, head, batches):
    start = time.perf_counter()
    for net_input in batches:
        model(**net_input, features_only=True, classification_head_name=head)
    return time.perf_counter() - start


def _summary(described, times):
    medians = {name: {size: statistics.median(taken) for size, taken in by.items()} for name, by in times.items()}
    base = medians[next(iter(medians))]
    return [
        {
            "name": name,
            "checkpoint": {key: value for key, value in described[name].items() if key != "provenance"},
            "ms_per_sentence": {str(size): value for size, value in medians[name].items()},
            "ratio": {str(size): value / base[size] for size, value in medians[name].items()},
            "all_ms_per_sentence": {str(size): taken for size, taken in times[name].items()},
        }
        for name in times
    ]


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
