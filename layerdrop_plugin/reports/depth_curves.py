"""Depth curves: quality against the number of layers kept, for every way of training, over seeds.

Only results with a `point` (results.py) count. A *depth* is one place on a curve:

    task, side, train, kept   as in its results' points
    seeds                     ascending
    whole                     whether nothing was cut off: the model that the others are cut out of
    loss, bleu                {"mean", "low", "high", "deviation"} over seeds, or null where not measured; loss in nats
                              per target token; deviation is the seeds' standard deviation (n - 1), null for one seed
"""

import statistics

from .. import provenance
from ..errors import LayerdropError
from . import depth_curves_figure
from .page import signature_lines, write_files
from .results import load, refuse_other_tests, who_is, without_answers
from .rows import markdown, plain
from .translation_table import TOO_LOW

_METRICS = {"loss": "nll_loss_nats", "bleu": "bleu"}
_PLACE = ("task", "side", "train", "kept")


def curves(paths, out, title="Layers kept at inference", command=None):
    """Write curves.md, curves.json and curves.png into a folder.

    Args:
        paths (Sequence[str]): result files, or folders that are searched for them; those without a point do not count.
        out (str): the folder, made if needed.
        title (str): of the page and the picture.
        command (str | None): what was typed, for the record.

    Returns:
        str: the table as plain text.

    Raises:
        LayerdropError: no points, two results at one point, results of different tests, or cannot write.
    """
    results = [result for result in load(paths) if result.get("point")]
    if not results:
        raise LayerdropError(f"no result in {', '.join(map(str, paths))} has a point: use `layerdrop score --point`")
    depths = depths_of(results)
    columns, cells = render(depths)
    page = [f"# {title}", "", markdown(columns, cells, columns[:3]), "", *(f"{line}  " for line in notes(depths))]
    page += ["", "![curves](curves.png)", "", "## How this was obtained", "", *signature_lines(results, curves=command)]
    record = {
        "type": "layerdrop.curves",
        "version": 1,
        "title": title,
        "depths": depths,
        "results": [without_answers(result) for result in results],
        "command": command,
        "versions": provenance.versions(),
    }
    write_files(
        out, "curves", "\n".join(page) + "\n", record, lambda path: depth_curves_figure.draw(path, depths, title)
    )
    return plain(columns, cells, columns[:3])


def depths_of(results):
    """Group results with points into depths; by task, side and training as they come, then by depth.

    Raises:
        LayerdropError: two results at one point, or results of one task that were tested on different data.
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


def _depth(place, by_seed):
    metrics = [result["metrics"] for result in by_seed.values()]
    return {
        **dict(zip(_PLACE, place, strict=True)),
        "seeds": sorted(by_seed),
        "whole": all(map(is_whole, by_seed.values())),
        **{name: _spread([values.get(key) for values in metrics]) for name, key in _METRICS.items()},
    }


def _spread(values):
    if None in values:
        return None
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "low": min(values), "high": max(values), "deviation": deviation}


def is_whole(result):
    """Whether the evaluated model has all layers of its oldest ancestor."""
    plan, parents = result["plan"] or {}, (result["provenance"] or {}).get("ancestors") or [{}]
    stacks = [stack for stack in ("encoder", "decoder") if plan.get(stack)]
    return all(len(plan[stack]["layers"]) == parents[0].get(f"{stack}_layers") for stack in stacks)


def render(depths):
    """The table's head and its cells, as text.

    Returns:
        tuple[list[str], list[list[str]]]
    """
    shown = [name for name in _METRICS if any(depth[name] for depth in depths)]
    heads = {"loss": "loss (nats/token)", "bleu": "BLEU"}
    columns = ["task", "side", "training", "layers kept", "seeds", *(heads[name] for name in shown)]
    cells = []
    for depth in depths:
        kept = f"{depth['kept']} (whole)" if depth["whole"] else str(depth["kept"])
        cell = [depth["task"], depth["side"], depth["train"], kept, str(len(depth["seeds"]))]
        cells.append([*cell, *(_cell(depth[name], 3 if name == "loss" else 1) for name in shown)])
    return columns, cells


def _cell(spread, digits):
    if spread is None:
        return "-"
    mean, low, high = (f"{spread[part]:.{digits}f}" for part in ("mean", "low", "high"))
    return mean if spread["deviation"] is None else f"{mean} ({low} to {high})"


def notes(depths):
    """What a reader must know to read the table and the picture."""
    text = [
        "The mean over seeds (least to greatest); 'whole' is the model that the others of its line are cut out of.",
        depth_curves_figure.caption(depths),
    ]
    bleu = [depth["bleu"]["mean"] for depth in depths if depth["bleu"]]
    if bleu and max(bleu) < TOO_LOW:
        text.append(f"**Every BLEU is below {TOO_LOW:g}: too low to compare models by it.** Compare their losses.")
    return text
