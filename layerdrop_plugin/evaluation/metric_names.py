"""What metrics are called on pages, with how many decimals they are written, and which way is worse."""

from typing import NamedTuple


class Metric(NamedTuple):
    """How a metric is written.

    Attributes:
        name: in sentences and column heads.
        digits: decimals of a value in a table; a difference of two values has one more.
        unit: of a value; the loss has it from :func:`loss_unit`.
        worse: the sign of a change for the worse.
    """

    name: str
    digits: int
    unit: str = ""
    worse: int = -1

    def label(self, unit: str = "") -> str:
        """The name with its unit, or with *unit*, for an axis or a column."""
        unit = unit or self.unit
        return f"{self.name} ({unit})" if unit else self.name

    def amount(self, value: float, unit: str) -> str:
        """A difference in words: "1 point of accuracy"; of a loss "0.1 nats per token", in *unit*."""
        return f"{value:g} {unit}" if self is METRICS["loss"] else f"{value:g} point of {self.name}"


METRICS = {
    "loss": Metric("loss", 3, worse=1),
    "accuracy": Metric("accuracy", 1, "%"),
    "bleu": Metric("BLEU", 1),
    "mse": Metric("mean squared error", 3, worse=1),
}


def metric_of(name: str) -> Metric:
    """The metric called *name* in results; of those between -1 and 1, such as F1, the hundredfold is shown."""
    return METRICS.get(name) or Metric(f"{name} x 100", 1)


def loss_unit(task: str, per: str) -> str:
    """What a loss is counted in.

    Args:
        task: "regression", whose loss is a squared error, or another, whose loss is an entropy in nats.
        per: "token" or "example".
    """
    return f"{'squared error' if task == 'regression' else 'nats'} per {per}"
