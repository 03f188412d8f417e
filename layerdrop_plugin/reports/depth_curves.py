"""Depth curves: quality against the number of layers kept, with a line for each training, over seeds.

Results without a `point` (results/record.py) are left out. A *depth* is one position on a curve:

    task, side, train, kept   as in the points of its results
    seeds                     ascending
    whole                     whether the model has all layers of its oldest ancestor
    loss, bleu                {"mean", "low", "high", "deviation"} over seeds, or null if not measured; loss in nats per
                              target token; deviation is the standard deviation (n - 1), null for one seed
"""

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import LayerdropError
from ..evaluation.metric_names import METRICS
from ..provenance import made_with, provenance_lines
from ..results.record import for_page, load, refuse_other_tests, who_is
from .figure import bare, new_figure
from .page import Page, Table
from .translation_table import TOO_LOW, TOO_LOW_NOTE

TYPE = "layerdrop.curves"
_KEYS = {"loss": "nll_loss_nats", "bleu": "bleu"}  # name here -> name in results, in the order of columns and panels
_PLACE = ("task", "side", "train", "kept")
_TOKENS = {"masked-lm": "masked token", "translation": "target token"}
_XLABELS = {"encoder": "encoder layers kept", "decoder": "decoder layers kept", "both": "layers kept, both sides"}
_ACROSS = 3  # maximum number of panels in a row


def record_of(paths: Sequence[str | os.PathLike], title: str, command: str | None = None) -> dict[str, Any]:
    """The record of depth curves.

    Args:
        paths: files of results, or folders that are searched for them.
        title: title of the page and the figure.
        command: the command line.

    Raises:
        LayerdropError: there are no results with points, two results have the same point, or results of one task were
            tested on different data.
    """
    results = [result for result in load(paths) if result.get("point")]
    if not results:
        raise LayerdropError(
            f"no result in {', '.join(map(str, paths))} has a point: use --point of `layerdrop evaluate` or `score`"
        )
    return {
        "type": TYPE,
        "version": 1,
        "title": title,
        "depths": depths_of(results),
        "results": [for_page(result) for result in results],
        **made_with(command),
    }


def page_of(record: dict[str, Any]) -> Page:
    """The page of a *record* of :func:`record_of`."""
    depths, title = record["depths"], record["title"]
    return Page(
        name="curves",
        title=title,
        table=_table(depths),
        notes=_notes(depths),
        figure=lambda: _figure(depths, title),
        caption="curves",
        provenance=provenance_lines(record["results"], record["command"]),
        record=record,
    )


def depths_of(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Group results with points into depths.

    Returns:
        Depths in the order in which task, side and training first occur in *results*, then by number of layers.

    Raises:
        LayerdropError: two results have the same point, or results of one task were tested on different data.
    """
    groups, tasks = {}, {}
    for result in results:
        point = result["point"]
        group = groups.setdefault(tuple(point[part] for part in _PLACE), {})
        if point["seed"] in group:
            raise LayerdropError(f"{who_is(result)} and {who_is(group[point['seed']])} are the same point {point}")
        group[point["seed"]] = result
        tasks.setdefault(point["task"], []).append(result)
    for tested in tasks.values():
        refuse_other_tests(tested)
    panels, lines = (list(dict.fromkeys(place[:parts] for place in groups)) for parts in (2, 3))
    order = sorted(groups, key=lambda place: (panels.index(place[:2]), lines.index(place[:3]), place[3]))
    return [_depth(place, groups[place]) for place in order]


def _depth(place: tuple, by_seed: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    metrics = [result["metrics"] for result in by_seed.values()]
    return {
        **dict(zip(_PLACE, place, strict=True)),
        "seeds": sorted(by_seed),
        "whole": all(map(is_whole, by_seed.values())),
        **{name: _spread([values.get(key) for values in metrics]) for name, key in _KEYS.items()},
    }


def _spread(values: Sequence[float | None]) -> dict[str, float | None] | None:
    if None in values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "low": min(values), "high": max(values), "deviation": deviation}


def is_whole(result: Mapping[str, Any]) -> bool:
    """Whether the evaluated model has all layers of its oldest ancestor."""
    plan, parents = result["plan"] or {}, (result["provenance"] or {}).get("ancestors") or [{}]
    stacks = [stack for stack in ("encoder", "decoder") if plan.get(stack)]
    return all(len(plan[stack]["layers"]) == parents[0].get(f"{stack}_layers") for stack in stacks)


def _table(depths: Sequence[Mapping[str, Any]]) -> Table:
    measured = [name for name in _KEYS if any(depth[name] for depth in depths)]
    heads = [METRICS[name].label("nats/token" if name == "loss" else "") for name in measured]
    cells = []
    for depth in depths:
        kept = f"{depth['kept']} (whole)" if depth["whole"] else str(depth["kept"])
        cell = [depth["task"], depth["side"], depth["train"], kept, str(len(depth["seeds"]))]
        cells.append([*cell, *(_cell(depth[name], METRICS[name].digits) for name in measured)])
    columns = ["task", "side", "training", "layers kept", "seeds", *heads]
    return Table(columns, cells, columns[:3])


def _cell(spread: Mapping[str, float | None] | None, digits: int) -> str:
    if spread is None:
        return "-"
    mean, low, high = (f"{spread[part]:.{digits}f}" for part in ("mean", "low", "high"))
    return mean if spread["deviation"] is None else f"{mean} ({low} to {high})"


def _notes(depths: Sequence[Mapping[str, Any]]) -> list[str]:
    text = [
        "The mean over seeds (least to greatest); 'whole' is the model that the others of its line are cut out of.",
        _caption(depths),
    ]
    bleu = [depth["bleu"]["mean"] for depth in depths if depth["bleu"]]
    if bleu and max(bleu) < TOO_LOW:
        text.append(TOO_LOW_NOTE)
    return text


def _caption(depths: Sequence[Mapping[str, Any]]) -> str:
    """Legend of dots, bars and rings."""
    counts = sorted({len(depth["seeds"]) for depth in depths})
    several = f"{counts[0]} to {counts[-1]} seeds" if len(counts) > 1 else f"{counts[0]} seed" + "s" * (counts[0] > 1)
    bars = "; bars: standard deviation over seeds" if counts[-1] > 1 else ""
    return f"dots: means over {several}{bars}; rings: the whole model"


def panels_of(depths: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """(task, side, metric) of every panel of the figure, in the order of *depths*, the loss before BLEU."""
    places = dict.fromkeys((depth["task"], depth["side"]) for depth in depths)
    measured = {(d["task"], d["side"], metric) for d in depths for metric in _KEYS if d[metric]}
    return [(*place, metric) for place in places for metric in _KEYS if (*place, metric) in measured]


def _figure(depths: Sequence[Mapping[str, Any]], title: str):
    """A panel for each task, side and metric, a line for each training."""
    panels = panels_of(depths)
    across = min(len(panels), _ACROSS)
    down = -(-len(panels) // across)
    figure = new_figure(max(4.6 * across, 6.5), 3.8 * down + 0.9)
    figure.suptitle(title, fontsize=13)
    figure.supxlabel(_caption(depths), fontsize=8)
    grid = figure.subplots(down, across, squeeze=False).flat
    trainings = list(dict.fromkeys(depth["train"] for depth in depths))  # a training has the same colour in all panels
    for (task, side, metric), axes in zip(panels, grid, strict=False):
        shown = [d for d in depths if (d["task"], d["side"]) == (task, side) and d[metric]]
        _panel(axes, shown, metric, trainings)
        axes.set_title(task, fontsize=10, loc="left")
        unit = f"nats per {_TOKENS[task]}" if metric == "loss" else ""
        axes.set(xlabel=_XLABELS[side], ylabel=METRICS[metric].label(unit))
    for axes in grid:  # empty positions
        axes.set_visible(False)
    return figure


def _panel(axes, depths: Sequence[Mapping[str, Any]], metric: str, trainings: Sequence[str]) -> None:
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
    bare(axes)
    axes.legend(fontsize=8, frameon=False)
