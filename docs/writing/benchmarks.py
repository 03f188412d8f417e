"""What the benchmarks found: this plugin beside stock fairseq."""

from .markdown import files, machine, median, number, provenance, read, sentences, table, versions

TITLE = "Speed beside stock fairseq"
COMMAND = "python benchmarks/NAME.py --out benchmarks/results/NAME.json"
FOLDER = "benchmarks/results"


def section() -> list[str]:
    """A table for each kind of benchmark."""
    found = {file: read(file) for file in files(f"{FOLDER}/*.json")}
    if not found:
        read(f"{FOLDER}/generate.json")  # says that it is missing
    parts = [
        "[benchmarks/](../benchmarks/README.md) says how they run. Random weights and words; everything that is"
        " compared runs in one process and in turn. A figure is the median of the ratios within each round, in brackets"
        " the least and the greatest. **Bold** misses its goal."
    ]
    for kind, write in KINDS.items():
        records = {file: record for file, record in found.items() if record["type"] == f"layerdrop.benchmark.{kind}"}
        if records:
            links = ", ".join(f"[{file.rsplit('/')[-1]}](../{file})" for file in records)
            source = [links, *dict.fromkeys(versions(record) for record in records.values())]
            parts += [*write(_labelled(records)), provenance(*source)]
        elif kind not in LATER:
            parts.append(f"No result of `benchmarks/{kind}.py` is kept in {FOLDER}.")
    known = {f"layerdrop.benchmark.{kind}" for kind in KINDS}
    others = [file for file, record in found.items() if record["type"] not in known]
    return parts + ([f"Also measured: {', '.join(others)}."] if others else [])


def _labelled(records: dict[str, dict]) -> dict[str, dict]:
    """Records of one kind by what tells them apart: the machine, settings that differ, and if need be the file."""
    names = {name for record in records.values() for name in record["settings"]} - {"repeats", "smoke"}
    settings = [[record["settings"].get(name) for record in records.values()] for name in sorted(names)]
    differing = [name for name, values in zip(sorted(names), settings, strict=True) if len(set(map(str, values))) > 1]
    labels = {
        file: ", ".join([machine(record), *(f"{name} {record['settings'].get(name)}" for name in differing)])
        for file, record in records.items()
    }
    twins = len(set(labels.values())) < len(labels)
    return {labels[file] + f" ({file.rsplit('/')[-1]})" * twins: record for file, record in records.items()}


def _against(found: dict, goal: float | None, at_least: bool) -> str:
    """A ratio beside its goal, bold where it misses it."""
    if goal is None:
        return median(found)
    if "upper" in found and found["upper"] - found["lower"] > abs(found["median"] - goal):
        limit = f"{'≥' if at_least else '≤'} {goal:g}"
        return f"{median(found)}; goal {limit} not decided, as rounds disagree by more than the distance to it"
    met = found["median"] >= goal if at_least else found["median"] <= goal
    return f"{median(found) if met else f'**{median(found)}**'}; goal {'≥' if at_least else '≤'} {goal:g}"


def _rows(records: dict[str, dict], part: str, cell) -> list[list[str]]:
    """A row for each entry of a record's *part*, by name, with one *cell* a record."""
    names = dict.fromkeys(name for record in records.values() for name in record[part])
    return [[name, *(cell(record[part].get(name)) for record in records.values())] for name in names]


def generate(records: dict[str, dict]) -> list[str]:
    """Beam search."""

    def cell(model: dict | None) -> str:
        return "" if model is None else _against(model["speed"], model.get("goal"), at_least=True)

    settings = next(iter(records.values()))["settings"]
    layers = settings["layers"]
    return [
        "### Beam search",
        f"Target tokens per second over stock fairseq's `transformer`, {layers} + {layers} layers"
        f" x {settings['width']}, beam {settings['beam']}, batch {settings['batch']}. *whole* is our"
        " `layerdrop_transformer` with the same weights and the same hypotheses.",
        table(["model", *records], _rows(records, "models", cell)),
        "The output layer, which pruning leaves alone, weighs more with a larger vocabulary.",
    ]


def training(records: dict[str, dict]) -> list[str]:
    """Training steps."""
    rates = {label: {f"p = {entry['rate']:g}": entry for entry in record["rates"]} for label, record in records.items()}
    names = list(dict.fromkeys(name for found in rates.values() for name in found))
    rows = []
    for name in names:
        cells = []
        for label, record in records.items():
            entry = rates[label].get(name)
            cells += ["", ""] if entry is None else [
                _against(entry["ours_over_stock"], record.get("goal"), at_least=False),
                f"{entry['ours_over_whole']['median']:.2f}; {entry['expected_over_whole']:.2f}",
            ]  # fmt: skip
        rows.append([name, *cells])
    columns = [f"{label}, {number(record['tokens_per_step'])} tokens a step" for label, record in records.items()]
    heads = [head for column in columns for head in (column, "time over p = 0; expected from the layers dropped")]
    missed = any("**" in cell for row in rows for cell in row)
    return [
        "### Training steps",
        "Seconds of a training step over stock fairseq's LayerDrop, the same layers being dropped in both.",
        table(["drop rate", *heads], rows),
        "Stock fairseq gives a dropped layer no gradient and its optimizer skips the layer; here the gradient is zero,"
        " so that one process and several take the same steps. That costs time in the backward and in the optimizer"
        + (", which is why a goal is missed." if missed else "."),
    ]


def head_pruning(records: dict[str, dict]) -> list[str]:
    """Forwards of an encoder without heads, FFN units or layers."""
    first = next(iter(records.values()))["settings"]
    places = {
        "batch": f"batch {first['batch']} x {first['length']} tokens",
        "single": f"one sentence of {first['single']}",
    }
    names = list(dict.fromkeys(name for record in records.values() for name in record["models"]))
    rows = []
    for name in names:
        models = [record["models"].get(name) for record in records.values()]
        rows.append([name, *(_time_over_stock(model and model.get(place)) for model in models for place in places)])
    columns = [f"{label}: {place}" for label in records for place in places.values()]
    missed = any("**" in cell for row in rows for cell in row[2::2])
    why = "A short sentence does not fill the matrix products, which then wait for the weights to come from memory."
    return [
        "### Encoders without heads",
        f"Seconds of a forward over stock fairseq's `roberta`, {first['layers']} layers x {first['width']},"
        f" {first['heads']} heads. *whole* is `layerdrop_roberta` with the same weights.",
        table(["model", *columns], rows),
        *([why] if missed else []),
        *_packing(records, places),
    ]


def _packing(records: dict[str, dict], places: dict[str, str]) -> list[str]:
    """What it brings to compute queries, keys and values as one matrix product, where that was measured."""
    found = []
    for label, record in records.items():
        ratios = {place: record["models"]["whole"][place]["over"].get("whole, three products") for place in places}
        found += [f"{median(ratio)} ({label}: {places[place]})" for place, ratio in ratios.items() if ratio]
    if not found:
        return []
    return [
        "Packed projections: time of *whole*, which computes queries, keys and values as one matrix product, over"
        f" *whole, three products*, which takes three: {'; '.join(found)}."
    ]


def _time_over_stock(measured: dict | None) -> str:
    if not measured or "stock" not in measured["over"]:
        return ""
    return _against(measured["over"]["stock"], measured["goals"].get("stock"), at_least=False)


def importance(records: dict[str, dict]) -> list[str]:
    """Estimating importance."""
    named = {
        label: {f"{entry['of']}, over {entry['over']}": entry for entry in record["ratios"]}
        for label, record in records.items()
    }
    names = list(dict.fromkeys(name for found in named.values() for name in found))
    rows = []
    for name in names:
        entries = [found.get(name) for found in named.values()]
        rows.append([name, *("" if e is None else _against(e, e["goal"], e["wanted"] == "at least") for e in entries)])
    return [
        "### Estimating importance",
        "The importance of every head, FFN unit and layer. *Estimate alone* changes no weight; *alongside training* is"
        " `--criterion head_importance`; the *loop over examples* is what published scripts do, with the same scores.",
        table(["time of", *records], rows),
        sentences("The estimate needs one backward pass for a whole batch, the loop one for each example."),
    ]


def serving(records: dict[str, dict]) -> list[str]:
    """An encoder and its children in the software that people serve with."""
    record = next(iter(records.values()))
    first, threads = record["settings"], record["threads"]
    places = {"batch": f"batch {first['batch']} x {first['length']}", "single": f"one sentence of {first['single']}"}

    def cell(model: dict | None, place: str) -> str:
        return "" if model is None else _against(model[place]["over_stock"], model[place]["goal"], at_least=False)

    names = dict.fromkeys(name for record in records.values() for name in record["models"])
    rows = [
        [name, *(cell(record["models"].get(name), place) for record in records.values() for place in places)]
        for name in names
    ]
    return [
        "### Encoders in other engines",
        f"Seconds of a forward over stock fairseq's `roberta`, whole, {first['layers']} layers x {first['width']},"
        f" {threads} threads. *ONNX Runtime* runs what `layerdrop export-onnx` wrote, *int8* with `--int8`.",
        table(["model", *(f"{label}: {place}" for label in records for place in places.values())], rows),
    ]


def peak_memory(records: dict[str, dict]) -> list[str]:
    """Memory of a process that answers."""

    def cell(model: dict | None) -> str:
        if model is None:
            return ""
        packed, plain = (min(model[f"{kind}_bytes"]) / 1e6 for kind in ("packed", "plain"))
        return f"{packed:.0f} MB over {plain:.0f}: {_against(model['over_plain'], model['goal'], at_least=False)}"

    return [
        "### Memory of packed models",
        "Peak memory of a process that loads a checkpoint and answers, its weights packed by oneDNN, over one that"
        " packs none. The translation model's output layer shares its weights with the embeddings: they are copied.",
        table(["model", *records], _rows(records, "models", cell)),
    ]


def load_time(records: dict[str, dict]) -> list[str]:
    """Time to read a checkpoint."""

    def cell(model: dict | None) -> str:
        return "" if model is None else _against(model["over_torch"], model["goal"], at_least=False)

    sizes = ", ".join(sorted({f"{record['bytes'] / 1e9:.1f} GB" for record in records.values()}))
    return [
        "### Reading checkpoints",
        f"Time to read a checkpoint of {sizes}, in the disk cache, over `torch.load`, which compares no checksums."
        " *loading* is what fairseq's commands do with the plugin imported, *reading* what `layerdrop prune` does.",
        table(["", *records], _rows(records, "models", cell)),
    ]


KINDS = {"generate": generate, "training": training, "head_pruning": head_pruning, "importance": importance}
# what is told only where it was measured
LATER = {"serving": serving, "peak_memory": peak_memory, "load_time": load_time}
KINDS |= LATER
