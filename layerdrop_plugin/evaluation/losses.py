"""What a model loses by example, so that two models (or a model and its gated self) can be compared example by example.

Losses are in nats, without label smoothing, summed over an example's tokens; of a regression the squared error.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .session import ANSWERS, Session


class Measured(NamedTuple):
    """Of some examples, each of shape (examples,).

    Attributes:
        losses: nats, in double precision.
        tokens: target tokens; of a classification 1.
        correct: whether the answer is right; None of what is no classification.
        predictions, targets: of a classification numbers of classes, of a regression (examples,) or, where a model
            gives several numbers, (examples, numbers); else None.
    """

    losses: np.ndarray
    tokens: np.ndarray
    correct: np.ndarray | None = None
    predictions: np.ndarray | None = None
    targets: np.ndarray | None = None

    @property
    def loss(self) -> float:
        """Nats per example."""
        return float(self.losses.mean())

    @property
    def loss_per_token(self) -> float:
        """Nats per target token."""
        return float(self.losses.sum() / self.tokens.sum())

    @property
    def accuracy(self) -> float | None:
        """Percent."""
        return None if self.correct is None else 100 * float(self.correct.mean())


@torch.no_grad()
def measure(session: Session, sample: dict, encoder_out: dict | None = None) -> Measured:
    """The examples of *sample*, in its order.

    Args:
        encoder_out: the encoder's output of this sample (see :func:`encode`), which is then not run.
    """
    if session.kind in ANSWERS:
        return _of_answers(session, sample)
    if session.kind == "masked_lm":
        return _of_masked_tokens(session, sample)
    return _of_tokens(session, sample, encoder_out)


def sentence_losses(session: Session, sample: dict, encoder_out: dict | None = None) -> Tensor:
    """Losses (batch,) of the examples of *sample*, in double precision, in its order."""
    return torch.from_numpy(measure(session, sample, encoder_out).losses)


@torch.no_grad()
def encode(session: Session, sample: dict) -> dict:
    """The encoder's output of *sample*, of an encoder-decoder model."""
    return session.model.encoder(sample["net_input"]["src_tokens"], src_lengths=sample["net_input"]["src_lengths"])


def measure_all(session: Session, batches: Iterable[dict]) -> Measured:
    """All examples of *batches*, in the order of their numbers."""
    batches = list(batches)
    return in_order(batches, [measure(session, sample) for sample in batches])


def in_order(batches: list[dict], measured: list[Measured]) -> Measured:
    """What was *measured* of each of *batches*, as one, in the order of the examples' numbers."""
    order = np.argsort(np.concatenate([sample["id"].cpu().numpy() for sample in batches]), kind="stable")
    columns = zip(*measured, strict=True)
    return Measured(*(None if column[0] is None else np.concatenate(column)[order] for column in columns))


def _of_answers(session: Session, sample: dict) -> Measured:
    head = session.task.cfg.classification_head_name
    logits, _ = session.model(**sample["net_input"], features_only=True, classification_head_name=head)
    if session.kind == "regression":
        targets = sample["target"].view(len(logits), -1).double()
        predictions = logits.view(len(logits), -1).double()
        errors = (predictions - targets).square().sum(1)
        return _measured(errors, torch.ones_like(errors), None, predictions.squeeze(1), targets.squeeze(1))
    targets, predictions = sample["target"].view(-1), logits.argmax(1)
    losses = F.cross_entropy(logits.float(), targets, reduction="none")
    return _measured(losses, torch.ones_like(losses), predictions.eq(targets), predictions, targets)


def _of_masked_tokens(session: Session, sample: dict) -> Measured:
    masked = sample["target"].ne(session.task.source_dictionary.pad())
    logits = session.model(**sample["net_input"], masked_tokens=masked)[0]
    losses = torch.zeros(masked.shape, dtype=torch.float64, device=logits.device)
    losses[masked] = F.cross_entropy(logits.float(), sample["target"][masked], reduction="none").double()
    return _measured(losses.sum(1), masked.sum(1))


def _of_tokens(session: Session, sample: dict, encoder_out: dict | None) -> Measured:
    given = sample["net_input"]
    if encoder_out is None:
        output = session.model(**given)
    else:
        output = session.model.decoder(given["prev_output_tokens"], encoder_out=encoder_out)
    targets = sample["target"]
    counted = targets.ne(session.task.target_dictionary.pad())
    if getattr(session.model.decoder, "adaptive_softmax", None) is None:
        losses = F.cross_entropy(output[0].float().flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
    else:
        logs = session.model.get_normalized_probs(output, log_probs=True, sample=sample)
        losses = -logs.gather(2, targets.unsqueeze(2)).squeeze(2)
    return _measured(losses.double().masked_fill(~counted, 0.0).sum(1), counted.sum(1))


def _measured(losses: Tensor, tokens: Tensor, *answers: Tensor | None) -> Measured:
    numbers = (None if answer is None else answer.cpu().numpy() for answer in answers)
    return Measured(losses.double().cpu().numpy(), tokens.long().cpu().numpy(), *numbers)
