"""Results and latencies become one table, a Markdown page with its signature, a JSON file and a picture.

What a row of the table is says rows.py; what it shows, accuracy_table.py or translation_table.py, and against.py.
"""

from .. import data_folder, provenance
from ..errors import LayerdropError
from ..evaluation import latency
from . import accuracy_table, against, figure, translation_table
from .page import signature_lines, write_files
from .results import load, read_json, refuse_other_tests, refuse_twins, who_is, without_answers
from .rows import markdown, plain, table_rows

_LAYOUTS = {layout.KIND: layout for layout in (accuracy_table, translation_table)}
_WEIGHTS = "weights (MB): bytes of the learned tensors as stored, in 10^6 bytes; a training checkpoint is larger."
_TITLES = {
    data_folder.CLASSIFICATION: "Layer pruning: accuracy and time",
    data_folder.TRANSLATION: "Layer pruning: BLEU and speed",
}


def report(paths, latency, out, title=None, command=None):
    """Write report.md, report.json and report.png into a folder.

    Args:
        paths (Sequence[str]): result files, or folders that are searched for them.
        latency (str | None): the file of `layerdrop latency`.
        out (str): the folder, made if needed.
        title (str | None): of the page and the picture; by default one that fits the kind of results.
        command (str | None): what was typed, for the record.

    Returns:
        str: the table as plain text.

    Raises:
        LayerdropError: a file is not what it should be, the results are of different tests, or cannot write.
    """
    results = load(paths)
    kind = kind_of_all(results)
    refuse_other_tests(results)
    refuse_twins(results)
    times = load_latency(latency, kind) if latency else None
    layout, title, metric = _LAYOUTS[kind], title or _TITLES[kind], results[0]["metric"]["name"]
    rows = table_rows(layout, results, times)
    against.add_comparisons(rows, results, metric)
    columns, cells, left = layout.render(rows, metric, times)
    head, compared = against.column(rows, metric)
    columns, cells, left = (
        columns + head,
        [row + cell for row, cell in zip(cells, compared, strict=True)],
        [*left, *head],
    )
    # Two blanks: a line break in Markdown.
    notes = [f"{line}  " for line in [_WEIGHTS, *layout.notes(results, times, rows), *against.notes(rows)]]
    page = [f"# {title}", "", markdown(columns, cells, left), "", *notes, "", "![accuracy and cost](report.png)"]
    page += ["", "## How this was obtained", "", *signature_lines(results, times, report=command)]
    record = {
        "type": "layerdrop.report",
        "version": 1,
        "title": title,
        "rows": rows,
        "results": [without_answers(result) for result in results],
        "latency": times,
        "command": command,
        "versions": provenance.versions(),
    }

    def draw(path):
        figure.draw(path, rows, title, *layout.pictured(rows, metric, times))

    write_files(out, "report", "\n".join(page) + "\n", record, draw)
    return plain(columns, cells, left)


def kind_of_all(results):
    """The kind of data behind all *results*.

    Raises:
        LayerdropError: they are of several kinds, have several headlines, or are losses only.
    """
    first, kinds = results[0], {"bleu": data_folder.TRANSLATION, "nll_loss": data_folder.LANGUAGE_MODEL}
    for result in results:
        if result["metric"]["name"] != first["metric"]["name"]:
            raise LayerdropError(
                f"{who_is(result)} reports {result['metric']['name']}, others {first['metric']['name']}"
            )
    kind = kinds.get(first["metric"]["name"], data_folder.CLASSIFICATION)
    if kind not in _LAYOUTS:
        raise LayerdropError("a report compares classifications or translations; for losses use `layerdrop curves`")
    return kind


def load_latency(path, kind):
    """Read a measurement of `layerdrop latency`.

    Raises:
        LayerdropError: it is none, or not of this *kind* of models.
    """
    content = read_json(path)
    if content.get("type") != latency.TYPE:
        raise LayerdropError(f"{path} is no measurement of `layerdrop latency`")
    task = content.get("task", data_folder.CLASSIFICATION)  # the first measurements were of nothing else
    if task != kind:
        raise LayerdropError(f"{path} measures {task}, the results are of {kind}")
    return content
