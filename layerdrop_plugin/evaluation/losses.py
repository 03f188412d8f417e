"""Per-example losses, for paired comparisons of two models, or of one model with and without some of its parts.

A loss is in nats, without label smoothing, and summed over an example's tokens; for regression it is the squared error.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .session import ANSWERS, Session

LOGITS = 2**25  # maximum number of logits at once: 128 MB in single precision, and as much again for their softmax


class Measured(NamedTuple):
    """Measurements of some examples; arrays of shape (examples,).

    Attributes:
        losses: losses in nats (squared errors for regression), in double precision.
        tokens: numbers of target tokens; 1 for classification and regression.
        correct: whether the predicted class is correct; None for other models than classifiers.
        predictions, targets: indices of classes for classification; numbers for regression, of shape (examples,
            outputs) if the model has several outputs; None for other models.
    """

    losses: np.ndarray
    tokens: np.ndarray
    correct: np.ndarray | None = None
    predictions: np.ndarray | None = None
    targets: np.ndarray | None = None

    def at(self, places: np.ndarray) -> "Measured":
        """The measurements of the examples at the positions *places* only."""
        return Measured(*(None if column is None else column[places] for column in self))

    @property
    def loss(self) -> float:
        """Mean loss per example."""
        return float(self.losses.mean())

    @property
    def loss_per_token(self) -> float:
        """Mean loss per target token."""
        return float(self.losses.sum() / self.tokens.sum())

    @property
    def accuracy(self) -> float | None:
        """Accuracy in percent; None for other models than classifiers."""
        return None if self.correct is None else 100 * float(self.correct.mean())


@torch.no_grad()
def measure(session: Session, sample: dict, encoder_out: dict | None = None) -> Measured:
    """Measure the examples of *sample*, in its order.

    Args:
        sample: a fairseq batch.
        encoder_out: the encoder's output for this sample (see :func:`encode`), instead of running the encoder.
    """
    session.optimize()
    if session.kind in ANSWERS:
        return _measure_answers(session, sample)
    if session.kind == "masked_lm":
        return _measure_masked_tokens(session, sample)
    return _measure_tokens(session, sample, encoder_out)


def sentence_losses(session: Session, sample: dict, encoder_out: dict | None = None) -> Tensor:
    """Losses (batch,) of the examples of *sample*, in double precision."""
    return torch.from_numpy(measure(session, sample, encoder_out).losses)


@torch.no_grad()
def encode(session: Session, sample: dict) -> dict:
    """The encoder's output for *sample*, a batch of an encoder-decoder model, as fairseq's encoder returns it."""
    session.optimize()
    return session.model.encoder(sample["net_input"]["src_tokens"], src_lengths=sample["net_input"]["src_lengths"])


def measure_all(session: Session, batches: Iterable[dict]) -> Measured:
    """Measure all examples of *batches*; the result is in the order of their indices."""
    numbers, measured = [], []
    for sample in batches:
        numbers.append(numbers_of(sample))
        measured.append(measure(session, sample))
    return in_order(numbers, measured)


def numbers_of(sample: dict) -> np.ndarray:
    """Indices (batch,) of the examples of *sample*."""
    return sample["id"].cpu().numpy()


def in_order(numbers: list[np.ndarray], measured: list[Measured]) -> Measured:
    """Concatenate the measurements of batches, and sort them by the examples' indices *numbers*."""
    order = np.argsort(np.concatenate(numbers), kind="stable")
    columns = zip(*measured, strict=True)
    return Measured(*(None if column[0] is None else np.concatenate(column)[order] for column in columns))


def _measure_answers(session: Session, sample: dict) -> Measured:
    head = session.task.cfg.classification_head_name
    logits, _ = session.model(**sample["net_input"], features_only=True, classification_head_name=head)
    if session.kind == "regression":
        targets = sample["target"].view(len(logits), -1).double()
        predictions = logits.view(len(logits), -1).double()
        errors = (predictions - targets).square().sum(1)
        return _to_numpy(errors, torch.ones_like(errors), None, predictions.squeeze(1), targets.squeeze(1))
    targets, predictions = sample["target"].view(-1), logits.argmax(1)
    losses = F.cross_entropy(logits.float(), targets, reduction="none")
    return _to_numpy(losses, torch.ones_like(losses), predictions.eq(targets), predictions, targets)


def _measure_masked_tokens(session: Session, sample: dict) -> Measured:
    words = session.task.source_dictionary
    features = session.model(**sample["net_input"], features_only=True)[0]
    head = session.model.encoder.lm_head
    return _by_token(features, sample["target"], words, lambda x, targets: _cross_entropy(head(x), targets))


def _measure_tokens(session: Session, sample: dict, encoder_out: dict | None) -> Measured:
    net_input, decoder = sample["net_input"], session.model.decoder
    if encoder_out is None:
        features = session.model(**net_input, features_only=True)[0]
    else:
        features = decoder(net_input["prev_output_tokens"], encoder_out=encoder_out, features_only=True)[0]
    adaptive = getattr(decoder, "adaptive_softmax", None)

    def loss_fn(x: Tensor, targets: Tensor) -> Tensor:
        if adaptive is not None:
            return _adaptive(adaptive, x, targets)
        return _cross_entropy(decoder.output_layer(x), targets)

    return _by_token(features, sample["target"], session.task.target_dictionary, loss_fn)


def _by_token(features: Tensor, targets: Tensor, words, loss_fn: Callable[[Tensor, Tensor], Tensor]) -> Measured:
    """Losses of *targets* (batch, length), summed over tokens that are no padding; computed for some tokens at a time.

    Args:
        features: the model's output before the output projection, (batch, length, channels).
        words: the target dictionary.
        loss_fn: computes losses (tokens,) from features (tokens, channels) and targets (tokens,).
    """
    counted = targets.ne(words.pad())
    rows = max(1, LOGITS // len(words))
    slices = zip(features[counted].split(rows), targets[counted].split(rows), strict=True)
    losses = torch.zeros(targets.shape, dtype=torch.float64, device=features.device)
    losses[counted] = torch.cat([loss_fn(*tokens).double() for tokens in slices])
    return _to_numpy(losses.sum(1), counted.sum(1))


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), targets, reduction="none")


def _adaptive(softmax, x: Tensor, targets: Tensor) -> Tensor:
    """Losses (tokens,) of fairseq's adaptive *softmax*: the head's, plus the tail's for targets in a tail cluster."""
    logits, cluster_targets = softmax(x, targets)
    losses = _cross_entropy(logits[0], cluster_targets[0])
    for tail, words, indices in zip(logits[1:], cluster_targets[1:], softmax.adapt_target(targets)[1], strict=True):
        if indices is not None:
            losses[indices] += _cross_entropy(tail, words)
    return losses


def _to_numpy(losses: Tensor, tokens: Tensor, *answers: Tensor | None) -> Measured:
    numbers = (None if answer is None else answer.cpu().numpy() for answer in answers)
    return Measured(losses.double().cpu().numpy(), tokens.long().cpu().numpy(), *numbers)
