"""Forward passes over made-up sentences, to time a model and its children of any size against each other."""

import statistics
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..errors import LayerdropError
from . import rounds
from .session import ANSWERS, Session

ROUNDS = 7  # timed rounds of models against each other
FIRST_WORD = 4  # symbols before it are fairseq's special ones


class Passes:
    """A workload for :func:`rounds.time_rounds`: calls functions by name, without gradients.

    Args:
        calls: name -> a function without arguments.
        device: where they compute.
    """

    def __init__(self, calls: Mapping[str, Callable[[], object]], device: torch.device):
        self._calls, self._device = calls, device

    @torch.no_grad()
    def run(self, name: str, batches: Sequence[None]) -> None:
        """Call the function *name* once for each of *batches*, and wait for the device."""
        for _ in batches:
            self._calls[name]()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    @staticmethod
    def count(_name: str, _outputs: None) -> int:
        """0: the work of all functions is the same."""
        return 0


def sentences(session: Session, batch: int, length: int, device: torch.device) -> dict[str, Tensor]:
    """The inputs (batch, length) of a forward pass: words drawn at random, without padding.

    Raises:
        LayerdropError: the model cannot read as many tokens.
    """
    limits = session.model.max_positions()
    longest = min(limits) if isinstance(limits, tuple) else limits
    if length > longest:
        raise LayerdropError(
            f"sentences of {length} tokens are too long for {session.path}: it reads at most {longest}"
        )
    generator = torch.Generator().manual_seed(session.seed)
    words = len(session.task.source_dictionary)
    tokens = torch.randint(min(FIRST_WORD, words - 1), words, (batch, length), generator=generator).to(device)
    if session.kind != "translation":
        return {"src_tokens": tokens}
    targets = tokens % (len(session.task.target_dictionary) - FIRST_WORD) + FIRST_WORD
    lengths = torch.full((batch,), length, device=device)
    return {"src_tokens": tokens, "src_lengths": lengths, "prev_output_tokens": targets}


def forward_of(session: Session, model: nn.Module, inputs: dict[str, Tensor]) -> Callable[[], object]:
    """A forward pass of *model*, for the session's data; a classifier's with its head, else with all logits."""
    if session.kind in ANSWERS:
        head = session.task.cfg.classification_head_name
        return lambda: model(**inputs, features_only=True, classification_head_name=head)
    return lambda: model(**inputs)


def ratios(calls: Mapping[str, Callable[[], object]], batch: int, device: torch.device) -> dict[str, rounds.Spread]:
    """Time functions in turn.

    Args:
        calls: name -> a function without arguments; the first is what the others are compared with.
        batch: number of sentences that a call reads.
        device: where they compute.

    Returns:
        name -> the spread over rounds of its time divided by the first one's; without the first.
    """
    passes = [[None] * max(1, rounds.TURN // batch)] * 3
    with tqdm(total=(ROUNDS + 1) * len(passes) * len(calls), desc="latency", unit="turn") as progress:
        seconds, _ = rounds.time_rounds(Passes(calls, device), list(calls), {"": passes}, ROUNDS, progress.update)
    first, *others = calls
    return {
        name: rounds.spread([mine / of for mine, of in zip(seconds[name][""], seconds[first][""], strict=True)])
        for name in others
    }


def median(found: rounds.Spread) -> float:
    """The median of a ratio over its rounds."""
    return statistics.median(found["rounds"])


def device_of(name: str) -> torch.device:
    """The device called *name*, such as ``cpu`` or ``cuda:0``.

    Raises:
        LayerdropError: there is no such device here.
    """
    try:
        device = torch.device(name)
        there = device.type == "cpu" or (device.type == "cuda" and (device.index or 0) < torch.cuda.device_count())
    except (RuntimeError, ValueError):
        there = False
    if not there:
        here = ", ".join(["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))])
        raise LayerdropError(f"there is no device {name!r} here to measure latency on: use one of {here}")
    return device
