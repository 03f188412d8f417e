"""The rows of a report's table. A row combines the results of one model over its seeds.

Entries of every *row*:

    name, layers, parameters  as in its results, which must agree; null if no model was evaluated
    heads, ffn_units          numbers in all layers together
    uniform                   whether all layers of a stack have the same sizes
    weight_bytes              bytes of the learned tensors as stored, without optimizer state and other contents
    spread                    range over rounds of the latency's ratio to the first model, at the largest batch size
                              (see evaluation/rounds.py, Spread); null for the first model and if not measured
    seeds                     the seeds, ascending
    metric, low, high         mean, minimum and maximum over seeds, in the metric's unit (see evaluation/metrics.py)
    interval                  95 % interval at the mean, for one test set of that size, or null. It accounts for the
                              choice of test examples, not for that of the seed.

accuracy_table.py, translation_table.py and against.py list the entries that they add.
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
    """Build the rows from *results*, which are grouped by name.

    Args:
        layout: the module accuracy_table or translation_table.
        results: see results/record.py.
        times: the measurement of `layerdrop latency`.

    Returns:
        The rows of the models in *times*, in its order, then those of the others in the order of *results*.

    Raises:
        LayerdropError: models of the same name differ, or a model in *times* has no results.
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
        "uniform": first.get("uniform", first.get("even")),  # its name in results of version 0.1.0
        "spread": spread[max(spread, key=int)] if spread else None,
        "seeds": sorted(result["seed"] for result in group if result["seed"] is not None),
        "metric": statistics.fmean(values),
        "low": min(values),
        "high": max(values),
    }


def _one_model(name: str, checkpoints: Sequence[CheckpointRecord | None]) -> CheckpointRecord:
    """The first of *checkpoints*, which must have the same shape and size; empty if no model was evaluated.

    Raises:
        LayerdropError: they differ.
    """
    first, *others = (made or {} for made in checkpoints)
    fields = ["encoder_layers", "decoder_layers", "parameters", "engine"]
    fields += [] if first.get("engine") else ["weight_bytes"]  # an exported file of another seed may be a byte longer
    for other in others:
        for field in fields:
            if _same_for_seeds(other.get(field)) != _same_for_seeds(first.get(field)):
                raise LayerdropError(
                    f"'{name}' is more than one model: {first.get('path')} has {first.get(field)} {field}, "
                    f"{other.get('path')} has {other.get(field)}"
                )
    return first


def _same_for_seeds(value: Any) -> Any:
    """*value* without the checkpoint of an exported model's engine, which differs from seed to seed."""
    if isinstance(value, dict):
        return {name: found for name, found in value.items() if name != "checkpoint_sha256"}
    return value


def part_cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Column heads for heads and FFN units, and the cells of each row; no columns if the layers of all rows are
    uniform."""
    if all(row["uniform"] in (True, None) for row in rows):
        return [], [[] for _ in rows]
    return ["heads", "FFN units"], [[or_dash(row["heads"], ","), or_dash(row["ffn_units"], ",")] for row in rows]


def size_cells(row: Row) -> list[str]:
    """The cells of a row's number of parameters and of its weights in 10^6 bytes."""
    if row["parameters"] is None:
        return ["-", "-"]
    return [f"{row['parameters']:,}", f"{row['weight_bytes'] / 1e6:.2f}"]


def ratio_cell(row: Row, field: str) -> str:
    """The cell of *field*, a row's ratio of times or speeds, with its range over rounds."""
    return "-" if row[field] is None else written(row[field], row["spread"])


def timing_notes(times: Latency | None, head: str, tokens: str, name: str) -> list[str]:
    """Lines below the table that explain the columns of times.

    Args:
        times: the latency measurement; without it there are no lines.
        head: beginning of the first line, which says what was timed.
        tokens: unit of a sentence's length, such as "tokens".
        name: name of the column of ratios, "time" or "speed".
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
    """Names of rows with unreliable ratios as a line for an axis label; empty if there are none."""
    names = [row["name"] for row in rows if row["spread"] and row["spread"]["unreliable"]]
    return "\n" + textwrap.fill(f"not reliable: {', '.join(names)}", 80) if names else ""


def over_seeds(row: Row, digits: int) -> str:
    """The cell of a metric: mean with *digits* decimals, number of seeds, minimum and maximum."""
    if len(row["seeds"]) < 2:
        return f"{row['metric']:.{digits}f} (1 seed)" if row["seeds"] else f"{row['metric']:.{digits}f}"
    spread = f"{row['low']:.{digits}f} to {row['high']:.{digits}f}"
    return f"{row['metric']:.{digits}f} ({len(row['seeds'])} seeds: {spread})"


def interval_cell(row: Row) -> str:
    """The cell of a row's 95 % interval."""
    return f"{row['interval'][0]:.1f} to {row['interval'][1]:.1f}" if row["interval"] else "-"


def p_cell(value: float) -> str:
    """The cell of a p-value."""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def or_dash(value: float | None, form: str) -> str:
    """The cell of a number with the format specification *form*; "-" for None."""
    return "-" if value is None else format(value, form)
