"""Refit what a pruned model keeps to what its parent computes, projection by projection and without training.

The child runs on its own activations, so that each projection makes up for what those before it could not. For the rows
of all tokens but padding, the residual r of a projection (see pruning/ridge.py) is

    what the parent's projection gives - what the child's gives        where parts of the sublayer are gone
    y* - y                                                             where layers are gone, pre-norm
    (y* - y) σ / γ                                                     the same, post-norm

with y the output of the child's layer and y* what the parent gives before the next layer that is kept. Post-norm,
y = γ (z - μ) / σ + β with z the sum of projection and residual connection; the target of z is (y* - β) σ / γ + μ, with
the child's own mean μ and standard deviation σ of the token.
"""

import functools
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..errors import LayerdropError
from ..importance.recorder import tokens_read
from ..modules.sublayers import Sublayers
from ..pruning import ridge
from ..pruning.gates import model_shape, padding_of, stacks_of
from ..pruning.plan import Plan
from ..pruning.repairs import FULL, Repair, beyond_repair, repairs
from ..pruning.ridge import NormalEquations
from ..pruning.shape import ModelShape
from .activations import Activations
from .losses import numbers_of
from .observed import columns_of, norm_gain, norm_slope, observed, projected, projection_of
from .session import ANSWERS, Session
from .text_halves import hold_out, texts_of

HELD_OUT = 0.2  # share of the examples that choose the penalties
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refit:
    """A projection that was refitted.

    Attributes:
        repair: which projection, and towards what.
        rows, columns: numbers of tokens that it was fitted on, and of numbers fitted for each output (``full``) or in
            all (``scale``).
        penalty: the chosen penalty, see ridge.py; None if the old weights were the best on held-out examples.
        before, after: squared error on held-out examples before and after.
    """

    repair: Repair
    rows: int
    columns: int
    penalty: float | None
    before: float
    after: float

    @property
    def left(self) -> float:
        """The share of the squared error that is left on held-out examples."""
        return self.after / self.before if self.before else 1.0


@dataclass(frozen=True)
class Reconstruction:
    """What :func:`reconstruct` did.

    Attributes:
        by: ``full`` or ``scale``.
        examples: number of examples, those that were held out included.
        held_out: indices (examples,) of those that were held out, ascending.
        refits: the projections, in the order in which the model runs them.
        weights: name in the child's state dict -> new weight or bias.
        notes: lines on what could not be repaired.
    """

    by: str
    examples: int
    held_out: np.ndarray
    refits: list[Refit]
    weights: dict[str, Tensor] = field(repr=False)
    notes: list[str]


@torch.no_grad()
def reconstruct(
    session: Session,
    child: nn.Module,
    plan: Plan,
    batches: Iterable[dict],
    by: str = FULL,
    penalties: Iterable[float] = ridge.PENALTIES,
) -> Reconstruction:
    """Refit the output projections of *child* in place towards its parent, the model of *session*.

    The activations at one layer are kept for all examples, of both models: 8 bytes per token and channel; while a
    decoder is fitted, those of the encoders' outputs as well.

    Args:
        session: the parent.
        child: the child, as ``session.with_child(child).model``; its vocabulary must be the parent's.
        plan: what the child keeps of the parent.
        batches: fairseq batches, which are iterated several times in the same order.
        by: ``full`` fits all weights and the bias, ``scale`` one factor for each head or unit.
        penalties: sizes of the penalty to choose from, see ridge.py.

    Raises:
        LayerdropError: there is nothing to reconstruct, there are too few examples, or a part of the model cannot be
            fitted.
    """
    shape = model_shape(session.model)
    plan.validate(shape)
    steps = [step for step in repairs(plan, shape) if by == FULL or _has_parts(step, plan, shape)]
    if not steps:
        raise LayerdropError(
            "there is nothing to reconstruct: the plan removes no layers, heads or FFN units that what is left could"
            " make up for"
        )
    session.optimize()
    child.train().eval()  # unpacks weights that were packed for inference
    fitting = _Fitting(session, child, list(batches), by, tuple(penalties))
    refits: list[Refit] = []
    with tqdm(total=len(steps), desc="reconstruct", unit="projection") as progress:
        for stack, chosen in plan.items():
            for refit in fitting.stack(stack, chosen.layers, [step for step in steps if step.stack == stack]):
                refits.append(refit)
                progress.update()
    _warn_of_few_rows(refits)
    weights = fitting.weights_of([refit.repair for refit in refits if refit.penalty is not None])
    return Reconstruction(
        by, fitting.examples, np.array(sorted(fitting.held)), refits, weights, beyond_repair(plan, shape)
    )


def _has_parts(step: Repair, plan: Plan, shape: ModelShape) -> bool:
    return bool(plan.cut(shape).get(step.stack).sizes[step.kind][step.position])


def _warn_of_few_rows(refits: list[Refit]) -> None:
    few = [refit for refit in refits if refit.rows < refit.columns]
    if few:
        least = max(few, key=lambda refit: refit.columns)
        logger.warning(
            f"{len(few)} of {len(refits)} projections have more columns than there are tokens to fit them on (up to"
            f" {least.columns:,} for {least.rows:,} tokens): give more examples"
        )


class _Fitting:
    """Fits the projections of a child, one after the other.

    Attributes:
        examples: number of examples.
        held: indices of those that are held out.
    """

    def __init__(self, session: Session, child: nn.Module, samples: list[dict], by: str, penalties: tuple[float, ...]):
        self._session, self._child, self._samples, self._by, self._penalties = session, child, samples, by, penalties
        texts = {
            number: text
            for sample in samples
            for number, text in zip(numbers_of(sample).tolist(), texts_of(session, sample), strict=True)
        }
        numbers = sorted(texts)  # the draw must not depend on the batches
        self.examples = len(numbers)
        places = hold_out([texts[number] for number in numbers], HELD_OUT, session.seed)
        self.held = {numbers[place] for place in places}
        self._padding, self._shape = padding_of(session.model), model_shape(session.model)

    def stack(self, stack: str, layers: Sequence[int], steps: list[Repair]) -> Iterator[Refit]:
        """Fit the projections of a *stack* that *steps* name; *layers* are those that are kept of the parent."""
        if not steps:
            return
        parent, child = (Activations(model, stack, self._samples) for model in (self._session.model, self._child))
        parent.run(range(layers[0]))
        for position, (layer, until) in enumerate(zip(layers, (*layers[1:], len(parent.layers)), strict=True)):
            here = [step for step in steps if step.position == position]
            yield from (self._refit(step, parent, child) for step in here if step.until is None)
            parent.run(range(layer, until))
            yield from (self._refit(step, parent, child) for step in here if step.until is not None)
            if steps[-1] in here:
                return
            child.run([position])

    def weights_of(self, steps: list[Repair]) -> dict[str, Tensor]:
        """Name in the child's state dict -> weight or bias of the projections of *steps*."""
        names = {module: name for name, module in self._child.named_modules()}
        found = {}
        for step in steps:
            projection = projection_of(stacks_of(self._child)[step.stack][step.position], step.kind)
            for name, weight in projection.named_parameters():
                if name == "weight" or self._by == FULL:
                    found[f"{names[projection]}.{name}"] = weight.detach().clone()
        return found

    def _refit(self, step: Repair, parent: Activations, child: Activations) -> Refit:
        """Fit the projection of *step*, *child* being before its layer and *parent* where its target is."""
        layer, columns = child.layers[step.position], self._by == FULL
        _refuse_scaled_attention(layer, step)
        projection, importance = projection_of(layer, step.kind), _importance(layer, step)
        fitted, held = None, None
        for number, sample in enumerate(self._samples):
            x, residual = self._pair(step, parent, child, number)
            x = columns_of(x, residual, with_ones=columns)
            if fitted is None:
                fitted, held = (NormalEquations(x.size(2), residual.size(2), x.device) for _ in range(2))
            for equations, rows in zip((fitted, held), self._rows(step, sample, child), strict=True):
                equations.add(x[rows], residual[rows])
        if not (fitted.gram.isfinite().all() and fitted.moment.isfinite().all()):
            raise LayerdropError(f"{step} cannot be reconstructed: activations are not finite; did the model diverge?")
        if columns:
            solve = functools.partial(ridge.columns_change, fitted)
        else:
            width = self._shape.get(step.stack).width(step.kind)
            solve = functools.partial(
                ridge.scale_change, fitted, weight=projection.weight, width=width, importance=importance
            )
        choice = ridge.choose(solve, held, self._penalties, importance)
        if choice.change is not None:
            _change(projection, choice.change.T, with_bias=columns)
        return Refit(step, fitted.rows, len(fitted.gram), choice.penalty, choice.before, choice.after)

    def _pair(self, step: Repair, parent: Activations, child: Activations, number: int) -> tuple[Tensor, Tensor]:
        """Inputs (length, batch, columns) and residuals (length, batch, width) of the projection in a batch."""
        layer = child.layers[step.position]
        with observed(layer, step.kind) as mine:
            y = child.output(number, step.position)
        if step.until is not None:
            missing = parent.x[number] - y
            return mine.parts, missing if layer.normalize_before else missing * norm_slope(layer, step.kind, mine.total)
        whole = parent.layers[step.layer]
        with observed(whole, step.kind) as its:
            parent.output(number, step.layer)
        target = projected(projection_of(whole, step.kind), its.parts, like=y)
        return mine.parts, target - projected(projection_of(layer, step.kind), mine.parts, like=y)

    def _rows(self, step: Repair, sample: dict, child: Activations) -> tuple[Tensor, Tensor]:
        """Masks (length, batch) of the tokens of *sample* to fit on and of those held out, without padding.

        Of a classifier's last layer only the first tokens are held out: the others' errors have no effect.
        """
        tokens = tokens_read(sample)[step.stack]
        counted = tokens.ne(self._padding[step.stack]).t()
        held = torch.tensor([number in self.held for number in numbers_of(sample).tolist()], device=tokens.device)
        out = counted & held
        if self._session.kind in ANSWERS and step.position == len(child.layers) - 1:
            out[1:] = False
        return counted & ~held, out


def _refuse_scaled_attention(layer: Sublayers, step: Repair) -> None:
    """Raise LayerdropError if what a layer gives depends on its projection by more than a sum and a LayerNorm."""
    scaled = any(getattr(layer, name, None) is not None for name in ("attn_ln", "c_attn"))
    if step.until is not None and step.kind == "self_attn" and scaled:
        raise LayerdropError(
            f"{step} cannot be reconstructed: the model was trained with --scale-attn or --scale-heads, and the layer"
            " has no FFN left"
        )


def _change(projection: nn.Module, change: Tensor, with_bias: bool) -> None:
    """Add *change* (outputs, columns) to the weights of *projection*, its last column to the bias if *with_bias*."""
    if with_bias:
        projection.bias += change[:, -1].to(projection.bias)
        change = change[:, :-1]
    if change.size(1):
        projection.weight += change.to(projection.weight)


def _importance(layer: Sublayers, step: Repair) -> Tensor | None:
    """Factors (width,) with which squared residuals count, so that they are errors of what the layer gives."""
    return None if step.until is None or layer.normalize_before else norm_gain(layer, step.kind).square()
