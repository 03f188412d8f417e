"""Whether a criterion's loss is a sum over independent examples, which importance per example needs."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from ..errors import LayerdropError
from .recorder import rows_of

TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4}  # relative; of anything less precise COARSE
COARSE = 2e-2
ALONE = 4  # examples that are run each by itself


def check_additivity(loss_of: Callable[[dict], Tensor], sample: dict, modules: Iterable[nn.Module], padding: int):
    """Refuse a loss that is no sum over the examples of *sample*.

    A few examples from all over the batch stand for all: their loss must be the sum of what each has alone, and the
    batch's the sum of theirs and the rest's. That is eight forward passes at most.

    Args:
        loss_of: the loss of a batch.
        sample: a batch of fairseq's.
        modules: the model and the criterion, which go into evaluation mode for it; nothing else changes, random states
            included.
        padding: the dictionary's number for padding.

    Raises:
        LayerdropError: the loss of the batch, or of a few of its examples, is not the sum of its parts' losses.
    """
    exact = next(weight.dtype for module in modules for weight in module.parameters())
    exact = torch.float16 if torch.is_autocast_enabled() else exact

    def loss(rows: list[int]) -> Tensor:
        return loss_of(examples(sample, rows, padding)).double().sum()

    with _evaluation(modules):
        for batch, parts in _partitions(rows_of(sample)):
            whole, apart = loss(batch), torch.stack([loss(part) for part in parts]).sum()
            if not torch.isclose(whole, apart, rtol=TOLERANCE.get(exact, COARSE), atol=1e-6):
                raise LayerdropError(
                    f"the criterion's loss of {len(batch)} examples ({whole:.6g}) is not the sum of the losses of"
                    f" {len(parts)} parts of them ({apart:.6g}): importance needs a loss that is a sum over"
                    " independent examples"
                )


def _partitions(rows: int) -> Iterator[tuple[list[int], list[list[int]]]]:
    """Numbers of examples of a batch of *rows*, and the parts into which they are divided."""
    few = sorted({number * (rows - 1) // (ALONE - 1) for number in range(ALONE)})
    rest = [row for row in range(rows) if row not in few]
    yield few, [[row] for row in few]
    if rest:
        yield list(range(rows)), [few, rest]


@contextlib.contextmanager
def _evaluation(modules: Iterable[nn.Module]) -> Iterator[None]:
    before = {module: module.training for root in modules for module in root.modules()}
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.no_grad(), torch.random.fork_rng(devices):
        try:
            for module in before:
                module.training = False
            yield
        finally:
            for module, training in before.items():
                module.training = training


def examples(sample: dict, rows: list[int], padding: int) -> dict:
    """The examples *rows* of *sample* as a batch of their own, with the padding that they have there."""
    chosen = _rows(sample, rows, rows_of(sample))
    if "nsentences" in sample:
        chosen["nsentences"] = len(rows)
    if "ntokens" in sample:
        chosen["ntokens"] = _tokens(sample, chosen, padding)
    return chosen


def _rows(value, chosen: list[int], rows: int):
    if isinstance(value, dict):
        return {key: _rows(item, chosen, rows) for key, item in value.items()}
    if isinstance(value, Tensor):
        return value[chosen] if value.dim() and len(value) == rows else value
    if isinstance(value, list) and len(value) == rows:
        return [value[row] for row in chosen]
    return value


def _tokens(sample: dict, chosen: dict, padding: int):
    """Tokens of *chosen*: of whichever text those of *sample* were counted in, or their share of them."""
    for text in (lambda batch: batch.get("target"), lambda batch: batch.get("net_input", {}).get("src_tokens")):
        if isinstance(text(sample), Tensor) and int(text(sample).ne(padding).sum()) == int(sample["ntokens"]):
            return int(text(chosen).ne(padding).sum())
    return sample["ntokens"] * rows_of(chosen) / rows_of(sample)
