"""Scores of a model's parts: importance (Michel et al. 2019) and what to compare it with.

A method is a function of (model, sums of its gates' gradients or None, seed) that gives scores and their standard
errors, each a map from ``encoder.self_attn`` and the like to rows. Parts with low scores are those to remove first.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..modules.gate import Gate
from ..modules.sublayers import Sublayers
from ..pruning.gates import gates_of, stacks_of

Rows = dict[str, list]
GRADIENTS = ("importance", "fisher", "taylor")  # the methods that need sums of gradients; all they need is one pass


def importance(model: nn.Module | None, sums, seed: int = 1) -> tuple[Rows, Rows]:
    """E |g|: by how much the loss of an example changes, to first order, whatever the direction."""
    return _with_error(sums, sums.mean("absolute"), sums.mean("square"))


def fisher(model: nn.Module | None, sums, seed: int = 1) -> tuple[Rows, Rows]:
    """E g²: the diagonal of the Fisher information of the gates, with the data's labels."""
    return _with_error(sums, sums.mean("square"), sums.mean("fourth"))


def taylor(model: nn.Module | None, sums, seed: int = 1) -> tuple[Rows, Rows]:
    """-E g: the rise of the mean loss, to first order, when the part is removed."""
    return _with_error(sums, -sums.mean("signed"), sums.mean("square"))


def magnitude(model: nn.Module, sums=None, seed: int = 1) -> tuple[Rows, Rows]:
    """The l2 norm of a part's weights: of what makes it, biases included, and of what reads it."""
    return _exact({key: [_norms(layer, key, gate) for layer, gate in of] for key, of in _places(model).items()})


def random(model: nn.Module, sums=None, seed: int = 1) -> tuple[Rows, Rows]:
    """Numbers in [0, 1), the same for the same seed and shape."""
    generator = torch.Generator().manual_seed(seed)
    gates = gates_of(model).items()
    return _exact(
        {key: [torch.rand(gate.parts if gate else 0, generator=generator) for gate in of] for key, of in gates}
    )


METHODS: dict[str, Callable[..., tuple[Rows, Rows]]] = {
    method.__name__: method for method in (importance, fisher, taylor, magnitude, random)
}


def _with_error(sums, mean: Tensor, square: Tensor) -> tuple[Rows, Rows]:
    """Rows of *mean* and of its standard error, *square* being the mean of the squares."""
    error = ((square - mean.square()).clamp_min(0) / sums.counts).sqrt()
    return sums.rows(mean), sums.rows(error)


def _exact(rows: dict[str, list[Tensor]]) -> tuple[Rows, Rows]:
    """*rows* as lists, and as their standard errors zeros: nothing was estimated."""
    scores = {}
    for key, layers in rows.items():
        plain = [layer.tolist() for layer in layers]
        scores[key] = [score for row in plain for score in row] if key.endswith(".layers") else plain
    zeros = {key: [[0.0] * len(row) if isinstance(row, list) else 0.0 for row in of] for key, of in scores.items()}
    return scores, zeros


def _places(model: nn.Module) -> dict[str, list[tuple[Sublayers, Gate | None]]]:
    """Every gate of *model* beside its layer, as :func:`gates_of` gives them."""
    stacks = {name: list(stack) for name, stack in stacks_of(model).items()}
    return {key: list(zip(stacks[key.split(".")[0]], gates, strict=True)) for key, gates in gates_of(model).items()}


@torch.no_grad()
def _norms(layer: Sublayers, key: str, gate: Gate | None) -> Tensor:
    """Norms of the weights of a layer's parts; (parts,)."""
    if gate is None or gate.parts == 0:
        return torch.zeros(0)
    kind = key.split(".")[1]
    if kind == "layers":
        return torch.cat([torch.zeros(1), *(weight.double().flatten() for weight in layer.parameters())]).norm().view(1)
    if kind == "ffn":
        return _by_part([layer.fc1], layer.fc2, gate.parts)
    attention = layer.sublayer(kind)
    return _by_part([attention.q_proj, attention.k_proj, attention.v_proj], attention.out_proj, gate.parts)


def _by_part(makers: list[nn.Linear], reader: nn.Linear, parts: int) -> Tensor:
    """Norm of each part's rows in *makers* and columns in *reader*."""
    weights = [weight for maker in makers for weight in (maker.weight, maker.bias) if weight is not None]
    weights.append(reader.weight.t())
    return torch.cat([weight.double().reshape(parts, -1) for weight in weights], 1).norm(dim=1)
