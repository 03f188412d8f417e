"""Gram matrices of the signed gradients of each example at the gates of a sublayer, from one pass over the data."""

from collections.abc import Iterable
from itertools import accumulate

from torch import Tensor


class GramMatrices:
    """Sums over examples of g gᵀ, with g (parts,) an example's gradients at the gates of a sublayer.

    Args:
        sizes: stack and kind, such as ``encoder.ffn`` -> number of parts of each layer, as of a ``Recorder``.
        places: (stack and kind, layer) of the sublayers to sum for; each takes the square of its parts in memory.

    Attributes:
        matrices: place -> sum (parts, parts), in the gradients' precision.
    """

    def __init__(self, sizes: dict[str, list[int]], places: Iterable[tuple[str, int]]):
        flat = [((key, layer), parts) for key, layers in sizes.items() for layer, parts in enumerate(layers)]
        ends = accumulate(parts for _, parts in flat)
        self._columns = {place: slice(end - parts, end) for (place, parts), end in zip(flat, ends, strict=True)}
        self.matrices: dict[tuple[str, int], Tensor | None] = dict.fromkeys(places)

    def add(self, gradients: Tensor) -> None:
        """Add *gradients* (examples, parts) of all gates of the model, as ``Recorder.start_batch`` gives them."""
        for place, before in self.matrices.items():
            of_place = gradients[:, self._columns[place]]
            self.matrices[place] = of_place.T @ of_place if before is None else before.addmm_(of_place.T, of_place)
