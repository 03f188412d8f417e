"""The activations of a stack at one layer, for all batches, while its layers run one after the other."""

import functools
from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from ..pruning.gates import stacks_of
from .shared_prefixes import first_call, output_of


class Activations:
    """The activations of a stack of one model before one of its layers, for all batches.

    Args:
        model: the model.
        stack: ``encoder`` or ``decoder``; it begins before the first layer.
        samples: fairseq batches.

    Attributes:
        layers: the stack.
        x: for each batch a tensor (length, batch, width).
    """

    def __init__(self, model: nn.Module, stack: str, samples: Sequence[dict]):
        self.layers = stacks_of(model)[stack]
        self.x: list[Tensor] = []
        self._options: list[tuple[list, dict]] = []  # of each batch: the other arguments of all layers
        for sample in samples:
            run = functools.partial(model, **sample["net_input"], features_only=True)
            (x, *others), options = first_call(self.layers, run)
            self.x.append(x)
            self._options.append((others, options))

    def output(self, number: int, layer: int) -> Tensor:
        """What *layer* gives for batch *number*."""
        others, options = self._options[number]
        return output_of(self.layers[layer](self.x[number], *others, **options))

    def run(self, layers: Iterable[int]) -> None:
        """Run *layers* one after the other, on all batches."""
        for layer in layers:
            for number in range(len(self.x)):
                self.x[number] = self.output(number, layer)
