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
    """Raise an error if the loss is not a sum over the examples of *sample*.

    A few examples, spread over the batch, are run one by one. Their loss as one batch must be the sum of their single
    losses, and the loss of *sample* the sum of their loss and that of the other examples. This takes at most eight
    forward passes.

    Args:
        loss_fn: computes the loss (a scalar) of a fairseq batch.
        sample: a fairseq batch.
        modules: the model and the criterion. They are in evaluation mode during the check; their modes and the states
            of the random number generators are restored.
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
    """Yield (indices of examples in a batch of *rows*, partition of these indices); the losses of both must agree."""
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
    """The examples of *sample* with the indices *rows* as a batch, with unchanged padding.

    Args:
        sample: a fairseq batch.
        rows: indices in the batch.
        padding: the dictionary's padding index, to count ``ntokens``.
    """
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
    """``ntokens`` of *chosen*, a part of *sample*.

    If the target or the source of *sample* has ``ntokens`` tokens without padding, those of *chosen* are counted in it;
    otherwise ``ntokens`` is divided in proportion to the number of examples.
    """
    for text in (lambda batch: batch.get("target"), lambda batch: batch.get("net_input", {}).get("src_tokens")):
        if isinstance(text(sample), Tensor) and int(text(sample).ne(padding).sum()) == int(sample["ntokens"]):
            return int(text(chosen).ne(padding).sum())
    return sample["ntokens"] * num_examples(chosen) / num_examples(sample)
