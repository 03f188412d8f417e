"""Average the weights of checkpoints of one model, such as the last of a run (Vaswani et al. 2017, section 6.1)."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from . import checkpoint
from .errors import LayerdropError
from .models.dictionaries import FINGERPRINTS
from .pruning.families import as_saved
from .pruning.parent import Parent
from .pruning.surgery import origin_of


def average(paths: Sequence[str | Path]) -> dict:
    """Average the weights of checkpoints, which are read one after the other to save memory.

    Sums are in double precision; each mean has the dtype of its weight. Tensors that are not floating-point (format
    versions) and the configuration are those of the last checkpoint.

    Args:
        paths: paths of the checkpoints, at least one.

    Returns:
        A checkpoint of plain containers and tensors, without training state.

    Raises:
        LayerdropError: a file is not a checkpoint, a weight is not finite, or the models differ.
    """
    sums, state, first = {}, None, None
    for path in tqdm(paths, desc="average", unit="checkpoint", disable=len(paths) < 3):
        state = Parent.load(path).state
        first = first or state
        _check_same(first, state, paths[0], path)
        for name, value in state["model"].items():
            if value.is_floating_point():
                sums[name] = sums[name].add_(value) if name in sums else value.to(torch.float64, copy=True)
    shared = {}  # place in memory -> mean, so that tied weights stay one tensor
    weights = {}
    for name, value in state["model"].items():
        memory = checkpoint.place_in_memory(value)
        if memory not in shared:
            shared[memory] = (sums[name] / len(paths)).to(value.dtype) if name in sums else value
        weights[name] = shared[memory]
    return checkpoint.untrained(state, as_saved(state["cfg"]), weights)


def _check_same(first: dict, other: dict, first_path, path) -> None:
    shapes = [{name: tuple(value.shape) for name, value in state["model"].items()} for state in (first, other)]
    if shapes[0] != shapes[1]:
        differing = sorted(name for name in shapes[0] | shapes[1] if shapes[0].get(name) != shapes[1].get(name))
        raise LayerdropError(f"{path} is another model than {first_path}: they differ in {differing[0]}")
    plans = [(origin_of(state["cfg"]) or {}).get("plan") for state in (first, other)]
    if plans[0] != plans[1]:
        raise LayerdropError(f"{path} keeps other layers of its parent ({plans[1]}) than {first_path} ({plans[0]})")
    for option in FINGERPRINTS:
        if first["cfg"]["model"].get(option) != other["cfg"]["model"].get(option):
            raise LayerdropError(f"{path} was trained with another dictionary than {first_path}")
