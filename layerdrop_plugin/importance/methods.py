"""Methods that score a model's parts: importance (Michel et al. 2019) and methods to compare it with.

A method is a function of the model, the sums of its gates' gradients (None if it needs none) and a seed. It returns
scores and their standard errors, both as dictionaries: stack and kind, such as ``encoder.self_attn`` -> for each layer
a list with a number for each part; ``encoder.layers`` and ``decoder.layers`` have one number for each layer instead.
Parts with low scores are removed first.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..modules.gate import Gate
from ..modules.sublayers import Sublayers
from ..pruning.gates import gates_of, stacks_of
from .recorder import GradientSums

Rows = dict[str, list]
GRADIENTS = ("importance", "fisher", "taylor")  # methods that need sums of gradients, from one pass over the data


def importance(model: nn.Module | None, sums: GradientSums, seed: int = 1) -> tuple[Rows, Rows]:
    """E |g|: mean absolute change of an example's loss when the part is removed, to first order."""
    return _with_error(sums, sums.mean("absolute"), sums.mean("square"))


def fisher(model: nn.Module | None, sums: GradientSums, seed: int = 1) -> tuple[Rows, Rows]:
    """E g²: the diagonal of the Fisher information of the gates, with the data's labels."""
    return _with_error(sums, sums.mean("square"), sums.mean("fourth"))


def taylor(model: nn.Module | None, sums: GradientSums, seed: int = 1) -> tuple[Rows, Rows]:
    """-E g: change of the mean loss when the part is removed, to first order."""
    return _with_error(sums, -sums.mean("signed"), sums.mean("square"))


def magnitude(model: nn.Module, sums: GradientSums | None = None, seed: int = 1) -> tuple[Rows, Rows]:
    """L2 norm of a part's weights in its input projections, biases included, and in its output projection."""
    gates = _gates_with_layers(model).items()
    return _exact({key: [_norms(layer, key, gate) for layer, gate in pairs] for key, pairs in gates})


def random(model: nn.Module, sums: GradientSums | None = None, seed: int = 1) -> tuple[Rows, Rows]:
    """Uniform random numbers in [0, 1), the same for the same seed and shape."""
    generator = torch.Generator().manual_seed(seed)
    by_key = gates_of(model).items()
    return _exact(
        {key: [torch.rand(gate.parts if gate else 0, generator=generator) for gate in gates] for key, gates in by_key}
    )


METHODS: dict[str, Callable[..., tuple[Rows, Rows]]] = {
    method.__name__: method for method in (importance, fisher, taylor, magnitude, random)
}


def _with_error(sums: GradientSums, mean: Tensor, square: Tensor) -> tuple[Rows, Rows]:
    """Scores *mean* (parts,) and their standard errors, computed from the mean of the squares *square* (parts,)."""
    error = ((square - mean.square()).clamp_min(0) / sums.counts).sqrt()
    return sums.rows(mean), sums.rows(error)


def _exact(rows: dict[str, list[Tensor]]) -> tuple[Rows, Rows]:
    """Convert *rows* to lists; the standard errors are 0, as nothing was estimated from a sample."""
    scores = {}
    for key, layers in rows.items():
        plain = [layer.tolist() for layer in layers]
        scores[key] = [score for row in plain for score in row] if key.endswith(".layers") else plain
    zeros = {key: [[0.0] * len(row) if isinstance(row, list) else 0.0 for row in rows] for key, rows in scores.items()}
    return scores, zeros


def _gates_with_layers(model: nn.Module) -> dict[str, list[tuple[Sublayers, Gate | None]]]:
    """The gates of *model*, as :func:`gates_of` returns them, each with its layer."""
    stacks = {name: list(stack) for name, stack in stacks_of(model).items()}
    return {key: list(zip(stacks[key.split(".")[0]], gates, strict=True)) for key, gates in gates_of(model).items()}


@torch.no_grad()
def _norms(layer: Sublayers, key: str, gate: Gate | None) -> Tensor:
    """Norms of the weights of a layer's parts: (parts,)."""
    if gate is None or gate.parts == 0:
        return torch.zeros(0)
    kind = key.split(".")[1]
    if kind == "layers":
        return torch.cat([torch.zeros(1), *(weight.double().flatten() for weight in layer.parameters())]).norm().view(1)
    if kind == "ffn":
        return _by_part([layer.fc1], layer.fc2, gate.parts)
    attention = layer.sublayer(kind)
    return _by_part([attention.q_proj, attention.k_proj, attention.v_proj], attention.out_proj, gate.parts)


def _by_part(inputs: list[nn.Linear], output: nn.Linear, parts: int) -> Tensor:
    """Norm of each part's rows in the projections *inputs* and columns in the projection *output*: (parts,)."""
    weights = [weight for layer in inputs for weight in (layer.weight, layer.bias) if weight is not None]
    weights.append(output.weight.t())
    return torch.cat([weight.double().reshape(parts, -1) for weight in weights], 1).norm(dim=1)
