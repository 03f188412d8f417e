"""head_importance.sh's last step: python heads_page.py DIR KIND... writes DIR/report.md, one page about all models.

Each KIND is a folder of DIR with what `layerdrop ablate`, `curve` and `report` left; the page has their main figures,
what they found and their pictures. Prints the table and the findings.
"""

import json
import sys
from pathlib import Path

from layerdrop_plugin import checkpoint
from layerdrop_plugin.evaluation import rounds
from layerdrop_plugin.reports import ablation
from layerdrop_plugin.reports.rows import markdown, plain

COLUMNS = ["model", "heads", "FFN units", "parameters", "quality", "speed vs parent"]
METRICS = {"bleu": "point of BLEU", "accuracy": "point of accuracy", "loss": "nats of loss"}
PICTURES = {
    "report.png": "quality and cost",
    "each/ablation.png": "one head removed at a time",
    "all-but-one/ablation.png": "all heads of an attention removed but one",
    "curve-heads/curve.png": "heads removed step by step",
    "curve-ffn/curve.png": "FFN units removed step by step",
}


def read(path):
    """A JSON file that an earlier step left."""
    return json.loads(path.read_text(encoding="utf-8"))


def cells(report):
    """The table's rows of one report (list[list[str]])."""
    found = []
    for row in report["rows"]:
        quality = f"accuracy {row['metric']:.1f} %"
        if "speed" in row:
            quality = f"BLEU {row['metric']:.1f}, loss {row['loss']:.3f}"
        numbers = [f"{row[name]:,}" for name in ("heads", "ffn_units", "parameters")]
        found.append([row["name"], *numbers, quality, speed(row)])
    return found


def speed(row):
    """The speed of one row of a report over the first row's, with how far the rounds of timing agree."""
    ratio, spread = row.get("speed"), row.get("spread")
    if ratio is None:
        ratio = 1 / row["relative_time"]
        if spread:
            speeds = [1 / time for time in spread["rounds"]]
            spread = spread | {"rounds": speeds, "least": min(speeds), "greatest": max(speeds)}
    return rounds.written(ratio, spread)


def findings(folder):
    """What the ablations and the curves of one model found, a sentence each."""
    for mode in ("each", "all-but-one"):
        yield from ablation.summary(read(folder / mode / "ablation.json"))
    for part, name in (("heads", "heads"), ("ffn", "FFN units")):
        curve = read(folder / f"curve-{part}" / "curve.json")
        for metric, methods in curve["within"].items():
            shares = ", ".join(f"{found['share']:.0%} by {method}" for method, found in methods.items())
            yield f"{name} that can go within {curve['limits'][metric]:g} {METRICS[metric]}: {shares}"


def main(out, kinds):
    """Write the page and print what is on it."""
    page, shown = ["# Which heads do the work, and models without the others", ""], []
    for kind in kinds:
        folder = out / kind
        table, found = cells(read(folder / "report.json")), list(findings(folder))
        page += [f"## {kind.capitalize()}", ""]
        page += [markdown(COLUMNS, table, ["quality"]), "", *(f"- {line}" for line in found), ""]
        page += [f"![{title}]({kind}/{picture})  " for picture, title in PICTURES.items()]
        page += ["", f"More: [{kind}/report.md]({kind}/report.md) and the pages beside the pictures.", ""]
        shown += [kind, plain(COLUMNS, table, ["quality"]), *found, ""]
    checkpoint.write_text_atomic(out / "report.md", "\n".join(page))
    print("\n".join(shown).rstrip())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
