"""The column "against PARENT (p)" of a report: each row's headline minus the first row's, on the same examples.

Results are compared if they have ``answers``, which `layerdrop evaluate` and `layerdrop score --generated` write. They
are compared seed by seed, for the seeds that both rows have; evaluation/comparison.py combines several seeds. Entry of
a row:

    against    {"name": name of the first row, "seeds", "difference", "p", "test"}, or null if there is no comparison
"""

from collections.abc import Sequence

from ..evaluation import metrics
from ..evaluation.comparison import PER_EXAMPLE, compare
from .page import Table
from .rows import p_cell

_DIGITS = {"mse": 4}


def add_comparisons(rows: Sequence[dict], results: Sequence[dict], metric: str) -> None:
    """Set ``against`` in each of *rows*.

    Args:
        rows: see rows.py.
        results: the results that the rows were made from.
        metric: name of the headline metric.
    """
    answered = {
        name: {found["seed"]: found for found in results if found["name"] == name and found.get("answers")}
        for name in (row["name"] for row in rows)
    }
    first = answered[rows[0]["name"]] if rows else {}
    columns = {}  # seed -> answers of the first row's result as arrays
    for number, row in enumerate(rows):
        mine = answered[row["name"]]
        seeds = [seed for seed in first if seed in mine and _comparable(first[seed], mine[seed], metric)]
        row["against"] = None
        if number and seeds:
            columns |= {seed: metrics.columns(first[seed]["answers"]) for seed in seeds if seed not in columns}
            pairs = [(columns[seed], metrics.columns(mine[seed]["answers"])) for seed in seeds]
            found = compare(metric, pairs)
            row["against"] = {"name": rows[0]["name"], "seeds": seeds} | found._asdict()


def _comparable(first: dict, other: dict, metric: str) -> bool:
    """Whether both results have the answers that *metric* needs, for the same number of examples."""
    needed = {"bleu": "hypothesis", "accuracy": "label", "f1": "label", "mcc": "label", "acc_and_f1": "label"}
    column = needed.get(metric, "loss" if metric in PER_EXAMPLE else "target")
    sizes = [len(found["answers"].get(column, ())) for found in (first, other)]
    return sizes[0] == sizes[1] > 0


def with_column(table: Table, rows: Sequence[dict], metric: str) -> Table:
    """*table* with the additional column; unchanged if no row has a comparison."""
    compared = [row["against"] for row in rows if row["against"]]
    if not compared:
        return table
    head = f"against {compared[0]['name']} (p)"
    cells = [against_cell(row["against"], _DIGITS.get(metric, 1)) for row in rows]
    return Table(
        [*table.columns, head],
        [[*row, cell] for row, cell in zip(table.cells, cells, strict=True)],
        [*table.left, head],
    )


def notes(rows: Sequence[dict]) -> list[str]:
    """Lines below the table that explain the column."""
    compared = [row["against"] for row in rows if row["against"]]
    if not compared:
        return []
    tests = ", ".join(dict.fromkeys(found["test"] for found in compared))
    text = f"{explained(compared[0]['name'])}: {tests}."
    if any(len(found["seeds"]) > 1 for found in compared):
        text += " Seeds are compared with their like; p is of the choice of examples, not of the seeds."
    return [text]


def explained(name: str) -> str:
    """The meaning of a column of comparisons with the model *name*."""
    return f"against {name}: difference and p-value (two-sided, of each model alone) on the same examples"


def against_cell(test: dict | None, digits: int) -> str:
    """The cell of a comparison: the difference, with one decimal more than *digits*, and the p-value; "-" for None."""
    return "-" if test is None else f"{test['difference']:+.{digits + 1}f} ({p_cell(test['p'])})"
