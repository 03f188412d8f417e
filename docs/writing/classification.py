"""What the quick start found: a classifier of which every other layer was pruned."""

from .markdown import (
    machine,
    number,
    plural,
    provenance,
    ratio,
    read,
    seeds_of,
    sentences,
    short,
    span,
    table,
    versions,
)

TITLE = "Classification: half the layers"
COMMAND = "bash recipes/quickstart.sh"
REPORT = "docs/quickstart/report.json"
MODELS = {
    "parent": "pre-trained with LayerDrop 0.2, then fine-tuned",
    "child": "every other layer of the pre-trained parent (`every-other:0.5`, depth counted from 0), then fine-tuned",
    "child-from-1": "the other half of the layers (`every-other-from-1:0.5`, the paper's released example)",
    "scratch": "the child's shape, fine-tuned from random weights",
}


def section() -> list[str]:
    """Table, picture and reading."""
    report = read(REPORT)
    rows, results, times = report["rows"], report["results"], report.get("latency") or {}
    sizes = batch_sizes(rows)
    columns = ["model", "layers", "parameters", "weights (MB)", *(f"ms/sentence, batch {size}" for size in sizes)]
    columns += ["time vs parent", "accuracy %", "95 % interval"]
    cells = [
        [row["name"], number(row.get("layers")), number(row.get("parameters")), number(megabytes(row), 2)]
        + [number((row.get("ms_per_sentence") or {}).get(size), 2) for size in sizes]
        + [ratio(row.get("relative_time"), row.get("spread")), accuracy(row), span(row.get("interval"))]
        for row in rows
    ]
    models = [f"*{name}*: {text}" for name, text in MODELS.items() if any(row["name"] == name for row in rows)]
    return [
        "Sentences from movie reviews, positive or negative. " + "; ".join(models) + ".",
        table(columns, cells, 1),
        f"Accuracy on {plural(results[0]['examples'], 'sentence')} of the split '{results[0]['split']}': the mean over"
        " seeds (least to greatest). The interval is Wilson's; it is about the choice of test sentences, not about"
        " the seeds. Times are medians of rounds in which all models take turns in one process.",
        provenance(
            seeds_of(results),
            short(results[0].get("data_sha256")),
            machine(times) if times else None,
            versions(report),
            "all of it in [report.md](quickstart/report.md)",
        ),
        "![accuracy against milliseconds per sentence](quickstart/report.png)",
        sentences(*readings({row["name"]: row for row in rows})),
    ]


def batch_sizes(rows: list[dict]) -> list[str]:
    """The batch sizes that were timed, ascending."""
    return sorted({size for row in rows for size in row.get("ms_per_sentence") or {}}, key=int)


def megabytes(row: dict) -> float | None:
    """A row's weights in 10^6 bytes."""
    return row["weight_bytes"] / 1e6 if row.get("weight_bytes") else None


def accuracy(row: dict) -> str:
    """A row's mean accuracy, and its range where there are several seeds."""
    if len(row.get("seeds") or []) < 2:
        return number(row["metric"], 1)
    return f"{row['metric']:.1f} ({span((row['low'], row['high']))})"


def readings(rows: dict[str, dict]) -> list[str | None]:
    """What the table says, and what it does not."""
    parent, child, from_1, scratch = (rows.get(name) for name in MODELS)
    if not (parent and child):
        return []
    compared = [from_1 and _two_readings(child, from_1), scratch and _pretraining(child, scratch)]
    return [_cost(parent, child), _kept(parent, child), *compared, _limits(parent)]


def _cost(parent: dict, child: dict) -> str:
    sizes = batch_sizes([parent]) if batch_sizes([parent]) == batch_sizes([child]) else []
    times = [
        f"{child['ms_per_sentence'][size] / parent['ms_per_sentence'][size]:.2f} of the time at batch {size}"
        for size in sizes
    ]
    share = child["parameters"] / parent["parameters"]
    takes = f" takes {' and '.join(times)}, and" if times else ""
    return (
        f"With {child['layers']} of {parent['layers']} layers the child{takes} has {share:.2f} of the parameters:"
        " embeddings and classification head stay."
    )


def _kept(parent: dict, child: dict) -> str | None:
    if not parent.get("interval"):
        return None
    low, high = parent["interval"]
    if low <= child["metric"] <= high:
        return (
            "The child's accuracy lies within the parent's 95 % interval: pruning every other layer cost no accuracy"
            " that this test set can show."
        )
    change = child["metric"] - parent["metric"]
    side = "below" if change < 0 else "above"
    return f"The child's accuracy is {abs(change):.1f} points {side} its parent's, outside the parent's 95 % interval."


def _two_readings(child: dict, from_1: dict) -> str:
    change = from_1["metric"] - child["metric"]
    low, high = child.get("interval") or (child["metric"], child["metric"])
    inside = "within" if low <= from_1["metric"] <= high else "outside"
    return (
        f"With depth counted from 1 the other half of the layers is kept: {change:+.1f} points of accuracy, {inside}"
        " the 95 % interval of counting from 0."
    )


def _pretraining(child: dict, scratch: dict) -> str:
    return (
        f"{_beside_scratch(child, scratch)} Pre-training here is minutes on 2 million words. The paper's claim, that"
        " pruning a pre-trained model beats training the small one from scratch, is about pre-training of BERT's size;"
        " these numbers neither support nor contradict it."
    )


def _beside_scratch(child: dict, scratch: dict) -> str:
    low, high = child.get("interval") or (child["metric"], child["metric"])
    if low <= scratch["metric"] <= high:
        return "The same shape from random weights scores the same, so these runs show no benefit of pre-training."
    change = child["metric"] - scratch["metric"]
    side = "above" if change > 0 else "below"
    return f"The child is {abs(change):.1f} points {side} the same shape trained from random weights."


def _limits(parent: dict) -> str:
    seeds = len(parent.get("seeds") or [])
    if seeds < 2:
        return "One seed: the table does not show what another seed of the fine-tuning or of the pre-training changes."
    return f"The {plural(seeds, 'seed')} vary the fine-tuning only: there is one pre-trained model."


def summary() -> str:
    """The short table of the README, and what it says."""
    rows = read(REPORT)["rows"][:4]
    parent, child, _, scratch = ({row["name"]: row for row in rows}.get(name) for name in MODELS)
    said = [_kept(parent, child) if parent and child else None, child and scratch and _beside_scratch(child, scratch)]
    return "\n\n".join([_short_table(rows), " ".join(line for line in said if line)]).rstrip()


def _short_table(rows: list[dict]) -> str:
    size = (batch_sizes(rows) or [None])[-1]
    columns = ["model", "layers", "parameters", f"ms/sentence, batch {size}", "time vs parent", "accuracy %"]
    return table(
        columns,
        [
            [row["name"], number(row.get("layers")), number(row.get("parameters"))]
            + [number((row.get("ms_per_sentence") or {}).get(size), 2)]
            + [ratio(row.get("relative_time"), row.get("spread")), accuracy(row)]
            for row in rows
        ],
        1,
    )
