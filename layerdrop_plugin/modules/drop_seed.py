"""Random numbers of structured dropout: functions of where in training they are drawn, and of nothing else."""

from dataclasses import dataclass

import numpy as np

from ..anatomy import KINDS, LAYERS, STACKS

# Stacks and structures draw independently: their places in these rows are part of the seed and must not move.
STRUCTURES = (LAYERS, *KINDS, "sublayers")


@dataclass(frozen=True)
class Draw:
    """A training forward of one stack: every worker draws the same in it, and a resumed run what it would have drawn.

    Attributes:
        seed: fairseq's ``--seed``.
        update: number of the update.
        micro_batch: training forwards since the update's number changed.
        stack: ``encoder`` or ``decoder``.
    """

    seed: int
    update: int
    micro_batch: int
    stack: str

    def uniform(self, structure: str, *shape: int) -> np.ndarray:
        """Numbers in [0, 1) of *shape* that decide about a kind of structure, one of STRUCTURES."""
        entropy = [self.seed % 2**64, self.update, self.micro_batch, STACKS.index(self.stack)]
        if structure != LAYERS:  # whose draws need no further number
            entropy.append(STRUCTURES.index(structure))
        return np.random.default_rng(np.random.SeedSequence(entropy)).random(shape)
