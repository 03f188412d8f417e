"""Rules that select the layers of a stack to keep, written ``NAME:ARGUMENT`` on the command line.

Sources: Fan et al. 2019 (every-other by the paper's formula, every-other-from-1 as in its authors' released example);
Sajjad et al. 2020, "Poor Man's BERT" (first, last, outer, even); spread is even with the first layer kept too.
A new rule is one function ``(layers of the parent, argument) -> layers kept`` and one line in RULES. Rules that
also read the parent's learned drop rates are in RULES_BY_RATES, rules by scores of the layers in layer_scores.py.
"""

from collections.abc import Sequence
from fractions import Fraction

from ..errors import LayerdropError
from .layer_scores import HELP as SCORES_HELP
from .plan import StackPlan
from .shape import StackShape


def every_other(layers: int, argument: str) -> list[int]:
    """Drop the layers d = 0 (mod floor(1/p)), depth d counted from 0: the formula of Fan et al. 2019, section 3.2.

    At p = 0.5 the layers 1, 3, 5, ... are kept. Above p = 0.5 the formula would drop all layers; the layers d = k-1
    (mod k) with k = floor(1/(1-p)) are kept then. p = 0 keeps all. The share that is dropped often differs from p.
    """
    return _every_other(layers, "every-other", argument, depth_of_first=0)


def every_other_from_1(layers: int, argument: str) -> list[int]:
    """As :func:`every_other` with depth d counted from 1, as in the released example of Fan et al. 2019.

    At p = 0.5 the layers 0, 2, 4, ... are kept; the example keeps 0, 2, ..., 14 of 16.
    """
    return _every_other(layers, "every-other-from-1", argument, depth_of_first=1)


def _every_other(layers: int, name: str, argument: str, depth_of_first: int) -> list[int]:
    """The layers that the formula keeps, *depth_of_first* being 0 or 1."""
    try:
        # Exact, as 1/(1 - 2/3) is below 3 in floating point; 0.3333333 is taken for 1/3.
        p = Fraction(argument).limit_denominator(10**4)
    except (ValueError, ZeroDivisionError):
        raise LayerdropError(f"{name}:{argument}: want a rate p with 0 <= p < 1, such as 0.5 or 2/3") from None
    if not 0 <= p < 1:
        raise LayerdropError(f"{name}:{argument}: want a rate 0 <= p < 1, the share of layers to drop")
    if p == 0:
        return list(range(layers))
    if p <= Fraction(1, 2):
        return [layer for layer in range(layers) if (layer + depth_of_first) % int(1 / p) != 0]
    every = int(1 / (1 - p))
    return [layer for layer in range(layers) if (layer + depth_of_first) % every == every - 1]


def keep(layers: int, argument: str) -> list[int]:
    """Keep the layers with the given numbers, such as ``0,2,4``."""
    try:
        return [int(part) for part in argument.split(",")]
    except ValueError:
        raise LayerdropError(f"keep:{argument}: want the layers' numbers separated by commas, such as 0,2,4") from None


def even(layers: int, argument: str) -> list[int]:
    """Keep N evenly spaced layers: the last of each of N blocks of (nearly) equal size."""
    count = _count("even", layers, argument)
    return [(block + 1) * layers // count - 1 for block in range(count)]


def first(layers: int, argument: str) -> list[int]:
    """Keep the first N layers (drop the top)."""
    return list(range(_count("first", layers, argument)))


def last(layers: int, argument: str) -> list[int]:
    """Keep the last N layers (drop the bottom)."""
    return list(range(layers - _count("last", layers, argument), layers))


def outer(layers: int, argument: str) -> list[int]:
    """Keep N outer layers (drop from the middle); of an odd number the bottom keeps one more."""
    count = _count("outer", layers, argument)
    return [*range((count + 1) // 2), *range(layers - count // 2, layers)]


def spread(layers: int, argument: str) -> list[int]:
    """Keep N layers spaced evenly from the first one to the last: 0, 4, 7, 11 of 12; of N = 1 the last one."""
    count = _count("spread", layers, argument)
    if count == 1:
        return [layers - 1]
    gaps = count - 1
    return [(2 * place * (layers - 1) + gaps) // (2 * gaps) for place in range(count)]  # rounded to the nearest


RULES = {
    "every-other": every_other,
    "every-other-from-1": every_other_from_1,
    "keep": keep,
    "even": even,
    "first": first,
    "last": last,
    "outer": outer,
    "spread": spread,
}


def learned(layers: int, argument: str, rates: Sequence[float]) -> list[int]:
    """Keep the N layers with the lowest drop rates that training has learned (``--learn-layerdrop``)."""
    count = _count("learned", layers, argument)
    if len(rates) != layers:
        raise LayerdropError(
            f"learned:{argument}: the parent has no learned drop rates of these layers: train it with"
            " --learn-layerdrop, or use another rule"
        )
    if len(set(rates)) == 1:
        raise LayerdropError(f"learned:{argument}: the parent's training has not learned its drop rates yet: train on")
    return sorted(sorted(range(layers), key=lambda layer: (rates[layer], layer))[:count])


RULES_BY_RATES = {"learned": learned}
SPEC_HELP = (
    "every-other:P (drop a share P by the LayerDrop paper's formula, depth counted from 0: of 6 layers P = 0.5 keeps"
    " 1, 3, 5), every-other-from-1:P (depth counted from 1, as in that paper's released example: keeps 0, 2, 4),"
    " keep:0,2,4, or with N layers kept even:N, first:N, last:N,"
    " outer:N, spread:N, learned:N (lowest rates of --learn-layerdrop); " + SCORES_HELP
)


def _count(name: str, layers: int, argument: str) -> int:
    try:
        count = int(argument)
    except ValueError:
        raise LayerdropError(f"{name}:{argument}: want {name}:N, N being the number of layers to keep") from None
    if not 1 <= count <= layers:
        raise LayerdropError(f"{name}:{argument}: the stack has {layers} layers, so keep between 1 and {layers}")
    return count


def stack_plan(spec: str, shape: StackShape, stack: str, rates: Sequence[float] = ()) -> StackPlan:
    """Apply the rule *spec*, ``NAME:ARGUMENT``, to a *stack* of *shape* whose layers have the learned drop *rates*.

    Raises:
        LayerdropError: the rule is unknown or its argument invalid, or it keeps no layer, repeats a layer or names a
            layer that does not exist.
    """
    name, colon, argument = spec.partition(":")
    if not colon or name not in RULES | RULES_BY_RATES:
        raise LayerdropError(f"unknown pruning rule {spec!r}: use {SPEC_HELP}")
    if name in RULES_BY_RATES:
        plan = StackPlan(tuple(RULES_BY_RATES[name](shape.layers, argument, rates)))
    else:
        plan = StackPlan(tuple(RULES[name](shape.layers, argument)))
    try:
        plan.validate(shape, stack)
    except LayerdropError as error:
        raise LayerdropError(f"{spec}: {error}") from None
    return plan
