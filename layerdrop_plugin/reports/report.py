"""The page of `layerdrop report`, which compares results and latencies of several models.

rows.py builds the rows of the table; accuracy_table.py and translation_table.py define its columns.
"""

import os
from collections.abc import Sequence
from typing import Any

from .. import data_folder
from ..errors import LayerdropError
from ..evaluation.latency import TYPE as LATENCY
from ..evaluation.latency import Latency
from ..provenance import made_with, provenance_lines
from ..results.record import Result, for_page, load, read_json, refuse_other_tests, refuse_twins, who_is
from . import accuracy_table, against, translation_table
from . import times as run_times
from .figure import points_and_bars
from .page import Page
from .rows import table_rows

TYPE = "layerdrop.report"
_LAYOUTS = {layout.KIND: layout for layout in (accuracy_table, translation_table)}
_WEIGHTS = (
    "weights (MB): bytes of the learned tensors as stored, in 10^6 bytes; a training checkpoint is larger. Of an"
    " exported model: of its file."
)
_TITLES = {
    data_folder.CLASSIFICATION: "Layer pruning: accuracy and time",
    data_folder.TRANSLATION: "Layer pruning: BLEU and speed",
}


def record_of(
    paths: Sequence[str | os.PathLike],
    latency: str | os.PathLike | None = None,
    title: str | None = None,
    command: str | None = None,
    times: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """The record of a comparison of results.

    Args:
        paths: files of results, or folders that are searched for them.
        latency: path of a file that `layerdrop latency` wrote.
        title: title of the page; by default one that fits the kind of results.
        command: the command line.
        times: path of a recipe's file of what its commands took.

    Raises:
        LayerdropError: a file has other contents, or the results were measured on different data.
    """
    results = load(paths)
    kind = kind_of_all(results)
    refuse_other_tests(results)
    refuse_twins(results)
    measured = load_latency(latency, kind) if latency else None
    if kind == data_folder.TRANSLATION:
        results = translation_table.with_differences(results)
    rows = table_rows(_LAYOUTS[kind], results, measured)
    against.add_comparisons(rows, results, results[0]["metric"]["name"])
    return {
        "type": TYPE,
        "version": 1,
        "title": title or _TITLES[kind],
        "rows": rows,
        "results": [for_page(result) for result in results],
        "latency": measured,
        "times": run_times.load(times).record() if times else None,
        **made_with(command),
    }


def page_of(record: dict[str, Any]) -> Page:
    """The page of a *record* of :func:`record_of`."""
    results, rows, measured, title = (record[part] for part in ("results", "rows", "latency", "title"))
    layout, metric = _LAYOUTS[kind_of_all(results)], results[0]["metric"]["name"]
    spent = record.get("times")
    return Page(
        name="report",
        title=title,
        table=against.with_column(layout.table(rows, metric, measured), rows, metric),
        notes=[_WEIGHTS, *layout.notes(results, measured, rows), *against.notes(rows)],
        figure=lambda: points_and_bars(rows, title, *layout.pictured(rows, metric, measured)),
        caption="accuracy and cost",
        more=[run_times.Times.of_record(spent).section()] if spent else [],
        provenance=provenance_lines([*results, *([measured] if measured else [])], record["command"]),
        record=record,
    )


def kind_of_all(results: Sequence[Result]) -> str:
    """The kind of data that all *results* were measured on, see data_folder.py.

    Raises:
        LayerdropError: the results differ in kind or headline metric, or they are of language models.
    """
    first, kinds = results[0], {"bleu": data_folder.TRANSLATION, "nll_loss": data_folder.LANGUAGE_MODEL}
    for result in results:
        if result["metric"]["name"] != first["metric"]["name"]:
            raise LayerdropError(
                f"{who_is(result)} reports {result['metric']['name']}, others {first['metric']['name']}"
            )
    kind = kinds.get(first["metric"]["name"], data_folder.CLASSIFICATION)
    if kind not in _LAYOUTS:
        raise LayerdropError(
            "a report compares classifications or translations; for losses use `layerdrop depth-curve`"
        )
    return kind


def load_latency(path: str | os.PathLike, kind: str) -> Latency:
    """Read the file *path* of `layerdrop latency`.

    Raises:
        LayerdropError: the file has other contents, or the models are for another *kind* of data.
    """
    content = read_json(path)
    if content.get("type") != LATENCY:
        raise LayerdropError(f"{path} is no measurement of `layerdrop latency`")
    task = content.get("task", data_folder.CLASSIFICATION)  # the first files have no such entry
    if task != kind:
        raise LayerdropError(f"{path} measures {task}, the results are of {kind}")
    return content
