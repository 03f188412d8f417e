"""What translate.sh found: layers pruned from encoder, decoder and both."""

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

TITLE = "Translation: layers of encoder and decoder"
COMMAND = "bash recipes/translate.sh"
REPORT = "docs/translate/report.json"
TEXTS = {("es", "en"): "Bible verses"}  # by languages; of all others LibreOffice's help
POOR = 15.0  # BLEU below which translations are hardly of use


def section() -> list[str]:
    """Table, picture and reading."""
    report = read(REPORT)
    rows, results, times = report["rows"], report["results"], report.get("latency") or {}
    sizes = sorted({size for row in rows for size in row.get("tokens_per_second") or {}}, key=int)
    columns = ["model", "encoder + decoder layers", "parameters", *(f"tokens/s, batch {size}" for size in sizes)]
    columns += ["speed vs parent", "BLEU", "95 % interval", "chrF", "loss (nats/token)"]
    cells = [
        [row["name"], layers(row), number(row.get("parameters"))]
        + [number((row.get("tokens_per_second") or {}).get(size)) for size in sizes]
        + [ratio(row.get("speed"), row.get("spread")), number(row["metric"], 1), span(row.get("interval"))]
        + [number(row.get("chrf"), 1), number(row.get("loss"), 2)]
        for row in rows
    ]
    first = next(result for result in results if result.get("checkpoint"))
    languages = first["checkpoint"].get("languages") or ["es", "en"]
    text = TEXTS.get(tuple(languages), "LibreOffice's help")
    beam = (times.get("generation") or {}).get("beam")
    return [
        f"{text}, {languages[0]} to {languages[1]}, at most 40 pieces long. The parent is trained with LayerDrop"
        " 0.2 on both sides; the children are cut out of it without further training, unless their name says"
        " *fine-tuned*.",
        table(columns, cells, 1),
        f"BLEU, chrF and loss on {plural(first['examples'], 'sentence')} of the split '{first['split']}'. Intervals:"
        " sacrebleu's bootstrap over sentences. Tokens per second: target tokens of fairseq's beam search"
        + (f", beam {beam}." if beam else "."),
        provenance(
            seeds_of(results),
            short(first.get("data_sha256")),
            machine(times) if times else None,
            versions(report),
            "all of it, with sacrebleu's signatures, in [report.md](translate/report.md)",
        ),
        "![BLEU against tokens per second](translate/report.png)",
        sentences(*readings(rows)),
    ]


def layers(row: dict) -> str:
    """``6 + 3``, or nothing where there is no model."""
    return "" if row.get("layers") is None else f"{row['layers']} + {row.get('decoder_layers')}"


def readings(rows: list[dict]) -> list[str | None]:
    """What the table says, and what it does not."""
    parent, *others = rows
    children = [row for row in others if row.get("speed")]
    tuned = [row for row in children if "fine-tuned" in row["name"]]
    cut = [row for row in children if row not in tuned]
    return [
        _decoder(parent, cut),
        *(_tuned(parent, row) for row in tuned),
        "A fine-tuned child was trained longer than its parent by the fine-tuning itself." if tuned else None,
        _poor(parent),
    ]


def _decoder(parent: dict, cut: list[dict]) -> str | None:
    decoder = [row for row in cut if row["layers"] == parent["layers"]]
    encoder = [row for row in cut if row["decoder_layers"] == parent["decoder_layers"]]
    if not (decoder and encoder):
        return None
    one, half = max(decoder, key=lambda row: row["decoder_layers"]), encoder[0]
    most = "The decoder is where most of the time goes" if one["speed"] > half["speed"] else "By time saved"
    return (
        f"{most}: {one['decoder_layers']} instead of {parent['decoder_layers']} decoder layers make translation"
        f" {one['speed']:.2f} times as fast ({_change(parent, one)}), {half['layers']} instead of {parent['layers']}"
        f" encoder layers {half['speed']:.2f} times ({_change(parent, half)}), both without any fine-tuning."
    )


def _change(parent: dict, row: dict) -> str:
    loss = "" if None in (row.get("loss"), parent.get("loss")) else f", {row['loss'] - parent['loss']:+.2f} nats"
    return f"{row['metric'] - parent['metric']:+.1f} BLEU{loss}"


def _tuned(parent: dict, row: dict) -> str:
    low, high = parent.get("interval") or (parent["metric"], parent["metric"])
    place = "below" if row["metric"] < low else "above" if row["metric"] > high else "within"
    return (
        f"*{row['name']}* ({layers(row)} layers) is {place} the parent's 95 % interval of BLEU at {row['speed']:.2f}"
        f" times its speed ({_change(parent, row)})."
    )


def _poor(parent: dict) -> str | None:
    if parent["metric"] >= POOR:
        return None
    return (
        f"All of these are poor translations (BLEU {parent['metric']:.0f}): minutes of training on two cores are a"
        " demonstration. Models that differ by a point of BLEU are better compared by their losses."
    )
