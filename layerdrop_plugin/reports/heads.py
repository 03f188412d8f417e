"""The page at the end of recipes/head_importance.sh: python -m layerdrop_plugin.reports.heads FOLDER KIND...

Each KIND is a folder in FOLDER with the files that `layerdrop ablate`, `pruning-curve` and `report` wrote. Their
tables, findings and figures are put together in FOLDER/report.md, with the times in FOLDER/times.tsv, if it exists, and
their whole pages in FOLDER/report.html; tables and findings are also printed.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import checkpoint
from ..errors import LayerdropError
from ..evaluation import rounds
from ..evaluation.metric_names import METRICS
from ..results.record import read_json
from . import ablation, gather, pruning_curve, times
from .page import Table

TITLE = "Which heads do the work, and models without the others"
_PICTURES = {
    "report.png": "quality and cost",
    "each/ablation.png": "one head removed at a time",
    "all-but-one/ablation.png": "all heads of an attention removed but one",
    "curve-heads/curve.png": "heads removed step by step",
    "curve-ffn/curve.png": "FFN units removed step by step",
}


def table_of(report: Mapping[str, Any]) -> Table:
    """The table of sizes, quality and speed of the models in *report*, the contents of a report.json."""
    cells = []
    for row in report["rows"]:
        quality = f"accuracy {row['metric']:.1f} %"
        if "speed" in row:
            quality = f"BLEU {row['metric']:.1f}, loss {row['loss']:.{METRICS['loss'].digits}f}"
        sizes = [f"{row[name]:,}" for name in ("heads", "ffn_units", "parameters")]
        cells.append([row["name"], *sizes, quality, _speed(row)])
    return Table(["model", "heads", "FFN units", "parameters", "quality", "speed vs parent"], cells, ["quality"])


def _speed(row: Mapping[str, Any]) -> str:
    """The cell of a row's speed divided by the first row's; for classifiers, the inverse of the ratio of times."""
    ratio, spread = row.get("speed"), row.get("spread")
    if ratio is None:
        ratio = 1 / row["relative_time"]
        if spread:
            speeds = [1 / time for time in spread["rounds"]]
            spread = spread | {"rounds": speeds, "least": min(speeds), "greatest": max(speeds)}
    return rounds.written(ratio, spread)


def findings(folder: Path) -> Iterator[str]:
    """Yield the findings of the ablations and pruning curves in *folder*, a sentence each.

    Raises:
        LayerdropError: a file cannot be read.
    """
    for mode in ablation.TITLES:
        yield from ablation.findings(read_json(folder / mode / "ablation.json"))
    for parts in ("heads", "ffn"):
        yield from pruning_curve.findings(read_json(folder / f"curve-{parts}" / "curve.json"))


def write(folder: Path, kinds: Sequence[str]) -> str:
    """Write report.md and report.html.

    Args:
        folder: the folder to write into.
        kinds: names of the folders in *folder* to read.

    Returns:
        Tables and findings as text for a terminal.

    Raises:
        LayerdropError: a file of an earlier step cannot be read, or the page cannot be written.
    """
    page, shown = [f"# {TITLE}", ""], []
    for kind in kinds:
        table, found = table_of(read_json(folder / kind / "report.json")), list(findings(folder / kind))
        page += [f"## {kind.capitalize()}", "", table.markdown(), "", *(f"- {line}" for line in found), ""]
        page += [f"![{caption}]({kind}/{picture})  " for picture, caption in _PICTURES.items()]
        page += ["", f"More: [{kind}/report.md]({kind}/report.md) and the pages beside the pictures.", ""]
        shown += [kind, table.plain(), *found, ""]
    if (folder / "times.tsv").exists():
        page += [times.load(folder / "times.tsv").section().markdown(), ""]
    gather.write([folder / kind for kind in kinds], folder, TITLE)
    checkpoint.write_text_atomic(folder / "report.md", "\n".join(page))
    return "\n".join(shown).rstrip()


if __name__ == "__main__":
    try:
        print(write(Path(sys.argv[1]), sys.argv[2:]))
    except LayerdropError as error:
        sys.exit(f"layerdrop: error: {error}")
