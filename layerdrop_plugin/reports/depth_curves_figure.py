"""The picture of depth curves: one panel for each task, side and metric, one line for each training."""

import math

from .figure import new_figure

_YLABELS = {
    ("masked-lm", "loss"): "loss (nats per masked token)",
    ("translation", "loss"): "loss (nats per target token)",
    ("translation", "bleu"): "BLEU",
}
_XLABELS = {"encoder": "encoder layers kept", "decoder": "decoder layers kept", "both": "layers kept, both sides"}
_ACROSS = 3  # panels in a row, at most


def draw(path, depths, title):
    """Draw curves as a PNG file.

    Args:
        path (str): file to write, whatever its name.
        depths (list[dict]): see curves.py.
        title (str): of the picture.

    Raises:
        LayerdropError: matplotlib is not installed.
    """
    panels = panels_of(depths)
    across = min(len(panels), _ACROSS)
    down = -(-len(panels) // across)
    figure = new_figure(max(4.6 * across, 6.5), 3.8 * down + 0.9)
    figure.suptitle(title, fontsize=13)
    figure.supxlabel(caption(depths), fontsize=8)
    grid = figure.subplots(down, across, squeeze=False).flat
    trainings = list(dict.fromkeys(depth["train"] for depth in depths))  # one colour in all panels
    for (task, side, metric), axes in zip(panels, grid, strict=False):
        shown = [d for d in depths if (d["task"], d["side"]) == (task, side) and d[metric]]
        _panel(axes, shown, metric, trainings)
        axes.set_title(task, fontsize=10, loc="left")
        axes.set(xlabel=_XLABELS[side], ylabel=_YLABELS[task, metric])
    for axes in grid:  # what the panels left over
        axes.set_visible(False)
    figure.savefig(path, format="png")


def panels_of(depths):
    """(task, side, metric) of every panel: as the depths come, the loss before BLEU."""
    places = dict.fromkeys((depth["task"], depth["side"]) for depth in depths)
    measured = {(d["task"], d["side"], metric) for d in depths for metric in ("loss", "bleu") if d[metric]}
    return [(*place, metric) for place in places for metric in ("loss", "bleu") if (*place, metric) in measured]


def caption(depths):
    """What dots, bars and rings are, in one line."""
    counts = sorted({len(depth["seeds"]) for depth in depths})
    several = f"{counts[0]} to {counts[-1]} seeds" if len(counts) > 1 else f"{counts[0]} seed" + "s" * (counts[0] > 1)
    bars = "; bars: standard deviation over seeds" if counts[-1] > 1 else ""
    return f"dots: means over {several}{bars}; rings: the whole model"


def _panel(axes, depths, metric, trainings):
    lines = [training for training in trainings if any(depth["train"] == training for depth in depths)]
    for place, training in enumerate(lines):
        line = [depth for depth in depths if depth["train"] == training]
        colour = f"C{trainings.index(training) % 10}"
        shift = 0.06 * (place - (len(lines) - 1) / 2)  # so that bars at one depth stand side by side
        x, y = [depth["kept"] + shift for depth in line], [depth[metric]["mean"] for depth in line]
        reach = [math.nan if len(depth["seeds"]) == 1 else depth[metric]["deviation"] for depth in line]
        axes.errorbar(x, y, yerr=reach, color=colour, label=training, marker="o", markersize=4, capsize=3)
        whole = [index for index, depth in enumerate(line) if depth["whole"]]
        ring = {"markersize": 10, "markerfacecolor": "none", "color": colour}
        axes.plot([x[index] for index in whole], [y[index] for index in whole], "o", **ring)
    axes.set_xticks(sorted({depth["kept"] for depth in depths}))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
