"""Results of one model over its seeds become one row of a table.

A *row* has, whatever was measured:

    name, layers, parameters  as in its results, which must agree; null where no model is evaluated
    heads, ffn_units, uniform of all layers together, and whether the layers of each stack are alike; as in its results
    weight_bytes              bytes of the learned tensors as stored, without optimizer state and other contents
    spread                    how far the rounds of the latency agree on the ratio to the first model, at the largest
                              batch size (see rounds.spread); null of the first model and where it is not known
    seeds                     the seeds, ascending
    metric, low, high         mean, least and greatest value over seeds, in the metric's unit (see results/record.py)
    interval                  95 % interval at the mean, for one test set of that size, or null. It speaks of the choice
                              of test examples; what another seed does is what low and high show.

accuracy_table.py and translation_table.py add what they measure, against.py how a row compares with the first one.
"""

import statistics
import textwrap
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from ..errors import LayerdropError
from ..evaluation.latency import Latency, Timed
from ..evaluation.rounds import doubts, written
from ..provenance import CheckpointRecord
from ..results.record import Result

Row = dict[str, Any]


def table_rows(layout: ModuleType, results: Sequence[Result], times: Latency | None = None) -> list[Row]:
    """Group results by name over seeds; rows in the latency's order, then the results'.

    Args:
        layout: accuracy_table or translation_table.
        results: see results/record.py.
        times: the measurement of `layerdrop latency`.

    Raises:
        LayerdropError: models that differ although they have one name, or a latency without results.
    """
    groups = {}
    for result in results:
        groups.setdefault(result["name"], []).append(result)
    timed = {model["name"]: model for model in times["models"]} if times else {}
    if missing := [name for name in timed if name not in groups]:
        raise LayerdropError(f"no results for '{missing[0]}', only for {', '.join(groups)}")
    order = [*timed, *(name for name in groups if name not in timed)]
    return [
        _row(name, groups[name], timed.get(name)) | layout.measured(groups[name], timed.get(name)) for name in order
    ]


def _row(name: str, group: Sequence[Result], timed: Timed | None) -> Row:
    first = _one_model(name, [result["checkpoint"] for result in group] + ([timed["checkpoint"]] if timed else []))
    values = [result["metric"]["value"] for result in group]
    spread = timed and timed.get("spread")
    return {
        "name": name,
        "layers": first.get("encoder_layers"),
        **{field: first.get(field) for field in ("heads", "ffn_units", "parameters", "weight_bytes")},
        "uniform": first.get("uniform", first.get("even")),  # as results of version 0.1.0 call it
        "spread": spread[max(spread, key=int)] if spread else None,
        "seeds": sorted(result["seed"] for result in group if result["seed"] is not None),
        "metric": statistics.fmean(values),
        "low": min(values),
        "high": max(values),
    }


def _one_model(name: str, checkpoints: Sequence[CheckpointRecord | None]) -> CheckpointRecord:
    """The first of *checkpoints* (descriptions; empty where no model is evaluated), if all have its shape and size."""
    first, *others = (made or {} for made in checkpoints)
    for other in others:
        for field in ("encoder_layers", "decoder_layers", "parameters", "weight_bytes"):
            if other.get(field) != first.get(field):
                raise LayerdropError(
                    f"'{name}' is more than one model: {first.get('path')} has {first.get(field)} {field}, "
                    f"{other.get('path')} has {other.get(field)}"
                )
    return first


def part_cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Columns for heads and FFN units, and each row's cells of them; none where layers are whole in every row."""
    if all(row["uniform"] in (True, None) for row in rows):
        return [], [[] for _ in rows]
    return ["heads", "FFN units"], [[or_dash(row["heads"], ","), or_dash(row["ffn_units"], ",")] for row in rows]


def size_cells(row: Row) -> list[str]:
    """The cells of a row's parameters and of its weights in MB."""
    if row["parameters"] is None:
        return ["-", "-"]
    return [f"{row['parameters']:,}", f"{row['weight_bytes'] / 1e6:.2f}"]


def ratio_cell(row: Row, field: str) -> str:
    """The cell of a row's ratio of times or speeds, with what its rounds agree on."""
    return "-" if row[field] is None else written(row[field], row["spread"])


def timing_notes(times: Latency | None, head: str, tokens: str, name: str) -> list[str]:
    """What a reader must know of the columns of times.

    Args:
        times: the latency; without it there is nothing to say.
        head: what was timed, before "median of …".
        tokens: what the length of a sentence is counted in.
        name: of the column of ratios.
    """
    if not times:
        return []
    timed = (
        f"{head}median of {times['repeats']} rounds over {times['sentences']} sentences ({times['mean_tokens']:.1f}"
        f" {tokens} in the mean), the models in turn in one process, {times['threads']} threads of {times['cpu']}."
    )
    if not any("spread" in model for model in times["models"]):  # measurements of version 1
        return [timed]
    median = f"{name} vs {times['models'][0]['name']}: the median of the ratios in single rounds (least to greatest)."
    return [timed, median, *(f"**{line}**" for line in doubts(times, {str(max(times["batch_sizes"]))}))]


def unreliable(rows: Sequence[Row]) -> str:
    """For the axis of times or speeds in the picture: which rows' are not reliable."""
    names = [row["name"] for row in rows if row["spread"] and row["spread"]["unreliable"]]
    return "\n" + textwrap.fill(f"not reliable: {', '.join(names)}", 80) if names else ""


def over_seeds(row: Row, digits: int) -> str:
    """The cell of a metric: its mean, the number of seeds and their range."""
    if len(row["seeds"]) < 2:
        return f"{row['metric']:.{digits}f} (1 seed)" if row["seeds"] else f"{row['metric']:.{digits}f}"
    spread = f"{row['low']:.{digits}f} to {row['high']:.{digits}f}"
    return f"{row['metric']:.{digits}f} ({len(row['seeds'])} seeds: {spread})"


def interval_cell(row: Row) -> str:
    """The cell of a metric's interval."""
    return f"{row['interval'][0]:.1f} to {row['interval'][1]:.1f}" if row["interval"] else "-"


def p_cell(value: float) -> str:
    """The cell of a p-value."""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def or_dash(value: float | None, form: str) -> str:
    """The cell of a number in the format *form*; a dash where there is none."""
    return "-" if value is None else format(value, form)
