"""Read the gradients of a model's gates in ordinary backward passes, summed over examples in double precision.

With g = ∂L(x)/∂ξ of one example x and one part (a head, an FFN unit, a layer) at its gate's value, one backward pass of
a whole batch gives every example's own g, because L is a sum over examples that do not look at each other.
"""

import itertools
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..anatomy import STACKS
from ..errors import LayerdropError
from ..modules.gate import Probe
from ..modules.layer_stack import LayerStack
from ..pruning.gates import gates_of, stacks_of

POWERS = ("absolute", "square", "signed", "fourth")  # what is summed of each part's g: |g|, g², g, g⁴
COUNTS = ("examples", "loss", *STACKS)  # of the stacks: tokens that are no padding
CHUNK = 2**22  # gradients whose powers are taken at once: what that needs in between is 16 bytes each, 64 MB


class Sums:
    """Sums over examples, or over tokens, of powers of the gradients of a model's parts.

    Args:
        sizes: ``encoder.self_attn`` and the like -> parts of each layer.
        per_token: the gradients are those of gates with a value for each token.
    """

    def __init__(self, sizes: dict[str, list[int]], per_token: bool = False):
        self.sizes, self.per_token = sizes, per_token
        self.parts = sum(sum(layers) for layers in sizes.values())
        self._values = torch.zeros(self.length, dtype=torch.float64)

    @classmethod
    def from_state_dict(cls, state: dict) -> "Sums":
        """The reverse of :meth:`state_dict`."""
        sums = cls(state["sizes"], state["per_token"])
        sums.add(state["values"])
        return sums

    def state_dict(self) -> dict:
        """What a checkpoint keeps of them: plain containers and a tensor on the CPU."""
        return {"sizes": self.sizes, "per_token": self.per_token, "values": self._values.to("cpu", copy=True)}

    @property
    def length(self) -> int:
        """How many numbers :meth:`add` takes: COUNTS, then each of POWERS for all parts."""
        return len(COUNTS) + len(POWERS) * self.parts

    def add(self, values: Tensor) -> None:
        """Add the *values* (length,) of a batch, or of several, as :class:`Batch` gives them."""
        if self._values.device != values.device:
            self._values = self._values.to(values.device)
        self._values += values

    @property
    def examples(self) -> int:
        """Examples whose gradients are in the sums."""
        return round(float(self._values[0]))

    @property
    def loss(self) -> float:
        """Mean over the examples of the criterion's loss."""
        return float(self._values[1]) / self.examples

    @property
    def counts(self) -> Tensor:
        """Over how many examples, or tokens of its stack, each part's gradients were summed; (parts,)."""
        counts = []
        for key, layers in self.sizes.items():
            name = key.split(".")[0] if self.per_token else COUNTS[0]
            counts.append(self._values[COUNTS.index(name)].expand(sum(layers)))
        return torch.cat(counts)

    def mean(self, power: str) -> Tensor:
        """The mean of one of POWERS of each part's g; (parts,)."""
        return self._values[len(COUNTS) :].view(len(POWERS), -1)[POWERS.index(power)] / self.counts

    def rows(self, values: Tensor) -> dict[str, list]:
        """*values* (parts,) as files of scores have them: a row for each layer, of ``*.layers`` a number."""
        found, places = {}, iter(values.tolist())
        for key, layers in self.sizes.items():
            rows = [list(itertools.islice(places, parts)) for parts in layers]
            found[key] = [score for row in rows for score in row] if key.endswith(".layers") else rows
        return found


class Batch:
    """One forward and backward pass whose gradients are recorded; made by :meth:`Recorder.begin`.

    Args:
        rows: examples of the batch.
        tokens: of each of STACKS, the tokens that are no padding.
        sums: says which numbers are wanted; nothing is added to it.
        like: a weight, whose device and precision the gradients have.
        done: called at the end of the backward pass with the numbers that :meth:`Sums.add` takes, all zero where they
            do not count: the loss was multiplied with zero, as fairseq does with a batch that only keeps a worker
            busy, or a gradient is not finite, as it happens when loss scaling overflows.
    """

    def __init__(self, rows: int, tokens: list, sums: Sums, like: Tensor, done: Callable[[Tensor], None]):
        self.rows, self.done, self.per_token = rows, done, sums.per_token
        self.tokens, self.loss, self.factor = tokens, None, None
        self.powers, self.gradients = None, None
        if self.per_token:
            self.powers = torch.zeros(len(POWERS), sums.parts, dtype=torch.float64, device=like.device)
        else:  # a part may take part several times in an example's loss
            exact = torch.promote_types(like.dtype, torch.float32)
            self.gradients = torch.zeros(rows, sums.parts, dtype=exact, device=like.device)

    def watch(self, loss: Tensor) -> Tensor:
        """*loss* (one number), of which :meth:`take` will be told gradients; differentiate what this returns."""
        self.loss = loss.detach().double().sum()
        return _Watched.apply(loss, self)

    def take(self, place: slice, gradient: Tensor) -> None:
        """A probe's news: the *gradient* (batch, parts) or (batch, parts, tokens) of the parts at *place*.

        Raises:
            LayerdropError: the model was run on other rows than the batch's examples.
        """
        if len(gradient) != self.rows:
            raise LayerdropError(
                f"the criterion runs the model on {len(gradient)} rows for {self.rows} examples: importance needs a"
                " loss that is a sum over independent examples"
            )
        if self.per_token:
            self.powers[:, place] += _powers(gradient, self.factor)
        else:
            self.gradients[:, place] += gradient

    def finish(self) -> None:
        """All gradients are there; nothing here waits for a GPU."""
        powers = self.powers if self.per_token else _powers(self.gradients, self.factor)
        self.gradients = None  # the probes keep this batch until the next one begins
        counts = (self.rows, self.loss, *self.tokens)
        counts = [torch.as_tensor(count, dtype=torch.float64).to(powers.device) for count in counts]
        values = torch.cat([torch.stack(counts), powers.flatten()])
        good = values.isfinite().all() & (self.factor != 0)
        self.done(torch.where(good, values, 0.0))


class _Watched(torch.autograd.Function):
    """The identity on a loss; its backward pass, which comes first of all, learns by what the loss was multiplied."""

    @staticmethod
    def forward(ctx, loss: Tensor, batch: Batch) -> Tensor:
        ctx.batch = batch
        return loss.clone()  # a view would forbid in-place operations behind us, such as fairseq's loss *= 0

    @staticmethod
    def backward(ctx, gradient: Tensor):
        ctx.batch.factor = gradient.detach().sum().double()
        # As DistributedDataParallel does: there is no other way to be called at the end of the whole backward pass.
        torch.autograd.Variable._execution_engine.queue_callback(ctx.batch.finish)
        return gradient, None


def _powers(gradients: Tensor, factor: Tensor) -> Tensor:
    """Sums of each of POWERS of *gradients* (batch, parts) or (batch, parts, tokens) over *factor*; (powers, parts)."""
    sums = torch.empty(len(POWERS), gradients.size(1), dtype=torch.float64, device=gradients.device)
    parts = max(1, CHUNK * gradients.size(1) // max(1, gradients.numel()))
    for chunk, into in zip(gradients.split(parts, 1), sums.split(parts, 1), strict=True):
        power = chunk / factor.to(chunk)
        into[POWERS.index("signed")] = _sum(power)
        into[POWERS.index("absolute")] = _sum(power.abs_())
        into[POWERS.index("square")] = _sum(power.square_())
        into[POWERS.index("fourth")] = _sum(power.square_())
    return sums


def _sum(values: Tensor) -> Tensor:
    """Over examples, and over tokens if there are any, in double precision; (parts,)."""
    if values.dim() > 2:  # an example's tokens are few enough for single precision, which is four times as fast
        values = values.sum(2)
    return values.sum(0, dtype=torch.float64)


class Recorder:
    """Puts a probe on every gate of a model.

    Args:
        model: any module around layers of ours.
        per_token: ask for the gradients of gates that have a value for each token.

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
        self._like = next(model.parameters())
        self._padding = {
            module.layers.stack: module.padding_idx
            for module in model.modules()
            if isinstance(getattr(module, "layers", None), LayerStack)
        }

    @property
    def update(self) -> int:
        """Updates that the model has had before the one that it is in."""
        return self._stack.num_updates

    def sums(self) -> Sums:
        """Sums of nothing yet."""
        return Sums(self.sizes, self.per_token)

    def begin(self, sample: dict, done: Callable[[Tensor], None]) -> Batch:
        """Record the forward pass of *sample* (a batch of fairseq's) that comes next, and its backward pass.

        The probes stay until the next call, because activation checkpointing runs layers again in the backward pass.
        """
        batch = Batch(rows_of(sample), self._tokens(sample), self.sums(), self._like, done)
        root = torch.zeros((), device=self._like.device, requires_grad=True)
        begin = 0
        for key, gates in self._gates.items():
            for gate, parts in zip(gates, self.sizes[key], strict=True):
                if parts:
                    gate.probe = Probe(partial(batch.take, slice(begin, begin + parts)), self.per_token, root)
                begin += parts
        return batch

    def stop(self) -> None:
        """Take the probes away."""
        for gate in itertools.chain.from_iterable(self._gates.values()):
            if gate is not None:
                gate.probe = None

    def _tokens(self, sample: dict) -> list:
        if not self.per_token:
            return [0 for _ in STACKS]
        given = sample["net_input"]
        read = {"encoder": given["src_tokens"], "decoder": given.get("prev_output_tokens", given["src_tokens"])}
        return [read[stack].ne(self._padding[stack]).sum() if stack in self._padding else 0 for stack in STACKS]


def rows_of(sample: dict) -> int:
    """Number of examples in *sample*, a batch of fairseq's.

    Raises:
        LayerdropError: a sample without ``src_tokens``.
    """
    inputs = [part for name, part in sample.items() if name.startswith("net_input") and "src_tokens" in part]
    if not inputs:
        raise LayerdropError("the task's batches have no net_input with src_tokens: their examples cannot be counted")
    return len(inputs[0]["src_tokens"])
