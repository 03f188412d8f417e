"""Random numbers for structured dropout, independent of any other use of random numbers (law 4)."""

from dataclasses import dataclass

import numpy as np

from ..anatomy import KINDS, LAYERS, STACKS

# A stack's and a structure's index in STACKS and STRUCTURES is part of the seed: it must not change.
STRUCTURES = (LAYERS, *KINDS, "sublayers")


@dataclass(frozen=True)
class DropSeed:
    """Seed of the structured dropout in one training forward of one stack; the same on every worker.

    Attributes:
        seed: fairseq's ``--seed``.
        update: number of updates done before this forward.
        micro_batch: number of training forwards since the update number changed.
        stack: ``encoder`` or ``decoder``.
    """

    seed: int
    update: int
    micro_batch: int
    stack: str

    def uniform(self, structure: str, *shape: int) -> np.ndarray:
        """Uniform random numbers in [0, 1), of *shape*, for *structure*, one of STRUCTURES."""
        entropy = [self.seed % 2**64, self.update, self.micro_batch, STACKS.index(self.stack)]
        if structure != LAYERS:  # the seed without a structure's index is that of layers
            entropy.append(STRUCTURES.index(structure))
        return np.random.default_rng(np.random.SeedSequence(entropy)).random(shape)
