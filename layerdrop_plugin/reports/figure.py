"""Empty figures for all pages, and the figure of a report: quality against time, and the costs of each model.

matplotlib is imported when a figure is drawn; it needs no display.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import LayerdropError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GREY = "0.45"
_MANY = 12  # rows; more are numbered, as their names would cover the points


@dataclass(frozen=True)
class Points:
    """The left panel, with a point for each row.

    Attributes:
        xlabel, ylabel: labels of the axes.
        x: row's name -> x coordinate; rows without one are left out. None places the rows side by side.
        y: row's name -> y coordinate; None uses the rows' metrics, with their intervals and ranges over seeds.
        across: names of rows without x coordinate, which are drawn as horizontal lines at their metrics.
    """

    xlabel: str | None
    ylabel: str
    x: dict[str, float] | None
    y: dict[str, float] | None = None
    across: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bars:
    """A panel on the right, with a bar for each row.

    Attributes:
        label: title of the panel.
        values: row's name -> length of the bar.
        form: format string of the number beside a bar, such as "{:.1f}".
    """

    label: str
    values: dict[str, float]
    form: str


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of *width* x *height* inches.

    Raises:
        LayerdropError: matplotlib is not installed.
    """
    # Importing fairseq sets the root logger to DEBUG, and matplotlib would then log every font that it finds.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LayerdropError("the picture needs matplotlib: pip install 'layerdrop_plugin[report]'") from error
    # Without pyplot there is no global state, and no backend must be chosen.
    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def bare(axes: "Axes") -> None:
    """Give *axes* a light grid, and remove the frame on the right and at the top."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def points_and_bars(rows: Sequence[Mapping[str, Any]], title: str, points: Points, bars: Sequence[Bars]) -> "Figure":
    """The figure of a report.

    Args:
        rows: see rows.py.
        title: title of the figure.
        points: the left panel. A thin line is the interval of a row's metric, a thick line its range over seeds.
        bars: the panels on the right.

    Raises:
        LayerdropError: matplotlib is not installed.
    """
    many = len(rows) > _MANY
    figure = new_figure(11, (0.33 if many else 0.6) * len(rows) + 3.4)
    figure.suptitle(title, fontsize=13)
    colours = {row["name"]: f"C{index % 10}" for index, row in enumerate(rows)}
    names = [["points", index] for index in range(len(bars))] or [["points"]]
    panels = figure.subplot_mosaic(names, width_ratios=[1.35, 1][: len(names[0])])
    numbers = {row["name"]: str(index) for index, row in enumerate(rows, 1)} if many else {}
    _points(panels["points"], rows, colours, points, numbers)
    for index, bar in enumerate(bars):
        _bars(panels[index], bar, colours, numbers)
    return figure


def _points(axes, rows, colours, points, numbers):
    shown = [row for row in rows if row["name"] not in points.across and (points.x is None or row["name"] in points.x)]
    places = {row["name"]: points.x[row["name"]] if points.x else index for index, row in enumerate(shown)}
    values = points.y or {row["name"]: row["metric"] for row in shown}
    for row in shown:
        name, x = row["name"], places[row["name"]]
        if points.y is None:
            low, high = row["interval"] or (row["metric"], row["metric"])
            axes.plot([x, x], [low, high], color=colours[name], linewidth=1.5, marker="_", markersize=9)
            seeds = {"linewidth": 6, "alpha": 0.35, "solid_capstyle": "butt"}
            axes.plot([x, x], [row["low"], row["high"]], color=colours[name], **seeds)
        axes.plot(x, values[name], "o", color=colours[name], markersize=7)
    axes.set_ylabel(points.ylabel)
    caption = "dot: mean over seeds" + ("; thick: their range; thin: 95 % interval for the test set" * (not points.y))
    axes.set_title(caption, fontsize=9, loc="left")
    bare(axes)
    if points.x:
        axes.set_xlabel(points.xlabel)
        axes.set_xlim(0, 1.35 * max(places.values()))  # room for the last label
        axes.margins(y=0.12)
        _labels(axes, places, values, colours, numbers)
    else:
        axes.set_xticks(range(len(shown)), [row["name"] for row in shown])
        axes.margins(x=0.2)
    _across(axes, [row for row in rows if row["name"] in points.across], colours)


def _across(axes, rows, colours):
    for row in rows:
        axes.axhline(row["metric"], color=colours[row["name"]], linewidth=1, linestyle="--")
        where = {"xy": (1, row["metric"]), "xycoords": ("axes fraction", "data")}
        shift = {"xytext": (0, 3), "textcoords": "offset points", "ha": "right"}
        axes.annotate(row["name"], **where, **shift, color=colours[row["name"]], fontsize=9)


def _labels(axes, places, values, colours, numbers):
    """Write the names (or numbers) of points to their right, in front of lines, moved up where they would overlap."""
    bottom, top = axes.get_ylim()
    right = axes.get_xlim()[1]
    step, reach, gap = 0.08 * (top - bottom), 0.3 * right, 0.03 * right
    if numbers:
        step, reach = 0.021 * (top - bottom), 0.05 * right
    placed = []
    for name in sorted(places, key=values.get):
        x, y = places[name], values[name]
        for at, other in placed:  # sorted from the lowest label, so one pass suffices
            if abs(at - x) < reach and abs(other - y) < step:
                y = other + step
        placed.append((x, y))
        axes.annotate(
            numbers.get(name, name), (x, values[name]), (x + gap, y), va="center", color=colours[name],
            fontsize=8 if numbers else None,
            arrowprops={"arrowstyle": "-", "color": colours[name], "alpha": 0.4}, zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
        )  # fmt: skip


def _bars(axes, bars, colours, numbers):
    names = list(bars.values)[::-1]  # barh draws from the bottom up
    values = [bars.values[name] for name in names]
    texts = [f"{name}  {numbers[name]}" if numbers else name for name in names]
    drawn = axes.barh(texts, values, color=[colours[name] for name in names], height=0.6)
    axes.bar_label(drawn, [bars.form.format(value) for value in values], padding=4, color=_GREY)
    axes.set_xlim(0, 1.2 * max(values))
    axes.set_title(bars.label, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
