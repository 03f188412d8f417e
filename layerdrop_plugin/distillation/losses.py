"""How far a child's outputs and hidden states are from its teacher's, in single precision."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class HiddenPair(NamedTuple):
    """Hidden states of one place in depth.

    Attributes:
        child, teacher: (length, batch, width).
        places: booleans (batch, length), False at padding.
    """

    child: Tensor
    teacher: Tensor
    places: Tensor


def divergence(teacher: Tensor, child: Tensor, temperature: float) -> Tensor:
    """Sum over rows of KL(teacher ‖ child) in nats, of the distributions softmax(scores / *temperature*).

    Source: Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2, without their factor
    of temperature².

    Args:
        teacher, child: scores (rows, classes): logits or log-probabilities.
    """
    expected, found = (F.log_softmax(scores.float() / temperature, dim=-1) for scores in (teacher, child))
    return F.kl_div(found, expected, log_target=True, reduction="sum")


def squared_difference(teacher: Tensor, child: Tensor) -> Tensor:
    """Sum of the squared differences of two tensors of one shape."""
    return (teacher.float() - child.float()).square().sum()


def hidden_difference(pairs: Iterable[HiddenPair], sizes: Tensor) -> Tensor:
    """Mean squared difference of hidden states, times the sample size.

    The mean is over a pair's width, over the places of an example that are no padding, and over *pairs*. It is taken
    for each example and multiplied with the example's share of the sample size: like the losses of fairseq's
    criterions the result is a sum over examples, and does not depend on how these are put into batches.

    Args:
        sizes: (batch,), what each example adds to the sample size.
    """
    means = []
    for child, teacher, places in pairs:
        squares = (child.float() - teacher.float()).square().mean(-1).t() * places
        means.append(squares.sum(1) / places.sum(1).clamp(min=1))
    if not means:  # LayerDrop has left out every layer
        return sizes.new_zeros(())
    return (torch.stack(means).mean(0) * sizes).sum()
