"""Whether a criterion's loss is a sum over independent examples, which importance per example needs."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from ..errors import LayerdropError
from .recorder import rows_of

TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4}  # relative; of anything less precise COARSE
COARSE = 2e-2


def check_independence(loss_of: Callable[[dict], Tensor], sample: dict, modules: Iterable[nn.Module], padding: int):
    """Refuse a loss that is no sum over the examples of *sample*.

    Args:
        loss_of: the loss of a batch.
        sample: a batch of fairseq's.
        modules: the model and the criterion, which go into evaluation mode for it; nothing else changes, random states
            included.
        padding: the dictionary's number for padding.

    Raises:
        LayerdropError: the loss of the batch is not the sum of its examples' losses.
    """
    with _evaluation(modules):
        whole = loss_of(sample).double().sum()
        losses = torch.stack([loss_of(example(sample, row, padding)).double().sum() for row in range(rows_of(sample))])
    exact = next(weight.dtype for module in modules for weight in module.parameters())
    exact = torch.float16 if torch.is_autocast_enabled() else exact
    if not torch.isclose(whole, losses.sum(), rtol=TOLERANCE.get(exact, COARSE), atol=1e-6):
        raise LayerdropError(
            f"the criterion's loss of a batch ({whole:.6g}) is not the sum of its {len(losses)} examples' losses"
            f" ({losses.sum():.6g}): importance needs a loss that is a sum over independent examples"
        )


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


def example(sample: dict, row: int, padding: int) -> dict:
    """Example *row* of *sample* as a batch of its own, with the padding that it has there."""
    rows = rows_of(sample)
    one = _rows(sample, row, rows)
    if "nsentences" in sample:
        one["nsentences"] = 1
    if "ntokens" in sample:
        one["ntokens"] = _tokens(sample, one, padding)
    return one


def _rows(value, row: int, rows: int):
    if isinstance(value, dict):
        return {key: _rows(item, row, rows) for key, item in value.items()}
    if isinstance(value, Tensor):
        return value[row : row + 1] if value.dim() and len(value) == rows else value
    if isinstance(value, list) and len(value) == rows:
        return value[row : row + 1]
    return value


def _tokens(sample: dict, one: dict, padding: int):
    """Tokens of *one*: of whichever text those of *sample* were counted in, or its share of them."""
    for text in (lambda batch: batch.get("target"), lambda batch: batch.get("net_input", {}).get("src_tokens")):
        if isinstance(text(sample), Tensor) and int(text(sample).ne(padding).sum()) == int(sample["ntokens"]):
            return int(text(one).ne(padding).sum())
    return sample["ntokens"] / rows_of(sample)
