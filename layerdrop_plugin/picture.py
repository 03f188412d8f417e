"""The picture of a report: quality against time, and what each model costs.

matplotlib is imported here only, when a picture is drawn, and draws without a display.
"""

import logging

from .errors import LayerdropError

_GREY = "0.45"


def draw(path, rows, title, metric, times=None):
    """Draw the rows of a report as a PNG file.

    Left: the metric with its interval against ms per sentence at the largest batch (without latencies: against the
    models' names), single seeds' range as a thick bar. Right: time and size as bars.

    Args:
        path (str): file to write, whatever its name.
        rows (list[dict]): see report.py.
        title (str): of the picture.
        metric (str): its name.
        times (dict | None): the measurement behind the rows.

    Raises:
        LayerdropError: matplotlib is not installed.
    """
    # Importing fairseq sets the root logger to DEBUG, and matplotlib then tells about every font it knows.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LayerdropError("the picture needs matplotlib: pip install 'layerdrop_plugin[report]'") from error
    # Figure without pyplot: no global state, no backend to choose.
    figure = Figure(figsize=(11, 0.6 * len(rows) + 3.4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=13)
    size = str(max(times["batch_sizes"])) if times else None
    colours = {row["name"]: f"C{index % 10}" for index, row in enumerate(rows)}
    bars = [("size of the weights (MB)", {row["name"]: row["weight_bytes"] / 1e6 for row in rows}, "{:.1f}")]
    if times:
        label = f"ms per sentence, batch {size}"
        timed = {row["name"]: row["ms_per_sentence"][size] for row in rows if row["ms_per_sentence"]}
        bars.insert(0, (label, timed, "{:.2f}"))
    panels = figure.subplot_mosaic([["points", index] for index in range(len(bars))], width_ratios=[1.35, 1])
    _points(panels["points"], rows, colours, metric, size)
    for index, (label, values, form) in enumerate(bars):
        _bars(panels[index], values, colours, label, form)
    figure.savefig(path, format="png")


def _points(axes, rows, colours, metric, size):
    shown = [row for row in rows if size is None or row["ms_per_sentence"]]
    for index, row in enumerate(shown):
        x = row["ms_per_sentence"][size] if size else index
        low, high = row["interval"] or (row["metric"], row["metric"])
        colour = colours[row["name"]]
        axes.plot([x, x], [low, high], color=colour, linewidth=1.5, marker="_", markersize=9)
        axes.plot([x, x], [row["low"], row["high"]], color=colour, linewidth=6, alpha=0.35, solid_capstyle="butt")
        axes.plot(x, row["metric"], "o", color=colour, markersize=7)
    axes.set_ylabel({"accuracy": "accuracy (%)", "mse": "mean squared error"}.get(metric, f"{metric} x 100"))
    caption = "dot: mean over seeds; thick: their range; thin: 95 % interval for the test set"
    axes.set_title(caption, fontsize=9, loc="left")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if size is None:
        axes.set_xticks(range(len(shown)), [row["name"] for row in shown])
        axes.margins(x=0.2)
        return
    axes.set_xlabel(f"ms per sentence, batch {size} (less is better)")
    axes.set_xlim(0, 1.35 * max(row["ms_per_sentence"][size] for row in shown))  # room for the last label
    axes.margins(y=0.12)
    _labels(axes, shown, colours, size)


def _labels(axes, rows, colours, size):
    """Name the points on their right, pushed upwards where two names would lie on each other."""
    bottom, top = axes.get_ylim()
    right = axes.get_xlim()[1]
    step, reach, gap = 0.08 * (top - bottom), 0.3 * right, 0.03 * right
    placed = []
    for row in sorted(rows, key=lambda row: row["metric"]):
        x, y = row["ms_per_sentence"][size], row["metric"]
        for at, other in placed:  # from the lowest up, so one walk settles it
            if abs(at - x) < reach and abs(other - y) < step:
                y = other + step
        placed.append((x, y))
        axes.annotate(
            row["name"], (x, row["metric"]), (x + gap, y), va="center", color=colours[row["name"]],
            arrowprops={"arrowstyle": "-", "color": colours[row["name"]], "alpha": 0.4},
        )  # fmt: skip


def _bars(axes, values, colours, label, form):
    names = list(values)[::-1]  # the first on top
    drawn = axes.barh(names, [values[name] for name in names], color=[colours[name] for name in names], height=0.6)
    axes.bar_label(drawn, [form.format(values[name]) for name in names], padding=4, color=_GREY)
    axes.set_xlim(0, 1.2 * max(values.values()))
    axes.set_title(label, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
