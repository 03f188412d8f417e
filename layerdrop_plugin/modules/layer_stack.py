"""A stack of layers of which each training forward leaves some out (LayerDrop), and a gate may leave out others."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence

from torch import nn

from ..errors import LayerdropError
from .convert import prunable_layer
from .drop_rates import layer_rates, warmup_factor
from .drop_seed import Draw
from .layer_sizes import layer_sizes
from .scriptable import Scriptable, refuse_to_script
from .structured_dropout import StructuredDropout
from .sublayers import Sublayers


def draw_kept(draw: Draw, rates: Sequence[float]) -> tuple[int, ...]:
    """Layers that a training forward keeps, ascending: layer d is dropped with probability ``rates[d]``."""
    uniform = draw.uniform("layers", len(rates))
    return tuple(depth for depth, rate in enumerate(rates) if uniform[depth] >= rate)


class LayerStack(Scriptable, nn.ModuleList):
    """An ``nn.ModuleList`` (same state-dict keys) whose iteration, within :meth:`forward_pass`, skips layers.

    Outside :meth:`forward_pass` it iterates over all layers, as fairseq does when it looks after modules.

    Args:
        layers: the layers, first to last.
        rates: drop rate of each, in [0, 1); layers beyond the last rate are never dropped.
        seed: fairseq's ``--seed``.
        stack: ``encoder`` or ``decoder``.
        warmup_updates: updates over which the rates rise from 0.
    """

    __jit_ignored_attributes__ = ["gate", "structured_dropout"]  # or tracing would compile them

    def __init__(
        self,
        layers: Iterable[nn.Module],
        rates: Sequence[float] = (),
        *,
        seed: int = 1,
        stack: str = "encoder",
        warmup_updates: int = 0,
    ):
        super().__init__(layers)
        self.rates = list(rates)
        self.seed, self.stack, self.warmup_updates = seed, stack, warmup_updates
        self.structured_dropout: StructuredDropout | None = None
        self.num_updates, self.micro_batch = 0, 0
        self.active_layers: tuple[int, ...] | None = None  # set by pruning.gates: the layers that contribute at all
        self._kept: tuple[int, ...] | None = None  # within forward_pass: the layers that run in it

    @classmethod
    def of(cls, layers: nn.ModuleList, args, stack: str) -> "LayerStack":
        """The stack of fairseq's *layers*, each made one of ours, sized and dropped as the options in *args* say.

        Raises:
            LayerdropError: a drop rate, schedule or size of a layer that cannot be, or a rate that finds nothing to
                drop.
        """
        modules = list(nn.ModuleList.__iter__(layers))  # fairseq's LayerDrop list draws in its own __iter__
        sizes = layer_sizes(args, stack, len(modules))
        modules = [prunable_layer(layer, size) for layer, size in zip(modules, sizes, strict=True)]
        rate, schedule = getattr(args, f"{stack}_layerdrop"), getattr(args, f"{stack}_layerdrop_schedule")
        if rate and not modules:
            raise LayerdropError(f"--{stack}-layerdrop {rate:g} finds no layers to drop in the {stack}: leave it out")
        result = cls(
            modules,
            layer_rates(rate, len(modules), schedule, f"--{stack}-layerdrop"),
            seed=getattr(args, "seed", 1),
            stack=stack,
            warmup_updates=args.layerdrop_warmup_updates,
        )
        result.structured_dropout = StructuredDropout.of(args, stack)
        if result.structured_dropout is not None:
            result.structured_dropout.check(modules, stack)
        return result

    def stock_attributes(self) -> dict:
        """Raise LayerdropError for gates."""
        if self.active_layers is not None:
            refuse_to_script("gates")
        return {}

    def set_num_updates(self, num_updates: int) -> None:
        """fairseq's hook, called several times per micro-batch: only a changed number starts a new update."""
        if num_updates != self.num_updates:
            self.num_updates, self.micro_batch = num_updates, 0

    def _draw(self) -> tuple[int, ...]:
        """Layers that run in this forward; tells them which of their heads, units and sublayers do."""
        kept, draw, factor = tuple(range(len(self))), None, 0.0
        if self.training:
            draw = Draw(self.seed, self.num_updates, self.micro_batch, self.stack)
            factor = warmup_factor(self.num_updates, self.warmup_updates)
            self.micro_batch += 1
            if any(self.rates):
                rates = [rate * factor for rate in self.rates] + [0.0] * (len(self) - len(self.rates))
                kept = draw_kept(draw, rates)
        if self.structured_dropout is not None:
            self.structured_dropout.drop(self, draw, factor)
        return tuple(depth for depth in kept if self._lets_through(depth))

    def _lets_through(self, depth: int) -> bool:
        """Whether the gate leaves layer *depth* to run: what it closes, only where its gradient is asked for."""
        if self.active_layers is None or depth in self.active_layers:
            return True
        layer = self[depth]
        return isinstance(layer, Sublayers) and layer.gate.probed

    @contextlib.contextmanager
    def forward_pass(self) -> Iterator[list[nn.Parameter]]:
        """Draw once; within the block iteration yields the layers kept. Yields the parameters of those left out.

        Put it around one whole forward of the stack, outside anything that activation checkpointing recomputes.
        """
        kept = self._draw()
        left_out = [p for depth, layer in enumerate(self) if depth not in kept for p in layer.parameters()]
        self._kept = kept
        try:
            yield left_out
        finally:
            self._kept = None

    def position(self, layer: int | None) -> int:
        """Within :meth:`forward_pass`, where *layer* stands among the layers that run, or -1 if it does not run.

        By default the last layer of the stack, or of what its gate lets through, whether this draw keeps it or not.
        """
        if layer is None:
            layer = len(self) - 1 if self.active_layers is None else max(self.active_layers)
        return self._kept.index(layer) if layer in self._kept else -1

    def __iter__(self) -> Iterator[nn.Module]:
        layers = super().__iter__()
        if self._kept is None:
            return layers
        return (layer for depth, layer in enumerate(layers) if depth in self._kept)
