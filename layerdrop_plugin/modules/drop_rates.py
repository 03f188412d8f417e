"""Drop rates of a stack's layers: their bounds, their schedule over depth and their warm-up.

Source: Fan, Grave, Joulin 2019, "Reducing Transformer Depth on Demand with Structured Dropout", section 3.
"""

import math

from ..errors import LayerdropError

RATES = ("headdrop", "ffndrop", "sublayerdrop")  # options of structured dropout, behind the stack's name


def drop_rate(value: str | float, name: str = "--encoder-layerdrop") -> float:
    """Convert *value*, which the option *name* has, to a drop rate in [0, 1).

    Raises:
        LayerdropError: *value* is not a number, or is outside [0, 1).
    """
    try:
        rate = float(value)
    except (TypeError, ValueError):
        raise LayerdropError(f"{name} wants a number p with 0 <= p < 1, not {value!r}") from None
    if not 0.0 <= rate < 1.0:
        raise LayerdropError(f"{name} wants 0 <= p < 1, not {value}: p is the chance of being left out")
    return rate


def _constant(depth: int, layers: int) -> float:
    return 1.0


def _linear(depth: int, layers: int) -> float:
    return 2.0 * (depth + 1) / (layers + 1)


def _exponential(depth: int, layers: int) -> float:
    return math.exp(depth * math.log(2.0) / (layers - 1)) - 1.0 if layers > 1 else 1.0


SCHEDULES = {"constant": _constant, "linear": _linear, "exponential": _exponential}


def layer_rates(rate: float, layers: int, schedule: str = "constant", name: str = "--encoder-layerdrop") -> list[float]:
    """Drop rate p_d of each layer d of L = *layers*; their mean is p = *rate* for every *schedule*.

    ``constant``: p_d = p; ``linear``: p_d = 2p(d+1)/(L+1); ``exponential``: p_d proportional to exp(d ln2 / (L-1)) - 1,
    with which the first layer is never dropped.

    Raises:
        LayerdropError: unknown schedule, *rate* outside [0, 1), or a layer's rate would reach 1.
    """
    rate = drop_rate(rate, name)
    if schedule not in SCHEDULES:
        raise LayerdropError(f"unknown LayerDrop schedule {schedule!r}: choose {', '.join(SCHEDULES)}")
    weights = [SCHEDULES[schedule](depth, layers) for depth in range(layers)]
    rates = [rate * weight * layers / math.fsum(weights) for weight in weights]
    if rates and max(rates) >= 1.0:
        raise LayerdropError(
            f"with the {schedule} schedule and p = {rate:g} layer {rates.index(max(rates))} of {layers} would be"
            f" dropped at rate {max(rates):.3f}: lower p below {rate / max(rates):.3f} or use the constant schedule"
        )
    return rates


def warmup_factor(num_updates: int, warmup_updates: int) -> float:
    """Factor of the drop rates after *num_updates* updates: rises linearly from 0 to 1 over *warmup_updates*."""
    return 1.0 if warmup_updates <= 0 else min(1.0, num_updates / warmup_updates)
