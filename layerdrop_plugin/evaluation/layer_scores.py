"""Score the layers of a model by what each of them changes, or by a greedy search; rules in pruning/layer_scores.py.

    contribution    1 - cosine similarity of a layer's input and output (Sajjad et al. 2020, "Poor Man's BERT")
    loss            the place of a layer in the order in which the greedy search removes the layers, from 1

Layers with low scores are removed first.
"""

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..anatomy import LAYERS
from ..pruning.gates import stacks_of
from ..pruning.layer_scores import CONTRIBUTION, LOSS
from ..pruning.scores import Scores
from . import layer_search
from .losses import measure
from .search_state import SearchState, settings_of
from .session import Session

TRANSFORMERS = ("translation", "language_modeling")  # kinds of models whose text has no first token that stands for it


class _Mean:
    """Mean and standard error of numbers that are added in batches."""

    def __init__(self):
        self.count, self.sum, self.squares = 0, 0.0, 0.0

    def add(self, values: Tensor) -> None:
        """Add *values* (numbers,)."""
        values = values.double()
        self.count += len(values)
        self.sum += float(values.sum())
        self.squares += float(values.square().sum())

    @property
    def mean(self) -> float:
        return self.sum / self.count

    @property
    def standard_error(self) -> float:
        return (max(0.0, self.squares / self.count - self.mean**2) / self.count) ** 0.5


def contribution(
    session: Session, subset: str, per: str = "example", max_examples: int | None = None, command: str | None = None
) -> Scores:
    """Score the layers by 1 - cosine similarity of input and output, averaged over examples or over tokens.

    Args:
        session: the model and its data.
        subset: name of the split to draw examples from.
        per: ``example``: an example's vector is that of its first token (<s>, as in the paper), or in a Transformer for
            translation or language modelling, which has no such token, the mean of its tokens' vectors; ``token``: each
            token's vector, without padding.
        max_examples: maximum number of examples, drawn with the session's seed; all by default.
        command: the command line, for the file's signature.

    Raises:
        LayerdropError: a missing or empty subset, or hidden states that are not finite.
    """
    batches = session.batches(subset, max_examples)
    changes = {stack: [_Mean() for _ in layers] for stack, layers in stacks_of(session.model).items()}
    loss = _Mean()
    for sample in tqdm(batches, desc=CONTRIBUTION, unit="batch"):
        with _watched(session, sample, per, changes):
            loss.add(torch.from_numpy(measure(session, sample).losses))
    signature = session.signature(subset, command)
    return Scores.of(
        {f"{stack}.{LAYERS}": [layer.mean for layer in layers] for stack, layers in changes.items()},
        {f"{stack}.{LAYERS}": [layer.standard_error for layer in layers] for stack, layers in changes.items()},
        method=CONTRIBUTION,
        model=session.fingerprint,
        data=signature["data_sha256"],
        examples=loss.count,
        loss=loss.mean,
        per=per,
        signature=signature | {"left_out": batches.left_out},
    )


@contextlib.contextmanager
def _watched(session: Session, sample: dict, per: str, changes: dict[str, list[_Mean]]) -> Iterator[None]:
    """Add to *changes* what each layer changes in the model's forward of *sample* in this block."""
    source, target = sample["net_input"]["src_tokens"], sample["net_input"].get("prev_output_tokens")
    tokens = {"encoder": source, "decoder": source if target is None else target}
    padding = session.task.source_dictionary.pad()
    pooled = _mean if session.kind in TRANSFORMERS else _first
    vectors = pooled if per == "example" else _each
    with contextlib.ExitStack() as hooks:
        for stack, layers in stacks_of(session.model).items():
            mask = tokens[stack].ne(padding)
            for layer, change in zip(layers, changes[stack], strict=True):
                hooks.callback(
                    layer.register_forward_hook(functools.partial(_add_change, vectors, mask, change)).remove
                )
        yield


def _add_change(vectors, mask: Tensor, change: _Mean, _layer, inputs: tuple, output: Tensor | tuple) -> None:
    """A layer's hook: add 1 - cosine similarity of its input and output (time, batch, channels) to *change*."""
    after = output[0] if isinstance(output, tuple) else output
    before, after = (vectors(x.transpose(0, 1).double(), mask) for x in (inputs[0], after))
    change.add(1 - F.cosine_similarity(before, after, dim=-1))


def _first(x: Tensor, _mask: Tensor) -> Tensor:
    """The vectors (batch, channels) of the first tokens of *x* (batch, time, channels)."""
    return x[:, 0]


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    """The means (batch, channels) of the vectors of *x* (batch, time, channels) where *mask* (batch, time) is true."""
    return (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)


def _each(x: Tensor, mask: Tensor) -> Tensor:
    """The vectors (tokens, channels) of *x* (batch, time, channels) where *mask* (batch, time) is true."""
    return x[mask]


def greedy_loss(
    session: Session,
    subset: str,
    state: str | os.PathLike,
    max_examples: int | None = None,
    command: str | None = None,
) -> Scores:
    """Score the layers of each stack by the greedy search: it removes the one whose removal leaves the lowest loss.

    The N layers with the highest scores are those that the search keeps. The losses are in the signature: ``greedy``,
    by stack a list with the number of layers, the layer removed last (None of the whole model), and the loss.

    Args:
        session: the model and its data.
        subset: name of the split to measure losses on.
        state: path to which ``.STACK.state.json`` is added for the files from which an interrupted search goes on; the
            caller removes them with :func:`remove_states` when the scores are written.
        max_examples: maximum number of examples, drawn with the session's seed; all by default.
        command: the command line, for the file's signature.

    Raises:
        LayerdropError: a missing or empty subset, a loss that is not finite, or a state of another search.
    """
    batches = session.batches(subset, max_examples)
    scores, losses, whole = {}, {}, None
    for stack, path in _states(session, state).items():
        layers = len(stacks_of(session.model)[stack])
        asked = layer_search.Question(stack, layers, 1, "greedy")
        found = SearchState(path, settings_of(session, subset, max_examples, asked))
        if found.batches:
            tqdm.write(f"{path}: continuing after {found.batches} batches")
        compared = layer_search.run(session, batches, asked, found)
        order = _removed(compared, layers)
        scores[f"{stack}.{LAYERS}"] = [order.index(layer) + 1 for layer in range(layers)]
        losses[stack] = [
            {"layers": size, "removed": removed, "loss": of.values(of.ranked(LOSS)[0], session.per_token)["loss"]}
            for removed, (size, of) in zip([None, *order], compared.items(), strict=False)
        ]
        whole = compared[layers].values(tuple(range(layers)), per_token=False)["loss"]
    signature = session.signature(subset, command)
    return Scores.of(
        scores,
        {key: [0.0] * len(row) for key, row in scores.items()},
        method=LOSS,
        model=session.fingerprint,
        data=signature["data_sha256"],
        examples=len(batches.examples),
        loss=whole,
        per=None,
        signature=signature | {"left_out": batches.left_out, "greedy": losses},
    )


def remove_states(session: Session, state: str | os.PathLike) -> None:
    """Remove the files of an interrupted search that :func:`greedy_loss` was given as *state*."""
    for path in _states(session, state).values():
        path.unlink(missing_ok=True)


def _states(session: Session, state: str | os.PathLike) -> dict[str, Path]:
    return {stack: Path(f"{state}.{stack}.state.json") for stack in stacks_of(session.model)}


def _removed(compared: dict[int, layer_search.Compared], layers: int) -> list[int]:
    """The *layers* in the order in which the greedy search removes them, the one that it keeps last."""
    left, order = set(range(layers)), []
    for size in range(layers - 1, 0, -1):
        kept = set(compared[size].ranked(LOSS)[0])
        order += left - kept
        left = kept
    return [*order, *left]
