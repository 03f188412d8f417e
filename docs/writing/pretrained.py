"""What four_layer_bert.sh found: children of a pre-trained model that somebody else has trained."""

from .classification import accuracy, batch_sizes, megabytes
from .markdown import (
    Missing,
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

TITLE = "A four-layer model of a pre-trained one"
COMMAND = "BERT_CHILD_EPOCHS=2 bash recipes/four_layer_bert.sh --demo chinese --limit-train 4000"
DEMOS = {  # folder in docs/ -> the model and its data
    "chinese": "multilingual E5 (small), 12 layers x 384, its 250,037 pieces cut down to those of the training text;"
    " Chinese reviews of hotels, books and shops, positive or negative",
    "english": "MiniLM (all-MiniLM-L6-v2), 6 layers x 384, its vocabulary cut down to that of the training text;"
    " sentences of English movie reviews, positive or negative",
}
PARENT, DROPPED = "parent", "parent with LayerDrop"
AIMS = {  # layers kept -> points that a distilled child, and another, may lose, and its greatest share of the time
    "chinese": {4: (1.5, 3.0, 0.40), 6: (1.0, 1.0, 0.55)},
    "english": {3: (2.0, 2.0, 0.55)},
}


def section() -> list[str]:
    """Table, picture and reading of each demo that was run to its end."""
    found = {demo: read(report) for demo in DEMOS for report in [_report(demo)] if _is_there(report)}
    if not found:
        raise Missing(_report("chinese"))
    return [part for demo, report in found.items() for part in _demo(demo, report)]


def _report(demo: str) -> str:
    return f"docs/four_layer_bert/{demo}/report.json"


def _is_there(path: str) -> bool:
    try:
        read(path)
    except Missing:
        return False
    return True


def _demo(demo: str, report: dict) -> list[str]:
    rows, results, times = report["rows"], report["results"], report.get("latency") or {}
    sizes = batch_sizes(rows)
    columns = ["model", "layers", "parameters", "weights (MB)", *(f"ms/sentence, batch {size}" for size in sizes)]
    columns += ["time vs parent", "accuracy %", "95 % interval", "against the parent (p)"]
    cells = [
        [row["name"], number(row.get("layers")), number(row.get("parameters")), number(megabytes(row), 1)]
        + [number((row.get("ms_per_sentence") or {}).get(size), 2) for size in sizes]
        + [ratio(row.get("relative_time"), row.get("spread")), accuracy(row), span(row.get("interval")), _against(row)]
        for row in rows
    ]
    return [
        f"`--demo {demo}`: {DEMOS[demo]}.",
        table(columns, cells, 1),
        f"Accuracy on {plural(results[0]['examples'], 'sentence')} of the split '{results[0]['split']}'; the interval"
        " is Wilson's, and p of a paired test on the same sentences. Children are cut out of the fine-tuned parent by"
        " the rule in their name and fine-tuned again; *of the imported*: cut out before any fine-tuning; *distilled*:"
        " the parent's answers are learned, too; *cut*: not trained after the cut.",
        provenance(
            seeds_of(results),
            short(results[0].get("data_sha256")),
            machine(times) if times else None,
            versions(report),
            f"all of it in [report.md](four_layer_bert/{demo}/report.md)",
        ),
        f"![accuracy against milliseconds per sentence](four_layer_bert/{demo}/report.png)",
        sentences(*readings(demo, rows)),
    ]


def _against(row: dict) -> str:
    found = row.get("against")
    return f"{found['difference']:+.1f} ({found['p']:.3f})" if found else ""


def readings(demo: str, rows: list[dict]) -> list[str]:
    """Aims and claims, one by one, as the *rows* of the *demo*'s table show them."""
    named = {row["name"]: row for row in rows}
    seeds = len(named[PARENT].get("seeds") or [])
    limits = "One seed: what another one would change is not known." if seeds < 2 else None
    aims = [_aim(named, layers, *aim) for layers, aim in AIMS[demo].items()]
    return [line for line in (*aims, *_tops(named), *_distilled(named), *_starts(named), *_cuts(named), limits) if line]


def _aim(named: dict, layers: int, distilled: float, plain: float, time: float) -> str | None:
    trained = [row for row in named.values() if row.get("layers") == layers and _is_trained(row["name"])]
    if not trained:
        return None
    said = []
    for kind, points in (("without distillation", plain), ("distilled", distilled)):
        of_kind = [row for row in trained if ("distilled" in row["name"]) == (kind == "distilled")]
        if of_kind:
            best = max(of_kind, key=lambda row: row["metric"])
            lost = named[PARENT]["metric"] - best["metric"]
            said.append(f"{kind} {_signed(-lost)} (*{best['name']}*; aim {_signed(-points)}: {_met(lost <= points)})")
    took = min((row["relative_time"] for row in trained if row.get("relative_time")), default=None)
    takes = f"; {took:.2f} of the time (aim {time:.2f}: {_met(took <= time)})" if took else ""
    return f"{layers} of {named[PARENT]['layers']} layers: {', '.join(said)}{takes}."


def _is_trained(name: str) -> bool:
    """Whether a row is a trained child itself, neither cut only nor exported."""
    return not ("cut" in name or "ONNX" in name)


def _signed(points: float) -> str:
    return f"{points:+.1f} points"


def _met(is_met: bool) -> str:
    return "met" if is_met else "missed"


def _tops(named: dict) -> list[str]:
    """Dropping the top layers against dropping layers everywhere."""
    depths = [row["layers"] for name, row in named.items() if name.endswith(" first")]
    said = [_difference(named, f"{depth} first", f"{depth} even") for depth in depths]
    said = [f"{depth} layers {text}" for depth, text in zip(depths, said, strict=True) if text]
    return [f"Keeping the first layers against keeping evenly spaced ones: {', '.join(said)}."] if said else []


def _distilled(named: dict) -> list[str]:
    pairs = {name: name.removesuffix(", distilled") for name in named if name.endswith(", distilled")}
    said = [f"*{name}* {_difference(named, name, plain)}" for name, plain in pairs.items() if plain in named]
    return [f"Distillation against the same child fine-tuned on the labels alone: {', '.join(said)}."] if said else []


def _starts(named: dict) -> list[str]:
    pairs = {name: name.removesuffix(" of the imported") for name in named if name.endswith(" of the imported")}
    said = [f"*{plain}* {_difference(named, plain, name)}" for name, plain in pairs.items() if plain in named]
    return [f"Cutting after the parent's fine-tuning against cutting before it: {', '.join(said)}."] if said else []


def _cuts(named: dict) -> list[str]:
    """Children cut without training, of the parents fine-tuned with and without LayerDrop."""
    said = []
    for name, row in named.items():
        other = named.get(name.replace(", LayerDrop, cut", ", cut"))
        if name.endswith(", LayerDrop, cut") and other:
            said.append(f"{row['layers']} layers {row['metric']:.1f} % against {other['metric']:.1f} %")
    price = _difference(named, DROPPED, PARENT) if DROPPED in named else None
    whole = f" The whole model: {price}." if price else ""
    return [f"Cut without training, LayerDrop in fine-tuning against none: {', '.join(said)}.{whole}"] if said else []


def _difference(named: dict, first: str, second: str) -> str | None:
    if first not in named or second not in named:
        return None
    return _signed(named[first]["metric"] - named[second]["metric"])


def _in_summary(row: dict) -> bool:
    """Whether the README shows the *row*: by its name alone, so that no result chooses what is shown."""
    name = row["name"]
    return name == PARENT or name.endswith((" even", " spread", ", distilled", " spread, ONNX int8"))


def summary() -> str:
    """The table of the README: the parent, children of each depth, and some in ONNX Runtime; then the aims."""
    rows = read(_report("chinese"))["rows"]
    kept = [row for row in rows if _in_summary(row)]
    size = (batch_sizes(rows) or [None])[-1]
    columns = ["model", "layers", "parameters", f"ms/sentence, batch {size}", "time vs parent", "accuracy %"]
    cells = [
        [row["name"], number(row.get("layers")), number(row.get("parameters"))]
        + [number((row.get("ms_per_sentence") or {}).get(size), 2), ratio(row.get("relative_time")), accuracy(row)]
        for row in kept
    ]
    aims = [line for line in readings("chinese", rows) if "aim" in line]
    return "\n\n".join([table(columns, cells, 1), sentences(*aims)])
