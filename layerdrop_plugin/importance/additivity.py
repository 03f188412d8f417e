"""Check that a criterion's loss is a sum over independent examples, which importance per example needs."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from ..errors import LayerdropError
from .recorder import num_examples

TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4}  # relative
COARSE = 2e-2  # relative tolerance in half precision
ALONE = 4  # number of examples that are run one by one


def check_additivity(
    loss_fn: Callable[[dict], Tensor], sample: dict, modules: Iterable[nn.Module], padding: int
) -> None:
    """Refuse a loss that is no sum over the examples of *sample*.

    A few examples, spread over the batch, are run one by one: their common loss must be the sum of their single losses,
    and the batch's loss the sum of theirs and that of the other examples. This takes at most eight forward passes.

    Args:
        loss_fn: computes the loss of a fairseq batch.
        sample: a fairseq batch.
        modules: the model and the criterion. They are put into evaluation mode meanwhile; their state and the random
            states are restored.
        padding: the dictionary's padding index.

    Raises:
        LayerdropError: the loss of the batch, or of a few of its examples, is not the sum of its parts' losses.
    """
    dtype = next(weight.dtype for module in modules for weight in module.parameters())
    dtype = torch.float16 if torch.is_autocast_enabled() else dtype

    def loss(rows: list[int]) -> Tensor:
        return loss_fn(examples(sample, rows, padding)).double().sum()

    with _evaluation(modules):
        for batch, parts in _partitions(num_examples(sample)):
            whole, total = loss(batch), torch.stack([loss(part) for part in parts]).sum()
            if not torch.isclose(whole, total, rtol=TOLERANCE.get(dtype, COARSE), atol=1e-6):
                raise LayerdropError(
                    f"the criterion's loss of {len(batch)} examples ({whole:.6g}) is not the sum of the losses of"
                    f" {len(parts)} parts of them ({total:.6g}): importance needs a loss that is a sum over"
                    " independent examples"
                )


def _partitions(rows: int) -> Iterator[tuple[list[int], list[list[int]]]]:
    """Pairs of some examples' indices in a batch of *rows* and a partition of these indices."""
    few = sorted({number * (rows - 1) // (ALONE - 1) for number in range(ALONE)})
    rest = [row for row in range(rows) if row not in few]
    yield few, [[row] for row in few]
    if rest:
        yield list(range(rows)), [few, rest]


@contextlib.contextmanager
def _evaluation(modules: Iterable[nn.Module]) -> Iterator[None]:
    modes = {module: module.training for root in modules for module in root.modules()}
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.no_grad(), torch.random.fork_rng(devices):
        try:
            for module in modes:
                module.training = False
            yield
        finally:
            for module, training in modes.items():
                module.training = training


def examples(sample: dict, rows: list[int], padding: int) -> dict:
    """The examples *rows* of *sample* as a batch; their padding is not changed."""
    chosen = _rows(sample, rows, num_examples(sample))
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
    """``ntokens`` of *chosen*: counted in the text that gives the ``ntokens`` of *sample*, or in proportion to it."""
    for text in (lambda batch: batch.get("target"), lambda batch: batch.get("net_input", {}).get("src_tokens")):
        if isinstance(text(sample), Tensor) and int(text(sample).ne(padding).sum()) == int(sample["ntokens"]):
            return int(text(chosen).ne(padding).sum())
    return sample["ntokens"] * num_examples(chosen) / num_examples(sample)
