"""The report of translation models: BLEU against tokens per second.

Beside what every row has (rows.py); null where not measured:

    decoder_layers     as in its results
    tokens_per_second  {batch size: target tokens per second}, empty where not measured
    speed              ratio of the tokens per second at the largest batch size to the first model's
    interval           the mean of the seeds' intervals
    chrf, loss         means over seeds; the loss in nats per target token
"""

import statistics

from .. import data_folder
from .figure import Bars, Points
from .rows import interval_cell, over_seeds, part_cells, ratio_cell, ratio_notes, size_cells, unreliable

KIND = data_folder.TRANSLATION
_COLUMNS = ("BLEU", "95 % interval")
TOO_LOW = 3.0  # BLEU below which differences say nothing of translations


def measured(group, timed):
    """What this kind adds to a row of the results *group* with the latency *timed* (None: not measured)."""
    intervals = [result["interval"] for result in group]
    return {
        "decoder_layers": (group[0]["checkpoint"] or {}).get("decoder_layers"),
        "tokens_per_second": timed["tokens_per_second"] if timed else {},
        "speed": timed["speed"][max(timed["speed"], key=int)] if timed else None,
        "interval": [statistics.fmean(ends) for ends in zip(*intervals, strict=True)] if all(intervals) else None,
        "chrf": _mean(group, "chrf"),
        "loss": _mean(group, "nll_loss_nats"),
    }


def render(rows, _metric, times=None):
    """The table's head, its cells as text, and the columns of text.

    Returns:
        tuple[list[str], list[list[str]], list[str]]
    """
    sizes = [str(size) for size in times["batch_sizes"]] if times else []
    parts, counts = part_cells(rows)
    columns = ["model", "encoder layers", "decoder layers", *parts, "parameters", "weights (MB)"]
    columns += [f"tokens/s, batch {size}" for size in sizes]
    columns += [f"speed vs {times['models'][0]['name']}, batch {max(map(int, sizes))}"] if times else []
    columns += [*_COLUMNS, "chrF", "loss (nats/token)"]
    cells = []
    for row, count in zip(rows, counts, strict=True):
        layers = [_or_dash(row["layers"], "d"), _or_dash(row["decoder_layers"], "d")]
        cell = [row["name"], *layers, *count, *size_cells(row)]
        cell += [_or_dash(row["tokens_per_second"].get(size), ",.0f") for size in sizes]
        cell += [ratio_cell(row, "speed")] if times else []
        cells.append(
            [*cell, over_seeds(row, 1), interval_cell(row), _or_dash(row["chrf"], ".1f"), _or_dash(row["loss"], ".3f")]
        )
    return columns, cells, _COLUMNS


def notes(results, times, rows):
    """What a reader must know to read the table."""
    first, text = results[0], []
    if times:
        text.append(
            f"tokens/s: target tokens (of the best hypotheses, without end marks) per second of fairseq's beam search, "
            f"beam {times['generation']['beam']}; the median of {times['repeats']} rounds over {times['sentences']} "
            f"sentences ({times['mean_tokens']:.1f} source tokens in the mean), the models in turn in one process, "
            f"{times['threads']} threads of {times['cpu']}."
        )
        text += ratio_notes(times, "speed")
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
        text.append(
            f"**Every BLEU is below {TOO_LOW:g}: too low to compare models by it.** "
            "Compare their losses; the picture shows those where all models have one."
        )
    names = {"bleu": "BLEU", "chrf": "chrF"}
    return text + [f"sacrebleu: `{names[name]}|{signature}`" for name, signature in first["signatures"].items()]


def pictured(rows, _metric, times=None):
    """The picture: BLEU (or loss, where BLEU is too low) against tokens per second, and the costs.

    A row without a model, such as a copy of the source, is a line across.

    Returns:
        tuple[Points, list[Bars]]
    """
    size = str(max(times["batch_sizes"])) if times else None
    models = [row for row in rows if row["parameters"] is not None]
    by_loss = too_low(rows) and all(row["loss"] is not None for row in models)
    points = Points(
        xlabel=f"target tokens per second, batch {size} (more is better){unreliable(models)}" if times else None,
        ylabel="loss (nats per target token, less is better)" if by_loss else "BLEU",
        x={row["name"]: row["tokens_per_second"][size] for row in models if row["tokens_per_second"]}
        if times
        else None,
        y={row["name"]: row["loss"] for row in models} if by_loss else None,
        across=() if by_loss else tuple(row["name"] for row in rows if row["parameters"] is None),
    )
    bars = [Bars("size of the weights (MB)", {row["name"]: row["weight_bytes"] / 1e6 for row in models}, "{:.1f}")]
    if times:
        bars.insert(0, Bars(f"target tokens per second, batch {size}", points.x, "{:,.0f}"))
    return points, [bar for bar in bars if bar.values]


def too_low(rows):
    """Whether BLEU says nothing about any row's translations."""
    models = [row for row in rows if row["parameters"] is not None]
    return bool(models) and all(row["metric"] < TOO_LOW for row in models)


def _mean(group, metric):
    values = [result["metrics"].get(metric) for result in group]
    return None if None in values else statistics.fmean(values)


def _or_dash(value, form):
    return "-" if value is None else format(value, form)
