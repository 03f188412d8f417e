"""The report of translation models: BLEU and tokens per second.

Entries of a row in addition to those of rows.py, null if not measured:

    decoder_layers     as in its results
    tokens_per_second  {batch size: target tokens per second}, empty if not measured
    speed              tokens per second at the largest batch size divided by the first model's
    interval           mean over seeds of the lower and upper ends of the intervals
    chrf, loss         means over seeds; the loss in nats per target token
"""

import statistics
from collections.abc import Sequence
from typing import Any

from .. import data_folder
from ..evaluation.latency import Latency, Timed
from ..evaluation.metric_names import METRICS
from ..results.record import Result
from .figure import Bars, Points
from .page import Table
from .rows import Row, interval_cell, or_dash, over_seeds, part_cells, ratio_cell, size_cells, timing_notes, unreliable

KIND = data_folder.TRANSLATION
_COLUMNS = ("BLEU", "95 % interval")
TOO_LOW = 3.0  # below this BLEU, differences are not meaningful
TOO_LOW_NOTE = f"**Every BLEU is below {TOO_LOW:g}: too low to compare models by it.** Compare their losses."


def measured(group: Sequence[Result], timed: Timed | None) -> dict[str, Any]:
    """The entries of the module's docstring for one row.

    Args:
        group: results of the model, one for each seed.
        timed: latency of the model.
    """
    intervals = [result["interval"] for result in group]
    return {
        "decoder_layers": (group[0]["checkpoint"] or {}).get("decoder_layers"),
        "tokens_per_second": timed["tokens_per_second"] if timed else {},
        "speed": timed["speed"][max(timed["speed"], key=int)] if timed else None,
        "interval": [statistics.fmean(ends) for ends in zip(*intervals, strict=True)] if all(intervals) else None,
        "chrf": _mean(group, "chrf"),
        "loss": _mean(group, "nll_loss_nats"),
    }


def table(rows: Sequence[Row], _metric: str, times: Latency | None = None) -> Table:
    """The table of *rows*; *times* is the latency measurement."""
    sizes = [str(size) for size in times["batch_sizes"]] if times else []
    parts, counts = part_cells(rows)
    columns = ["model", "encoder layers", "decoder layers", *parts, "parameters", "weights (MB)"]
    columns += [f"tokens/s, batch {size}" for size in sizes]
    columns += [f"speed vs {times['models'][0]['name']}, batch {max(map(int, sizes))}"] if times else []
    columns += [*_COLUMNS, "chrF", METRICS["loss"].label("nats/token")]
    cells = []
    for row, count in zip(rows, counts, strict=True):
        layers = [or_dash(row["layers"], "d"), or_dash(row["decoder_layers"], "d")]
        cell = [row["name"], *layers, *count, *size_cells(row)]
        cell += [or_dash(row["tokens_per_second"].get(size), ",.0f") for size in sizes]
        cell += [ratio_cell(row, "speed")] if times else []
        cell += [over_seeds(row, METRICS["bleu"].digits), interval_cell(row)]
        cells.append([*cell, or_dash(row["chrf"], ".1f"), or_dash(row["loss"], f".{METRICS['loss'].digits}f")])
    return Table(columns, cells, _COLUMNS)


def notes(results: Sequence[Result], times: Latency | None, rows: Sequence[Row]) -> list[str]:
    """Lines below the table that explain its columns."""
    first = results[0]
    beam = times["generation"]["beam"] if times else None
    head = (
        f"tokens/s: target tokens (best hypotheses, without end marks) per second of fairseq's beam search, beam {beam}"
    )
    text = timing_notes(times, f"{head}; the ", "source tokens", "speed")
    over = "; means over seeds" if any(len(row["seeds"]) > 1 for row in rows) else ""
    text.append(
        f"BLEU, chrF, loss: on the {first['examples']:,} sentences of '{first['split']}' (references: "
        f"{first['references']}){over}. Loss: per target token, given the reference before it, without label smoothing."
    )
    text.append(
        "95 % interval: of BLEU, sacrebleu's bootstrap over sentences; with several seeds the mean of their intervals. "
        "It speaks of the choice of test sentences, not of the seeds."
    )
    if too_low(rows):
        text.append(f"{TOO_LOW_NOTE} The picture shows the losses where all models have one.")
    text += differences(results)
    names = {"bleu": "BLEU", "chrf": "chrF"}
    return text + [f"sacrebleu: `{names[name]}|{signature}`" for name, signature in first["signatures"].items()]


def with_differences(results: Sequence[Result]) -> list[Result]:
    """*results* with ``differs`` for each model that another engine ran.

    It has ``count``, the number of hypotheses that are not those of its checkpoint in fairseq, and ``name``, that of
    the checkpoint's result.
    """
    of_checkpoint = {(result["checkpoint"] or {}).get("sha256"): result for result in results}
    found = []
    for result in results:
        differs = {}
        engine = (result["checkpoint"] or {}).get("engine") or {}
        same = of_checkpoint.get(engine.get("checkpoint_sha256")) if engine else None
        if same and same.get("answers") and result.get("answers"):
            pairs = zip(same["answers"]["hypothesis"], result["answers"]["hypothesis"], strict=True)
            count = sum(theirs != ours for theirs, ours in pairs)
            differs = {"differs": {"name": same["name"], "count": count}}
        found.append(result | differs)
    return found


def differences(results: Sequence[Result]) -> list[str]:
    """Lines on what :func:`with_differences` added to *results*."""
    lines = []
    for result in results:
        engine = (result["checkpoint"] or {}).get("engine")
        if not engine:
            continue
        line = f"{result['name']}: {engine['engine']}, {engine['quantization']}"
        differs = result.get("differs")
        if differs:
            line += f"; {differs['count']} of {result['examples']} hypotheses are not those of {differs['name']}"
        lines.append(f"{line}.")
    if lines:
        lines.append(
            "Hypotheses differ where rounding decides between two of almost the same score, most of all with rounded"
            " weights; and where one reaches the longest length, which fairseq then ends with an end mark. No loss:"
            " what these engines compute is the translation."
        )
    return lines


def pictured(rows: Sequence[Row], _metric: str, times: Latency | None = None) -> tuple[Points, list[Bars]]:
    """The panels of the figure: BLEU against tokens per second, and costs.

    If BLEU is too low to be meaningful, the loss is shown instead. A row without a model, such as a copy of the source,
    is a horizontal line.
    """
    size = str(max(times["batch_sizes"])) if times else None
    models = [row for row in rows if row["parameters"] is not None]
    by_loss = too_low(rows) and all(row["loss"] is not None for row in models)
    points = Points(
        xlabel=f"target tokens per second, batch {size} (more is better){unreliable(models)}" if times else None,
        ylabel="loss (nats per target token, less is better)" if by_loss else "BLEU",
        x={row["name"]: row["tokens_per_second"][size] for row in models if row["tokens_per_second"]} if size else None,
        y={row["name"]: row["loss"] for row in models} if by_loss else None,
        across=() if by_loss else tuple(row["name"] for row in rows if row["parameters"] is None),
    )
    bars = [Bars("size of the weights (MB)", {row["name"]: row["weight_bytes"] / 1e6 for row in models}, "{:.1f}")]
    if times:
        bars.insert(0, Bars(f"target tokens per second, batch {size}", points.x, "{:,.0f}"))
    return points, [bar for bar in bars if bar.values]


def too_low(rows: Sequence[Row]) -> bool:
    """Whether the BLEU of all rows with a model is below TOO_LOW."""
    models = [row for row in rows if row["parameters"] is not None]
    return bool(models) and all(row["metric"] < TOO_LOW for row in models)


def _mean(group: Sequence[Result], metric: str) -> float | None:
    values = [result["metrics"].get(metric) for result in group]
    return None if None in values else statistics.fmean(values)
