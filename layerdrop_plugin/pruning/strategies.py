"""Strategies: rules that say which layers of a stack to keep, written ``NAME:ARGUMENT`` on the command line.

Sources: Fan et al. 2019 (every other); Sajjad et al. 2020, "Poor Man's BERT" (first, last, outer, even).
A new strategy is one function ``(layers of the parent, argument) -> layers kept`` and one line in STRATEGIES.
"""

from fractions import Fraction

from ..errors import LayerdropError
from .plan import ModelShape, Plan, StackPlan, StackShape


def every_other(layers: int, argument: str) -> list[int]:
    """Drop the layers d = 0 (mod floor(1/p)) (Fan et al. 2019, section 3.2).

    The formula by itself would remove everything above p = 0.5; there, with k = floor(1/(1-p)), the layers
    d = k-1 (mod k) are kept. p = 0 keeps all. The rate reached often differs from p.
    """
    try:
        # exact: in floating point 1/(1 - 2/3) is below 3; a third written with many digits is a third
        p = Fraction(argument).limit_denominator(10**4)
    except (ValueError, ZeroDivisionError):
        raise LayerdropError(f"every-other:{argument}: want a rate p with 0 <= p < 1, such as 0.5 or 2/3") from None
    if not 0 <= p < 1:
        raise LayerdropError(f"every-other:{argument}: want a rate 0 <= p < 1, the share of layers to drop")
    if p == 0:
        return list(range(layers))
    if p <= Fraction(1, 2):
        return [depth for depth in range(layers) if depth % int(1 / p) != 0]
    every = int(1 / (1 - p))
    return [depth for depth in range(layers) if depth % every == every - 1]


def keep(layers: int, argument: str) -> list[int]:
    """Keep exactly the layers named, such as ``0,2,4``."""
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


STRATEGIES = {"every-other": every_other, "keep": keep, "even": even, "first": first, "last": last, "outer": outer}
SPEC_HELP = "every-other:P (drop a share P), keep:0,2,4, or with N layers kept even:N, first:N, last:N, outer:N"


def _count(name: str, layers: int, argument: str) -> int:
    try:
        count = int(argument)
    except ValueError:
        raise LayerdropError(f"{name}:{argument}: want {name}:N, N being the number of layers to keep") from None
    if not 1 <= count <= layers:
        raise LayerdropError(f"{name}:{argument}: the stack has {layers} layers, so keep between 1 and {layers}")
    return count


def stack_plan(spec: str, shape: StackShape, stack: str) -> StackPlan:
    """The plan that the strategy *spec* makes for a *stack* of *shape*.

    Raises:
        LayerdropError: unknown strategy, or one that keeps nothing, repeats a layer or names one that is not there.
    """
    name, colon, argument = spec.partition(":")
    if not colon or name not in STRATEGIES:
        raise LayerdropError(f"unknown pruning rule {spec!r}: use {SPEC_HELP}")
    plan = StackPlan(tuple(STRATEGIES[name](shape.layers, argument)))
    try:
        plan.validate(shape, stack)
    except LayerdropError as error:
        raise LayerdropError(f"{spec}: {error}") from None
    return plan


def plan_from_options(shape: ModelShape, specs: dict[str, str | None], plan_file: str | None) -> Plan:
    """The plan that a command's options ask for: a rule per stack (see strategies), or a plan's file.

    Raises:
        LayerdropError: both or neither where one is needed, or what they say cannot be cut out of *shape*.
    """
    specs = {stack: spec for stack, spec in specs.items() if spec}
    if plan_file and specs:
        raise LayerdropError("give either a plan's file or rules for the layers, not both")
    if plan_file:
        plan = Plan.load(plan_file)
    else:
        for stack in specs:
            if getattr(shape, stack) is None:
                raise LayerdropError(f"the parent has no {stack} to prune")
        plan = Plan(**{stack: stack_plan(spec, getattr(shape, stack), stack) for stack, spec in specs.items()})
    plan.validate(shape)
    return plan
