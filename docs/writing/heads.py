"""What head_importance.sh found: which heads matter, and models without the others."""

from .markdown import Missing, machine, number, plural, provenance, ratio, read, sentences, short, span, table, versions

TITLE = "Which heads matter, and models without the others"
COMMAND = "bash recipes/head_importance.sh"
FOLDER = "docs/heads"
KINDS = {"classifier": "the quick start's classifier", "translation": "the translation model of translate.sh"}
METRICS = {"accuracy": "the accuracy", "bleu": "BLEU", "loss": "the loss"}
UNITS = {"accuracy": "point of accuracy", "bleu": "point of BLEU", "loss": "nats of loss"}
PARTS = {"heads": "heads", "ffn": "FFN units"}


def section() -> list[str]:
    """Tables, pictures and reading, of each model whose files are there."""
    each = {kind: ablation for kind in KINDS if (ablation := _found(f"{kind}/each/ablation.json"))}
    if not each:
        raise Missing(f"{FOLDER}/classifier/each/ablation.json")
    curves = {
        (kind, part): curve for kind in each for part in PARTS if (curve := _found(f"{kind}/curve-{part}/curve.json"))
    }
    some = next(iter(each.values()))
    return [
        "Scores from training examples, by `layerdrop importance`, of"
        f" {' and '.join(KINDS[kind] for kind in each)}.",
        *(part for kind in each for part in _children(kind)),
        *(f"The {kind} curve of {PARTS[part]} is in [curve.md](heads/{kind}/curve-{part}/curve.md): its JSON was"
          " not kept." for kind in each for part in PARTS if (kind, part) not in curves),
        "**What the heads do.** Significant: p < 0.05 after Holm's correction over all tests of a metric. Tests: paired"
        " t-test of losses, McNemar's exact test of answers, a paired bootstrap of BLEU.",
        table(["", *each], _findings(each, curves)),
        provenance(
            f"seed {some['seed']}",
            *(f"{kind}: {plural(found['examples'], 'example')} of '{found['split']}', {short(found.get('data_sha256'))}"
              for kind, found in each.items()),
            versions(some),
            f"all of it in [{FOLDER.removeprefix('docs/')}/report.md](heads/report.md)",
        ),
        *(f"![loss without each head: {kind}](heads/{kind}/each/ablation.png)" for kind in each),
        *(f"![quality over the share of heads removed: {kind}](heads/{kind}/curve-heads/curve.png)" for kind in each),
        sentences(*readings(each, curves)),
    ]  # fmt: skip


def _found(path: str) -> dict | None:
    try:
        return read(f"{FOLDER}/{path}")
    except Missing:
        return None


def _children(kind: str) -> list[str]:
    """The table of one kind's children, or where to find it."""
    report = _found(f"{kind}/report.json")
    if report is None:
        return [f"The table of {kind} children is in [report.md](heads/{kind}/report.md): its JSON was not kept."]
    rows, times = report["rows"], report.get("latency") or {}
    cells = [
        [row["name"], number(row.get("heads")), number(row.get("ffn_units")), number(row["parameters"]), _quality(row)]
        + [span(row.get("interval")), _speed(row)]
        for row in rows
    ]
    quality = "BLEU, loss (nats/token)" if "chrf" in rows[0] else "accuracy %"
    columns = [kind, "heads", "FFN units", "parameters", quality, "95 % interval", "speed vs parent"]
    sizes = times.get("batch_sizes") or []
    timed = f"speed at batch {max(sizes)}, {machine(times)}" if sizes else None
    result = report["results"][0]
    where = f"{plural(result['examples'], 'example')} of '{result['split']}'"
    return [table(columns, cells, 1), provenance(where, short(result.get("data_sha256")), timed, versions(report))]


def _quality(row: dict) -> str:
    return number(row["metric"], 1) + (f", {row['loss']:.2f}" if row.get("loss") is not None else "")


def _speed(row: dict) -> str:
    """A row's speed over the first row's; of classifiers the reverse of the ratio of times."""
    value, spread = row.get("speed"), row.get("spread")
    if value is None and row.get("relative_time"):
        value = 1 / row["relative_time"]
        if spread:
            spread = spread | {"least": 1 / spread["greatest"], "greatest": 1 / spread["least"]}
    return ratio(value, spread)


def _findings(each: dict[str, dict], curves: dict[tuple[str, str], dict]) -> list[list[str]]:
    """The rows that say what ablations and curves found; the columns are the kinds of *each*."""
    alone = {kind: _best_heads(_found(f"{kind}/all-but-one/ablation.json")) for kind in each}
    rows = {}
    for metric, name in METRICS.items():
        line = f"heads whose removal alone changes {name} significantly"
        rows[line] = {kind: _significant(found["summary"].get(metric)) for kind, found in each.items()}
        line = f"attentions that can do with their best head without a significant change of {name}"
        rows[line] = {kind: found.get(metric, "") for kind, found in alone.items()}
        for part, parts in PARTS.items():
            for kind in each:
                limit, shares = _within(curves.get((kind, part)), metric)
                rows.setdefault(f"{parts} that can go within {limit} {UNITS[metric]}", {})[kind] = shares
    return [[line, *(found.get(kind, "") for kind in each)] for line, found in rows.items() if any(found.values())]


def _significant(found: dict | None) -> str:
    if not found:
        return ""
    return (
        f"{found['significant']} of {found['tests']} ({found['worse']} for the worse, {found['better']} for the better)"
    )


def _within(curve: dict | None, metric: str) -> tuple[str, str]:
    """The limit of a *metric*, and by method the share that can go within it."""
    if not curve or metric not in curve["within"]:
        return "", ""
    shares = (f"{100 * found['share']:.0f} % by {method}" for method, found in curve["within"][metric].items())
    return f"{curve['limits'][metric]:g}", ", ".join(shares)


def _best_heads(ablation: dict | None) -> dict[str, str]:
    """By metric, how many attentions do without all heads but their best one."""
    best = [head for head in (ablation or {}).get("heads", []) if head.get("best")]
    found = {}
    for metric in METRICS:
        tested = [head[metric] for head in best if metric in head]
        if tested:
            found[metric] = f"{sum(not test['significant'] for test in tested)} of {len(tested)}"
    return found


def readings(each: dict[str, dict], curves: dict[tuple[str, str], dict]) -> list[str | None]:
    """What the tables say, and what they do not."""
    return [*(_dispensable(kind, found["summary"]) for kind, found in each.items()), _orders(curves), *_limits(curves)]


def _dispensable(kind: str, summary: dict) -> str | None:
    loss, accuracy = summary.get("loss"), summary.get("accuracy")
    if not loss:
        return None
    alone = f"{loss['tests'] - loss['worse']} of {loss['tests']} heads"
    text = f"{kind.capitalize()}: {alone} can be removed one by one without a significantly higher loss."
    if loss["better"] > loss["tests"] / 2 and accuracy:
        text += (
            f" For {loss['better']} of them it is even lower, while the accuracy changes significantly for"
            f" {accuracy['significant']}: the model seems to be over-confident."
        )
    return text


def _orders(curves: dict[tuple[str, str], dict]) -> str | None:
    """How often importance lets more parts go than what it is compared with."""
    counts = {"more": 0, "as many": 0, "fewer": 0}
    for curve in curves.values():
        for shares in curve["within"].values():
            mine = shares.get("importance", {}).get("share")
            for method, found in shares.items():
                if mine is not None and method != "importance":
                    counts[_compared(mine, found["share"])] += 1
    total = sum(counts.values())
    if not total:
        return None
    said = ", ".join(f"{name} in {count}" for name, count in counts.items())
    return (
        "Within the same limit, how many parts can go by importance, compared with magnitude and random order:"
        f" {said} of {total} comparisons."
    )


def _compared(mine: float, theirs: float) -> str:
    return "as many" if mine == theirs else "more" if mine > theirs else "fewer"


def _limits(curves: dict[tuple[str, str], dict]) -> list[str]:
    lines = []
    for (kind, part), curve in curves.items():
        bleu = curve["settings"].get("bleu")
        if bleu and part == "heads":
            lines.append(
                f"BLEU of the {kind} curve is of {bleu['max_examples']} sentences and jumps about: read the losses."
            )
    lines.append(
        "BLEU of single heads is measured for few of them, which the loss chose. There is one seed, and these are small"
        " models. A fine-tuned child was trained longer than its parent."
    )
    return lines
