"""Drop rates that a training learns, one for each layer of a stack, their mean being fixed.

Source: Fan, Grave, Joulin 2019, "Reducing Transformer Depth on Demand with Structured Dropout", section 3.2 ("data
driven"). The gradient through the draw is that of REINFORCE (Williams 1992, "Simple statistical gradient-following
algorithms for connectionist reinforcement learning"). A dropped layer is not computed (law 5), so neither its output
nor a gradient of its gate is known: straight-through and concrete estimators, which need one of them, cannot be used.
docs/reference.md says how this differs from the paper.
"""

import logging
import math
import re
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from ..anatomy import STACKS

logger = logging.getLogger(__name__)

LOWEST, HIGHEST = 0.05, 0.95  # bounds of every rate: each layer goes on to be trained, and to be left out
LEARNING_RATE = 0.01  # default of --learn-layerdrop-lr
HIDDEN = 16  # units of the network's hidden layer
INPUT_MEMORY, LOSS_MEMORY = 0.99, 0.95  # what running means keep at an update
FIRST_UPDATES = 10  # after which the loss's mean and variance are known well enough to learn from
LARGEST = 3.0  # standard deviations of the loss that count at most
# Names of the weights of a model with learned rates.
NAMES = re.compile(rf"^(?P<stack>{'|'.join(STACKS)})(\.sentence_encoder)?\.learned_rates\.(?P<name>\w+)$")


def rates_of(scores: Tensor, rate: float) -> Tensor:
    """The rates p_d = 0.05 + 0.9 sigmoid(s_d + c) of layers with *scores* s_d, c being such that their mean is *rate*.

    Args:
        scores: (layers), in double precision.
        rate: mean of the rates, between 0.05 and 0.95.

    Returns:
        (layers), in double precision; in the order of the scores, each between 0.05 and 0.95.
    """
    share = (rate - LOWEST) / (HIGHEST - LOWEST)
    center = math.log(share / (1 - share))
    low, high = center - scores.max().item(), center - scores.min().item()  # at which the mean is below and above
    for _ in range(60):  # bisection, as far as doubles go
        middle = (low + high) / 2
        if torch.sigmoid(scores + middle).mean().item() < share:
            low = middle
        else:
            high = middle
    return LOWEST + (HIGHEST - LOWEST) * torch.sigmoid(scores + (low + high) / 2)


class LearnedRates(nn.Module):
    """Learned drop rates of one stack, and what they are learned with.

    The score of layer d is s_d = a_d + u_d · tanh(W m_d / |m_d|) / √H, with m_d the running mean of the layer's input
    over tokens (|·|: root mean square) and H = 16; W is shared by the layers. :func:`rates_of` makes rates of scores.
    a and u begin at 0, so that all rates begin at their mean.

    :meth:`record_draw` and :meth:`record_input` are called in every training forward, :meth:`add_loss` after it, and
    :meth:`update` once per update with the sums of all workers; see ``fairseq_patches.patch_learned_rates``.

    All state is in buffers: it is saved with the model, and fairseq's optimizer does not see it.

    Args:
        rate: mean of the rates, between 0.05 and 0.95.
        layers: number of layers, at least 2.
        width: width of the layers' input.
        stack: ``encoder`` or ``decoder``.
        seed: fairseq's ``--seed``.
        learning_rate: step of the network's weights for a gradient of the loss in units of its standard deviation.
    """

    def __init__(
        self,
        rate: float,
        layers: int,
        width: int,
        *,
        stack: str = "encoder",
        seed: int = 1,
        learning_rate: float = LEARNING_RATE,
    ):
        super().__init__()
        self.rate, self.stack, self.learning_rate = rate, stack, learning_rate
        rng = np.random.default_rng([seed % 2**64, STACKS.index(stack)])  # nothing else's random numbers change
        begin = {
            "rates": np.full(layers, rate),
            "hidden": rng.standard_normal((HIDDEN, width)) / math.sqrt(width),  # W
            "output": np.zeros((layers, HIDDEN)),  # u
            "bias": np.zeros(layers),  # a
            "input_mean": np.zeros((layers, width)),  # m
            "input_updates": np.zeros(layers),  # updates whose forwards ran the layer
            "loss_mean": np.zeros(()),  # the baseline
            "loss_variance": np.zeros(()),
            "updates": np.zeros(()),
        }
        for name, value in begin.items():
            self.register_buffer(name, torch.from_numpy(value.astype(np.float32)))
        self._current: list[float] | None = None  # the rates as numbers
        self._forward: dict[str, Tensor] = {}  # sums of the forwards whose loss is not known yet
        self._sums: dict[str, Tensor] = {}  # sums of this update

    def current(self) -> list[float]:
        """The rate of each layer."""
        if self._current is None:
            self._current = self.rates.tolist()
        return self._current

    def record_draw(self, kept: Iterable[int], factor: float) -> None:
        """Add d log P(draw) / d p_d of a training forward that keeps the layers *kept*, with rates *factor* · p_d."""
        kept = set(kept)
        score = [-factor / (1 - factor * p) if d in kept else 1 / p for d, p in enumerate(self.current())]
        _add(self._forward, {"score": torch.tensor(score, dtype=torch.float64)})

    def record_input(self, depth: int, layer: nn.Module, inputs: tuple, named: dict) -> None:
        """Add the input of layer *depth*, without padding: a forward pre-hook of *layer*.

        Args:
            inputs: the first is the layer's input (length, batch, width).
            named: fairseq's masks of padding (batch, length), True at padding; None where there is none.
        """
        x = inputs[0].detach()
        padding = named.get("self_attn_padding_mask" if self.stack == "decoder" else "encoder_padding_mask")
        tokens = x.shape[0] * x.shape[1]
        if padding is not None:
            x = x.masked_fill(padding.t().unsqueeze(-1), 0.0)
            tokens = tokens - padding.sum()
        if "inputs" not in self._forward:
            zeros = torch.zeros_like(self.input_mean, dtype=torch.float64, device=x.device)
            self._forward |= {"inputs": zeros, "tokens": zeros[:, 0].clone()}
        self._forward["inputs"][depth] += x.sum((0, 1), dtype=torch.float32)
        self._forward["tokens"][depth] += tokens

    def discard_forward(self) -> None:
        """Discard what forwards left whose loss does not count."""
        self._forward = {}

    def discard_update(self) -> None:
        """Discard the sums of an update that has not succeeded."""
        self._forward, self._sums = {}, {}

    def add_loss(self, loss: Tensor, sample_size: Tensor | int) -> None:
        """Add the *loss* of the latest forwards, summed over *sample_size*; nothing if they drew no layers."""
        forward, self._forward = self._forward, {}
        if "score" not in forward:
            return
        loss = loss.detach().double().reshape(())
        size = torch.as_tensor(sample_size, dtype=torch.float64, device=loss.device).reshape(())
        score = forward.pop("score").to(loss.device)
        _add(self._sums, forward | {"loss": loss, "size": size, "loss_score": loss * score, "size_score": size * score})

    def take_sums(self) -> dict[str, Tensor]:
        """The sums of this worker's part of the update, which begin anew.

        Every value is one that workers add: for micro-batches i with the loss L_i over n_i samples and the score
        vector z_i = d log P(draw) / d p they are Σ L_i, Σ n_i, Σ L_i z_i, Σ n_i z_i and sums of inputs and tokens.
        """
        sums, self._sums = self._sums, {}
        layers, width = self.input_mean.shape
        shapes = {"loss": (), "size": (), "loss_score": (layers,), "size_score": (layers,)}
        shapes |= {"inputs": (layers, width), "tokens": (layers,)}
        device = self.rates.device
        return {
            name: sums[name].to(device) if name in sums else torch.zeros(shape, dtype=torch.float64, device=device)
            for name, shape in shapes.items()
        }

    @torch.no_grad()
    def update(self, sums: dict[str, Tensor]) -> None:
        """Learn from the *sums* of all workers (see :meth:`take_sums`); nothing if there are none or they overflowed.

        The mean loss of earlier updates is the baseline b: the gradient is Σ (L_i - b n_i) z_i / Σ n_i, divided by
        the standard deviation of the loss, so that the learning rate does not depend on the loss's unit.
        """
        if not sums["size"] > 0 or not all(value.isfinite().all() for value in sums.values()):
            return
        loss = sums["loss"] / sums["size"]
        deviation = loss - self.loss_mean
        spread = self.loss_variance.double().sqrt()
        if self.updates >= FIRST_UPDATES and spread > 0:
            gradient = (sums["loss_score"] - self.loss_mean * sums["size_score"]) / sums["size"] / spread
            self._step(gradient * (LARGEST / max(LARGEST, abs(deviation.item()) / spread.item())))
        self._remember_inputs(sums)
        weight = max(1 - LOSS_MEMORY, 1 / (self.updates.item() + 1))
        if self.updates > 0:
            self.loss_variance += max(1 - LOSS_MEMORY, 1 / self.updates.item()) * (deviation**2 - self.loss_variance)
        self.loss_mean += weight * deviation
        self.updates += 1
        self.rates.copy_(rates_of(self._scores(self.hidden, self.output, self.bias).double().cpu(), self.rate))
        self._current = None

    def _scores(self, hidden, output, bias):
        """s_d of each layer."""
        size = self.input_mean.square().mean(1, keepdim=True).sqrt()
        features = torch.tanh(self.input_mean / size.clamp_min(1e-12) @ hidden.t()) / math.sqrt(HIDDEN)
        return bias + (output * features).sum(1)

    def _step(self, gradient: Tensor) -> None:
        """One step of gradient descent, *gradient* being that of the loss by the rates (layers)."""
        share = (self.rates.double() - LOWEST) / (HIGHEST - LOWEST)
        slope = (share * (1 - share)).clamp_min(1e-12)  # of the sigmoid
        # c moves with the scores so that the mean stays: what all layers have in common is no gradient.
        common = (slope * gradient).sum() / slope.sum()
        by_score = (HIGHEST - LOWEST) * slope * (gradient - common)
        with torch.enable_grad():
            weights = [weight.clone().requires_grad_() for weight in (self.hidden, self.output, self.bias)]
            scores = self._scores(*weights)
            steps = torch.autograd.grad(scores, weights, by_score.to(scores.dtype))
        for weight, step in zip((self.hidden, self.output, self.bias), steps, strict=True):
            weight.sub_(step, alpha=self.learning_rate)

    def _remember_inputs(self, sums) -> None:
        """Move the running means of the inputs of the layers that ran."""
        ran = sums["tokens"] > 0
        weight = (1 / (self.input_updates + 1)).clamp_min(1 - INPUT_MEMORY)
        mean = (sums["inputs"] / sums["tokens"].clamp_min(1)[:, None]).float()
        self.input_mean += (weight * ran)[:, None] * (mean - self.input_mean)
        self.input_updates += ran

    def _apply(self, fn, recurse: bool = True):
        """As torch's, except that half precision, which is too coarse for small steps, is not taken."""
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, value in before.items():
            if self._buffers[name].dtype != value.dtype:
                self._buffers[name] = value.to(self._buffers[name].device)
        return self

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._current = None


def _add(sums: dict[str, Tensor], more: dict[str, Tensor]) -> None:
    for name, value in more.items():
        sums[name] = sums[name] + value if name in sums else value


def fit_weights(weights: dict[str, Tensor], name: str, rates: LearnedRates | None) -> None:
    """Make *weights*, which the encoder or decoder called *name* is about to load, have its learned *rates*.

    Those of another model (without ``--learn-layerdrop``, or of another depth) are left out, and missing ones begin at
    their mean.
    """
    prefix = f"{name}.learned_rates."
    own = {} if rates is None else {prefix + key: value for key, value in rates.state_dict().items()}
    found = {key: value for key, value in weights.items() if key.startswith(prefix)}
    if {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in own.items()}:
        return
    what = "begin anew" if own else "are left out, as --learn-layerdrop is not given"
    logger.info(f"learned drop rates of the {'decoder' if name.startswith('decoder') else 'encoder'} {what}")
    for key in found:
        del weights[key]
    weights.update(own)
