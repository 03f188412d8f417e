"""The report of sentence classifiers and regressors: quality against milliseconds per sentence.

Beside what every row has (rows.py):

    ms_per_sentence  {batch size: median milliseconds}, empty where not measured
    relative_time    ratio of the time at the largest batch size to the first model's, or null
"""

import statistics

from .. import data_folder
from ..results.classification import interval
from .figure import Bars, Points
from .rows import interval_cell, over_seeds, part_cells, ratio_cell, ratio_notes, size_cells, unreliable

KIND = data_folder.CLASSIFICATION
_INTERVAL = "95 % interval"
_HEADS = {"accuracy": "accuracy %", "mse": "mean squared error"}
_AXES = {"accuracy": "accuracy (%)", "mse": "mean squared error"}


def measured(group, timed):
    """What this kind adds to a row of the results *group* with the latency *timed* (None: not measured)."""
    metric, value = group[0]["metric"]["name"], statistics.fmean(result["metric"]["value"] for result in group)
    correct = round(statistics.fmean(result["correct"] for result in group)) if metric == "accuracy" else None
    return {
        "ms_per_sentence": timed["ms_per_sentence"] if timed else {},
        "relative_time": timed["ratio"][max(timed["ratio"], key=int)] if timed else None,
        "interval": interval(metric, value, group[0]["examples"], correct),
    }


def render(rows, metric, times=None):
    """The table's head, its cells as text, and the columns of text.

    Returns:
        tuple[list[str], list[list[str]], list[str]]
    """
    sizes = [str(size) for size in times["batch_sizes"]] if times else []
    base = times["models"][0]["name"] if times else None
    head = _HEADS.get(metric, f"{metric} x 100")
    parts, counts = part_cells(rows)
    columns = ["model", "layers", *parts, "parameters", "weights (MB)"]
    columns += [f"ms/sentence, batch {size}" for size in sizes]
    columns += [f"time vs {base}, batch {max(map(int, sizes))}"] if times else []
    columns += [head, _INTERVAL]
    cells = []
    for row, count in zip(rows, counts, strict=True):
        cell = [row["name"], str(row["layers"]), *count, *size_cells(row)]
        cell += [f"{row['ms_per_sentence'][size]:.2f}" if row["ms_per_sentence"] else "-" for size in sizes]
        if times:
            cell.append(ratio_cell(row, "relative_time"))
        cells.append([*cell, over_seeds(row, 3 if metric == "mse" else 1), interval_cell(row)])
    return columns, cells, [head, _INTERVAL]


def notes(results, times, rows):
    """What a reader must know to read the table."""
    metric, examples = results[0]["metric"]["name"], results[0]["examples"]
    text = []
    if times:
        text.append(
            f"ms/sentence: median of {times['repeats']} rounds over {times['sentences']} sentences "
            f"({times['mean_tokens']:.1f} tokens in the mean), the models in turn in one process, {times['threads']} "
            f"threads of {times['cpu']}."
        )
        text += ratio_notes(times, "time")
    text.append(
        f"{metric}: on the {examples:,} examples of '{results[0]['split']}'"
        + (", the mean over seeds (least to greatest)." if any(len(row["seeds"]) > 1 for row in rows) else ".")
    )
    if metric == "accuracy":
        text.append(
            f"95 % interval: Wilson's, at the mean number of right answers (rounded) out of {examples:,}. It speaks of "
            "the choice of test examples, not of the seeds; all models answer the same examples."
        )
    elif metric == "pearson":
        text.append(f"95 % interval: Fisher's z at the mean correlation, {examples:,} examples; not of the seeds.")
    return text


def pictured(rows, metric, times=None):
    """The picture: quality against time at the largest batch (without times: against the models), and the costs.

    Returns:
        tuple[Points, list[Bars]]
    """
    size = str(max(times["batch_sizes"])) if times else None
    points = Points(
        xlabel=f"ms per sentence, batch {size} (less is better){unreliable(rows)}" if times else None,
        ylabel=_AXES.get(metric, f"{metric} x 100"),
        x={row["name"]: row["ms_per_sentence"][size] for row in rows if row["ms_per_sentence"]} if times else None,
    )
    bars = [Bars("size of the weights (MB)", {row["name"]: row["weight_bytes"] / 1e6 for row in rows}, "{:.1f}")]
    if times:
        bars.insert(0, Bars(f"ms per sentence, batch {size}", points.x, "{:.2f}"))
    return points, bars
