"""The picture of pruning by importance: a panel for each metric, a line for each order in which parts go."""

from .figure import new_figure

PARTS = {"heads": "heads", "ffn": "FFN units"}


def draw(path, record, title):
    """Draw every metric against the share removed as a PNG file.

    Args:
        path (str): file to write, whatever its name.
        record (dict): see importance_curve.py.
        title (str): of the picture.

    Raises:
        LayerdropError: matplotlib is not installed.
    """
    labels = {"loss": f"loss ({unit(record)})", "accuracy": "accuracy (%)", "bleu": "BLEU"}
    whole = next(point for point in record["points"] if point["method"] is None)
    metrics = list(record["means"])
    figure = new_figure(5.6 * len(metrics), 4.4)
    figure.suptitle(title, fontsize=13)
    for metric, axes in zip(metrics, figure.subplots(1, len(metrics), squeeze=False)[0], strict=True):
        for colour, (method, line) in enumerate(record["means"][metric].items()):
            _line(axes, f"C{colour}", method, whole[metric], line)
        far, sign = record["limits"][metric], 1 if metric == "loss" else -1
        limit = whole[metric] + sign * far
        axes.axhline(limit, color="0.45", linewidth=1, linestyle="--")
        above = {"xytext": (0, 3 if sign > 0 else -11), "textcoords": "offset points"}
        text = f"{far:g} above the whole model" if sign > 0 else f"{far:g} point below the whole model"
        axes.annotate(text, (0.0, limit), **above, fontsize=8, color="0.45")
        what = PARTS[record["settings"]["what"]]
        axes.set(xlabel=f"share of {what} removed", ylabel=labels[metric], xlim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(fontsize=9, frameon=False)
    figure.savefig(path, format="png")


def unit(record):
    """What the loss is counted in."""
    return f"{'squared error' if record['task'] == 'regression' else 'nats'} per {record['settings']['per']}"


def _line(axes, colour, method, whole, line):
    """One method's means, from the *whole* model's metric on, and the range over its seeds as a band."""
    x, means, low, high = (
        [first, *rest] for first, rest in zip((0.0, *[whole] * 3), zip(*line, strict=True), strict=True)
    )
    axes.plot(x, means, color=colour, marker="o", markersize=4, label=method)
    if low != high:
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
