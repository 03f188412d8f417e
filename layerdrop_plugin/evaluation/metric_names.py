"""How metrics are shown on pages: name, unit, number of decimals, and the sign of a change for the worse."""

from typing import NamedTuple


class Metric(NamedTuple):
    """How a metric is shown.

    Attributes:
        name: name in sentences and column heads.
        digits: decimals of a value in a table; a difference of two values has one more.
        unit: unit of a value; empty for the loss, see :func:`loss_unit`.
        worse: sign of a change for the worse, 1 or -1.
    """

    name: str
    digits: int
    unit: str = ""
    worse: int = -1

    def label(self, unit: str = "") -> str:
        """The name with its unit, for an axis or a column head; *unit* overrides the metric's own."""
        unit = unit or self.unit
        return f"{self.name} ({unit})" if unit else self.name

    def amount(self, value: float, unit: str) -> str:
        """The difference *value* in words: "1 point of accuracy", or "0.1 nats per token" for the loss in *unit*."""
        return f"{value:g} {unit}" if self is METRICS["loss"] else f"{value:g} point of {self.name}"


METRICS = {
    "loss": Metric("loss", 3, worse=1),
    "accuracy": Metric("accuracy", 1, "%"),
    "bleu": Metric("BLEU", 1),
    "mse": Metric("mean squared error", 3, worse=1),
}


def metric_of(name: str) -> Metric:
    """The metric that results call *name*. Metrics between -1 and 1, such as F1, are shown times 100."""
    return METRICS.get(name) or Metric(f"{name} x 100", 1)


def loss_unit(task: str, per: str) -> str:
    """The unit of a mean loss, such as "nats per token".

    Args:
        task: kind of model; "regression" has squared errors, all others have losses in nats.
        per: "token" or "example".
    """
    return f"{'squared error' if task == 'regression' else 'nats'} per {per}"
