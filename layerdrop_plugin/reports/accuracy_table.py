"""The report of sentence classifiers and regressors: quality and milliseconds per sentence.

Entries of a row in addition to those of rows.py:

    ms_per_sentence  {batch size: median milliseconds}, empty if not measured
    peak_bytes       peak memory of a process that answers with the model, or null if not measured
    relative_time    time at the largest batch size divided by the first model's, or null
"""

import statistics
from collections.abc import Sequence
from typing import Any

from .. import data_folder
from ..evaluation.latency import Latency, Timed
from ..evaluation.metric_names import metric_of
from ..evaluation.metrics import interval
from ..results.record import Result
from .figure import Bars, Points
from .page import Table
from .rows import Row, interval_cell, over_seeds, part_cells, ratio_cell, size_cells, timing_notes, unreliable

KIND = data_folder.CLASSIFICATION
_INTERVAL = "95 % interval"


def measured(group: Sequence[Result], timed: Timed | None) -> dict[str, Any]:
    """The entries of the module's docstring for one row.

    Args:
        group: results of the model, one for each seed.
        timed: latency of the model.
    """
    metric, value = group[0]["metric"]["name"], statistics.fmean(result["metric"]["value"] for result in group)
    correct = round(statistics.fmean(result["correct"] for result in group)) if metric == "accuracy" else None
    return {
        "ms_per_sentence": timed["ms_per_sentence"] if timed else {},
        "peak_bytes": timed.get("peak_bytes") if timed else None,
        "relative_time": timed["ratio"][max(timed["ratio"], key=int)] if timed else None,
        "interval": interval(metric, value, group[0]["examples"], correct),
    }


def table(rows: Sequence[Row], metric: str, times: Latency | None = None) -> Table:
    """The table of *rows*.

    Args:
        rows: see rows.py.
        metric: name of the headline metric.
        times: the latency measurement.
    """
    sizes = [str(size) for size in times["batch_sizes"]] if times else []
    base = times["models"][0]["name"] if times else None
    shown = metric_of(metric)
    parts, counts = part_cells(rows)
    columns = ["model", "layers", *parts, "parameters", "weights (MB)"]
    columns += [f"ms/sentence, batch {size}" for size in sizes]
    columns += [f"time vs {base}, batch {max(map(int, sizes))}"] if times else []
    peaks = any(row["peak_bytes"] for row in rows)
    columns += ["peak memory (MB)"] if peaks else []
    columns += [shown.label(), _INTERVAL]
    cells = []
    for row, count in zip(rows, counts, strict=True):
        cell = [row["name"], str(row["layers"]), *count, *size_cells(row)]
        cell += [f"{row['ms_per_sentence'][size]:.2f}" if row["ms_per_sentence"] else "-" for size in sizes]
        if times:
            cell.append(ratio_cell(row, "relative_time"))
        if peaks:
            cell.append("-" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:.0f}")
        cells.append([*cell, over_seeds(row, shown.digits), interval_cell(row)])
    return Table(columns, cells, columns[-2:])


def notes(results: Sequence[Result], times: Latency | None, rows: Sequence[Row]) -> list[str]:
    """Lines below the table that explain its columns."""
    metric, examples = results[0]["metric"]["name"], results[0]["examples"]
    text = timing_notes(times, "ms/sentence: ", "tokens", "time")
    if any(row["peak_bytes"] for row in rows):
        text.append(
            "peak memory: of a process of its own that loads the model, with nothing but the software that it runs in,"
            " and answers one batch of the largest size."
        )
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


def pictured(rows: Sequence[Row], metric: str, times: Latency | None = None) -> tuple[Points, list[Bars]]:
    """The panels of the figure: quality against time at the largest batch size, and costs.

    Without *times* the models stand side by side.

    Args:
        rows, metric, times: as for :func:`table`.
    """
    size = str(max(times["batch_sizes"])) if times else None
    points = Points(
        xlabel=f"ms per sentence, batch {size} (less is better){unreliable(rows)}" if times else None,
        ylabel=metric_of(metric).label(),
        x={row["name"]: row["ms_per_sentence"][size] for row in rows if row["ms_per_sentence"]} if times else None,
    )
    bars = [Bars("size of the weights (MB)", {row["name"]: row["weight_bytes"] / 1e6 for row in rows}, "{:.1f}")]
    if times:
        bars.insert(0, Bars(f"ms per sentence, batch {size}", points.x, "{:.2f}"))
    return points, bars
