"""The column "against PARENT (p)" of a report: each row's headline minus the first row's, on the same examples.

Only results with answers count (`layerdrop evaluate` leaves them, and `layerdrop score --generated`), seed by seed: of
each seed that both rows have. Several seeds are combined as evaluation/comparison.py says. A row gets

    against    {"name": of the first row, "seeds", "difference", "p", "test"}, or null where there is nothing to compare
"""

from collections.abc import Sequence

from ..evaluation import metrics
from ..evaluation.comparison import PER_EXAMPLE, compare
from .page import Table
from .rows import p_cell

_DIGITS = {"mse": 4}


def add_comparisons(rows: Sequence[dict], results: Sequence[dict], metric: str) -> None:
    """Give each of *rows* its ``against``, from the *results* that the rows are made of; *metric* is the headline."""
    answered = {
        name: {found["seed"]: found for found in results if found["name"] == name and found.get("answers")}
        for name in (row["name"] for row in rows)
    }
    first = answered[rows[0]["name"]] if rows else {}
    columns = {}  # of the first row's results, each made once
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
    """Whether both results have what the *metric* is made of, of equally many examples."""
    needed = {"bleu": "hypothesis", "accuracy": "label", "f1": "label", "mcc": "label", "acc_and_f1": "label"}
    column = needed.get(metric, "loss" if metric in PER_EXAMPLE else "target")
    sizes = [len(found["answers"].get(column, ())) for found in (first, other)]
    return sizes[0] == sizes[1] > 0


def with_column(table: Table, rows: Sequence[dict], metric: str) -> Table:
    """The *table* of *rows* with the column, and as it is where nothing was compared."""
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
    """What a reader must know to read the column."""
    compared = [row["against"] for row in rows if row["against"]]
    if not compared:
        return []
    tests = ", ".join(dict.fromkeys(found["test"] for found in compared))
    text = f"{explained(compared[0]['name'])}: {tests}."
    if any(len(found["seeds"]) > 1 for found in compared):
        text += " Seeds are compared with their like; p is of the choice of examples, not of the seeds."
    return [text]


def explained(name: str) -> str:
    """What stands in a column of comparisons with the model *name*."""
    return f"against {name}: difference and p-value (two-sided, of each model alone) on the same examples"


def against_cell(test: dict | None, digits: int) -> str:
    """A difference, with one decimal more than its metric's *digits*, and its p-value; a dash where there is none."""
    return "-" if test is None else f"{test['difference']:+.{digits + 1}f} ({p_cell(test['p'])})"
