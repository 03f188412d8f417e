"""Record the gradients of a model's gates in ordinary backward passes, summed over examples in double precision.

g = ∂L(x)/∂ξ is the derivative of the loss L of one example x with respect to the gate ξ of one part (a head, an FFN
unit, a layer). One backward pass of a batch gives g for every example, because L is a sum of losses of independent
examples.
"""

import itertools
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..anatomy import STACKS
from ..errors import LayerdropError
from ..modules.gate import Probe
from ..pruning.gates import gates_of, padding_of, stacks_of

POWERS = ("absolute", "square", "signed", "fourth")  # summed for each part: |g|, g², g, g⁴
COUNTS = ("examples", "loss", *STACKS)  # for a stack, the number of tokens that it reads, without padding
CHUNK = 2**22  # gradients whose powers are computed at once, with 16 bytes of working memory each: 64 MB


class GradientSums:
    """Sums over examples, or over tokens, of powers of the gradients of a model's parts.

    Args:
        sizes: stack and kind, such as ``encoder.self_attn`` -> number of parts of each layer.
        per_token: sum powers of the gradients of tokens rather than of examples.
    """

    def __init__(self, sizes: dict[str, list[int]], per_token: bool = False):
        self.sizes, self.per_token = sizes, per_token
        self.parts = sum(sum(layers) for layers in sizes.values())
        self._values = torch.zeros(self.length, dtype=torch.float64)

    @classmethod
    def from_state_dict(cls, state: dict) -> "GradientSums":
        """Restore the sums from a *state* of :meth:`state_dict`."""
        sums = cls(state["sizes"], state["per_token"])
        sums.add(state["values"])
        return sums

    def state_dict(self) -> dict:
        """State for a checkpoint: plain containers and a tensor on the CPU."""
        return {"sizes": self.sizes, "per_token": self.per_token, "values": self._values.to("cpu", copy=True)}

    @property
    def length(self) -> int:
        """Size of the vector that :meth:`add` takes: COUNTS, then each of POWERS for all parts."""
        return len(COUNTS) + len(POWERS) * self.parts

    def add(self, values: Tensor) -> None:
        """Add *values* (length,) of one or more batches, as :class:`RecordedBatch` computes them."""
        if self._values.device != values.device:
            self._values = self._values.to(values.device)
        self._values += values

    @property
    def examples(self) -> int:
        """Number of examples whose gradients are in the sums."""
        return round(float(self._values[0]))

    @property
    def loss(self) -> float:
        """Mean of the criterion's loss over the examples."""
        return float(self._values[1]) / self.examples

    @property
    def counts(self) -> Tensor:
        """Number of examples, or of tokens of its stack, in each part's sums: (parts,)."""
        counts = []
        for key, layers in self.sizes.items():
            name = key.split(".")[0] if self.per_token else COUNTS[0]
            counts.append(self._values[COUNTS.index(name)].expand(sum(layers)))
        return torch.cat(counts)

    def mean(self, power: str) -> Tensor:
        """Mean of *power*, one of POWERS, of each part's g: (parts,)."""
        return self._values[len(COUNTS) :].view(len(POWERS), -1)[POWERS.index(power)] / self.counts

    def rows(self, values: Tensor) -> dict[str, list]:
        """Group *values* (parts,) as :class:`~layerdrop_plugin.pruning.scores.Scores` does.

        Returns:
            stack and kind -> for each layer a list with a number for each part; ``*.layers`` has a number for each
            layer instead.
        """
        rows_by_key, remaining = {}, iter(values.tolist())
        for key, layers in self.sizes.items():
            rows = [list(itertools.islice(remaining, parts)) for parts in layers]
            rows_by_key[key] = [score for row in rows for score in row] if key.endswith(".layers") else rows
        return rows_by_key


class RecordedBatch:
    """One forward and backward pass whose gradients are recorded; made by :meth:`Recorder.start_batch`.

    Args:
        examples: number of examples in the batch.
        tokens: number of tokens without padding, for each of STACKS.
        sums: the sums that the batch will be added to; only its number of parts and ``per_token`` are read.
        weight: one of the model's weights, whose device and precision (at least single) the gradients have.
        callback: called at the end of the backward pass with a vector for :meth:`GradientSums.add`. The vector is zero
            if the loss was multiplied by zero, as fairseq does with dummy batches, or if a gradient is not finite, as
            after an overflow of loss scaling.
        per_example: called then, unless the vector is zero, with the gradients (examples, parts) of all gates; not with
            ``per_token``.
    """

    def __init__(
        self,
        examples: int,
        tokens: list,
        sums: GradientSums,
        weight: Tensor,
        callback: Callable[[Tensor], None],
        per_example: Callable[[Tensor], None] | None = None,
    ):
        self.per_example = per_example
        self.examples, self.callback, self.per_token = examples, callback, sums.per_token
        self.tokens, self.loss, self.loss_scale = tokens, None, None
        self.powers, self.gradients = None, None
        if self.per_token:
            self.powers = torch.zeros(len(POWERS), sums.parts, dtype=torch.float64, device=weight.device)
        else:  # a module may run several times in a forward pass: its gradients are summed before powers are taken
            dtype = torch.promote_types(weight.dtype, torch.float32)
            self.gradients = torch.zeros(examples, sums.parts, dtype=dtype, device=weight.device)

    def attach(self, loss: Tensor) -> Tensor:
        """Record the backward pass of *loss* (a scalar): call ``backward`` on the tensor that this returns."""
        self.loss = loss.detach().double().sum()
        return _AttachedLoss.apply(loss, self)

    def add_gradient(self, parts: slice, gradient: Tensor) -> None:
        """Add the *gradient* (batch, parts) or (batch, parts, tokens) that a probe reports for *parts*.

        Raises:
            LayerdropError: the batch axis has another length than the number of examples.
        """
        if len(gradient) != self.examples:
            raise LayerdropError(
                f"the criterion runs the model on {len(gradient)} rows for {self.examples} examples: importance needs a"
                " loss that is a sum over independent examples"
            )
        if self.per_token:
            self.powers[:, parts] += _powers(gradient, self.loss_scale)
        else:
            self.gradients[:, parts] += gradient

    def finish(self) -> None:
        """Compute the batch's sums and call ``callback`` with them; only ``per_example`` waits for the GPU."""
        powers = self.powers if self.per_token else _powers(self.gradients, self.loss_scale)
        gradients, self.gradients = (
            self.gradients,
            None,
        )  # frees memory: the probes refer to this batch until the next one starts
        counts = (self.examples, self.loss, *self.tokens)
        counts = [torch.as_tensor(count, dtype=torch.float64).to(powers.device) for count in counts]
        values = torch.cat([torch.stack(counts), powers.flatten()])
        valid = values.isfinite().all() & (self.loss_scale != 0)
        self.callback(torch.where(valid, values, 0.0))
        if self.per_example is not None and valid:
            self.per_example(gradients / self.loss_scale.to(gradients))


class _AttachedLoss(torch.autograd.Function):
    """Identity on a loss. Its backward pass, the first to run, stores the gradient of the loss, which is its scale."""

    @staticmethod
    def forward(ctx, loss: Tensor, batch: RecordedBatch) -> Tensor:
        ctx.batch = batch
        return loss.clone()  # a view would forbid in-place operations, such as fairseq's loss *= 0

    @staticmethod
    def backward(ctx, gradient: Tensor):
        ctx.batch.loss_scale = gradient.detach().sum().double()
        # The only hook at the end of the whole backward pass; DistributedDataParallel uses it, too.
        torch.autograd.Variable._execution_engine.queue_callback(ctx.batch.finish)
        return gradient, None


def _powers(gradients: Tensor, loss_scale: Tensor) -> Tensor:
    """Sums (powers, parts) of POWERS of *gradients* (batch, parts[, tokens]) after division by *loss_scale*."""
    sums = torch.empty(len(POWERS), gradients.size(1), dtype=torch.float64, device=gradients.device)
    parts = max(1, CHUNK * gradients.size(1) // max(1, gradients.numel()))
    for chunk, chunk_sums in zip(gradients.split(parts, 1), sums.split(parts, 1), strict=True):
        power = chunk / loss_scale.to(chunk)
        chunk_sums[POWERS.index("signed")] = _sum(power)
        chunk_sums[POWERS.index("absolute")] = _sum(power.abs_())
        chunk_sums[POWERS.index("square")] = _sum(power.square_())
        chunk_sums[POWERS.index("fourth")] = _sum(power.square_())
    return sums


def _sum(values: Tensor) -> Tensor:
    """Sum over examples, and over tokens if there is such an axis, in double precision: (parts,)."""
    if values.dim() > 2:  # within an example single precision is enough, and four times as fast
        values = values.sum(2)
    return values.sum(0, dtype=torch.float64)


class Recorder:
    """Puts a probe on every gate of a model.

    Args:
        model: a module that contains layers with gates.
        per_token: record each token's gradients rather than each example's.

    Raises:
        LayerdropError: the model has no gates.
    """

    def __init__(self, model: torch.nn.Module, per_token: bool = False):
        self._gates = gates_of(model)
        self.sizes = {key: [gate.parts if gate else 0 for gate in gates] for key, gates in self._gates.items()}
        if not any(itertools.chain.from_iterable(self.sizes.values())):
            raise LayerdropError("nothing in the model has gates: use a layerdrop_ architecture")
        self.per_token = per_token
        self._stack = next(iter(stacks_of(model).values()))
        self._weight = next(model.parameters())
        self._padding = padding_of(model)

    @property
    def num_updates(self) -> int:
        """Number of updates that the model has had, as fairseq's trainer set it."""
        return self._stack.num_updates

    def sums(self) -> GradientSums:
        """New sums for this model, all zero."""
        return GradientSums(self.sizes, self.per_token)

    def start_batch(
        self,
        sample: dict,
        callback: Callable[[Tensor], None],
        per_example: Callable[[Tensor], None] | None = None,
    ) -> RecordedBatch:
        """Record the next forward pass, which must run on *sample* (a fairseq batch), and its backward pass.

        The probes stay until the next call, because activation checkpointing runs layers again in the backward pass.

        Args:
            callback, per_example: see :class:`RecordedBatch`.
        """
        counts = num_examples(sample), self._tokens(sample)
        batch = RecordedBatch(*counts, self.sums(), self._weight, callback, per_example)
        root = torch.zeros((), device=self._weight.device, requires_grad=True)
        begin = 0
        for key, gates in self._gates.items():
            for gate, parts in zip(gates, self.sizes[key], strict=True):
                if parts:
                    add_gradient = partial(batch.add_gradient, slice(begin, begin + parts))
                    gate.probe = Probe(add_gradient, self.per_token, root)
                begin += parts
        return batch

    def remove_probes(self) -> None:
        """Remove the probes from all gates."""
        for gate in itertools.chain.from_iterable(self._gates.values()):
            if gate is not None:
                gate.probe = None

    def _tokens(self, sample: dict) -> list:
        """Number of tokens without padding that each of STACKS reads, 0-dimensional tensors; 0 unless ``per_token``."""
        if not self.per_token:
            return [0 for _ in STACKS]
        read = tokens_read(sample)
        return [read[stack].ne(self._padding[stack]).sum() if stack in self._padding else 0 for stack in STACKS]


def tokens_read(sample: dict) -> dict[str, Tensor]:
    """Stack -> the tokens (batch, length) that it reads of *sample*, a fairseq batch."""
    source = sample["net_input"]["src_tokens"]
    return {"encoder": source, "decoder": sample["net_input"].get("prev_output_tokens", source)}


def num_examples(sample: dict) -> int:
    """Number of examples in *sample*, a fairseq batch.

    Raises:
        LayerdropError: a sample without ``src_tokens``.
    """
    inputs = [part for name, part in sample.items() if name.startswith("net_input") and "src_tokens" in part]
    if not inputs:
        raise LayerdropError("the task's batches have no net_input with src_tokens: their examples cannot be counted")
    return len(inputs[0]["src_tokens"])
