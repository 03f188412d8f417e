"""A stack of layers, some of which are skipped: by LayerDrop in each training forward, or by a plan's gates.

Source: Fan, Grave, Joulin 2019, "Reducing Transformer Depth on Demand with Structured Dropout", section 3.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from torch import nn
from torch.utils.hooks import RemovableHandle

from .drop_rates import warmup_factor
from .drop_seed import DropSeed
from .learned_rates import LearnedRates
from .scriptable import Scriptable, refuse_to_script
from .structured_dropout import StructuredDropout
from .sublayers import Sublayers


def draw_kept(drop_seed: DropSeed, rates: Sequence[float]) -> tuple[int, ...]:
    """Draw the layers that a training forward keeps, ascending; layer d is dropped with probability ``rates[d]``."""
    uniform = drop_seed.uniform("layers", len(rates))
    return tuple(depth for depth, rate in enumerate(rates) if uniform[depth] >= rate)


class LayerStack(Scriptable, nn.ModuleList):
    """An ``nn.ModuleList`` (same state-dict keys) whose iteration yields only the kept layers in :meth:`forward_pass`.

    Outside :meth:`forward_pass` it iterates over all layers, because fairseq also iterates to configure modules.

    Args:
        layers: the layers, in the order in which they run.
        rates: drop rate of each layer, in [0, 1); layers without a rate are never dropped.
        seed: fairseq's ``--seed``.
        stack: ``encoder`` or ``decoder``.
        warmup_updates: number of updates over which the rates rise from 0.
        structured_dropout: dropout of parts within layers; None drops none.

    Attributes:
        active_layers: layers that a plan's gates keep, or None for all; set by ``pruning.gates``.
        learned: learned rates, which *rates* are the start of; None if they are fixed. See :meth:`learn`.
    """

    learned: LearnedRates | None = None
    __jit_ignored_attributes__ = ["active_layers", "structured_dropout", "learned"]  # not compiled by torch.jit.trace

    def __init__(
        self,
        layers: Iterable[nn.Module],
        rates: Sequence[float] = (),
        *,
        seed: int = 1,
        stack: str = "encoder",
        warmup_updates: int = 0,
        structured_dropout: StructuredDropout | None = None,
    ):
        super().__init__(layers)
        self.rates = list(rates)
        self.seed, self.stack, self.warmup_updates = seed, stack, warmup_updates
        self.structured_dropout = structured_dropout
        self.num_updates, self.micro_batch = 0, 0
        self.active_layers: tuple[int, ...] | None = None
        self._kept: tuple[int, ...] | None = None  # the layers that run, within forward_pass

    def stock_attributes(self) -> dict:
        """As :meth:`Scriptable.stock_attributes`: raise LayerdropError if a plan's gates skip layers."""
        if self.active_layers is not None:
            refuse_to_script("gates")
        return {}

    def set_num_updates(self, num_updates: int) -> None:
        """fairseq's hook, called several times per micro-batch; only a changed number starts a new update."""
        if num_updates != self.num_updates:
            self.num_updates, self.micro_batch = num_updates, 0

    def learn(self, learned: LearnedRates) -> None:
        """Take the rates of *learned* from now on, a module that belongs to the encoder or decoder."""
        self.__dict__["learned"] = learned  # not as a module: those of a ModuleList are its layers

    def _draw(self) -> tuple[int, ...]:
        """Draw the layers that run in this forward, and set the masks of structured dropout within them."""
        kept, drop_seed, factor = tuple(range(len(self))), None, 0.0
        if self.training:
            drop_seed = DropSeed(self.seed, self.num_updates, self.micro_batch, self.stack)
            factor = warmup_factor(self.num_updates, self.warmup_updates)
            self.micro_batch += 1
            if any(self.rates):
                rates = self.rates if self.learned is None else self.learned.current()
                rates = [rate * factor for rate in rates] + [0.0] * (len(self) - len(rates))
                kept = draw_kept(drop_seed, rates)
                if self.learned is not None:
                    self.learned.record_draw(kept, factor)
        if self.structured_dropout is not None:
            self.structured_dropout.set_masks(self, drop_seed, factor)
        return tuple(depth for depth in kept if self._is_active(depth))

    def _is_active(self, depth: int) -> bool:
        """Whether a plan's gates keep layer *depth*, or a probe needs the gradient of its closed gate."""
        if self.active_layers is None or depth in self.active_layers:
            return True
        layer = self[depth]
        return isinstance(layer, Sublayers) and layer.gate.probed

    @contextlib.contextmanager
    def forward_pass(self) -> Iterator[list[nn.Parameter]]:
        """Context of one forward of the whole stack: draws once, and limits iteration to the kept layers.

        It must not be within anything that activation checkpointing recomputes (law 4, draws).

        Yields:
            The parameters of the skipped layers, for :func:`with_zero_gradients` (law 5, dropped layers).
        """
        kept = self._draw()
        skipped = [p for depth, layer in enumerate(self) if depth not in kept for p in layer.parameters()]
        self._kept = kept
        hooks = [] if self.learned is None or not self.training else self._record_inputs(kept)
        try:
            yield skipped
        finally:
            self._kept = None
            for hook in hooks:
                hook.remove()

    def _record_inputs(self, kept) -> list[RemovableHandle]:
        """Show the inputs of the layers *kept* to the learned rates; activation checkpointing calls no hook again."""
        return [
            self[depth].register_forward_pre_hook(partial(self.learned.record_input, depth), with_kwargs=True)
            for depth in kept
        ]

    def position(self, layer: int | None) -> int:
        """Index of *layer* among the layers that run in this :meth:`forward_pass`, or -1 if it does not run.

        Args:
            layer: index in the whole stack; by default that of the last layer that a plan's gates keep.
        """
        if layer is None:
            layer = len(self) - 1 if self.active_layers is None else max(self.active_layers)
        return self._kept.index(layer) if layer in self._kept else -1

    def __iter__(self) -> Iterator[nn.Module]:
        layers = super().__iter__()
        if self._kept is None:
            return layers
        return (layer for depth, layer in enumerate(layers) if depth in self._kept)
