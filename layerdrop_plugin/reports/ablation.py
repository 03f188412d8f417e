"""The page of an ablation: number of significant heads, table of the heads with the largest changes, heat map."""

from collections.abc import Mapping
from typing import Any

from ..evaluation.metric_names import METRICS, loss_unit
from ..evaluation.significance import LEAST
from ..provenance import examples_of, provenance_lines
from .figure import new_figure
from .page import Page, Table
from .rows import p_cell

SHOWN = 5  # heads at each end of the table
TITLES = {
    "each": "One head removed at a time",
    "all-but-one": "One attention at a time reduced to a single head",
}
_ATTENTIONS = {
    "encoder.self_attn": "encoder self-attention",
    "decoder.self_attn": "decoder self-attention",
    "decoder.encoder_attn": "encoder-decoder attention",
}
_NUMBERS = 16  # maximum number of heads in a layer for which the heat map shows numbers


def page_of(record: dict[str, Any]) -> Page:
    """The page of an ablation.

    Args:
        record: the record of evaluation/ablation_summary.py, together with the entries of ``Session.signature``.
    """
    bleu = record.get("bleu")
    return Page(
        name="ablation",
        title=TITLES[record["mode"]],
        table=_table(record),
        notes=_notes(record),
        figure=lambda: _heat_map(record),
        caption="heat map",
        provenance=provenance_lines([record], more=[bleu["signature"]] if bleu else []),
        record=record,
        findings=findings(record),
    )


def findings(record: Mapping[str, Any]) -> list[str]:
    """A sentence for each metric, with the number of heads that change it significantly."""
    one_left = record["mode"] != "each"
    how = "when all others of their attention are removed" if one_left else "when removed alone"
    lines = []
    for metric, found in record["summary"].items():
        name = METRICS[metric].name
        share = f"{found['significant']} of {found['tests']} heads ({found['significant'] / found['tests']:.0%})"
        direction = f"{found['worse']} for the worse, {found['better']} for the better"
        lines.append(f"{name}: {share} change it significantly {how} ({direction})")
        best = [entry[metric] for entry in _best(record) if metric in entry]
        if best:
            same = sum(not test["significant"] for test in best)
            lines.append(
                f"{name}: {same} of {len(best)} attentions can do with their best single head without a significant"
                " change"
            )
    if (selection := record.get("selection")) and not selection["chosen_on"]:
        lines.append(
            f"{record['examples']} examples are too few to choose heads by loss on one half and test them on the other"
            f" (at least {2 * LEAST}): {'tests of best heads' if one_left else 'tests of BLEU'} were left out"
        )
    return lines


def _table(record: Mapping[str, Any]) -> Table:
    units = {"loss": f" ({_unit(record)})", "accuracy": " (points)", "bleu": ""}
    columns = ["attention", "layer", "head"]
    for metric in record["summary"]:
        columns += [f"change of {METRICS[metric].name}{units[metric]}", "p", "p, Holm"]
    cells = [
        [_ATTENTIONS[entry["kind"]], str(entry["layer"]), str(entry["head"])]
        + [cell for metric in record["summary"] for cell in _cells(entry.get(metric), METRICS[metric].digits + 1)]
        for entry in shown(record)
    ]
    return Table(columns, cells)


def shown(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries of heads that the table shows.

    These are the best heads of the layers, if any were selected. Otherwise heads are sorted by descending change of the
    loss, and the first and last SHOWN of them are shown together with all heads that have BLEU.
    """
    if best := _best(record):
        return best
    ranked = sorted(record["heads"], key=lambda entry: -entry["loss"]["change"])
    middle = len(ranked) - SHOWN
    return [entry for place, entry in enumerate(ranked) if not SHOWN <= place < middle or "bleu" in entry]


def _best(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Entries of the best heads of the layers. In files of version 0.1.0 they were measured on the examples that they
    were selected on."""
    if "selection" in record:
        return record["best"] or []
    return [entry for entry in record["heads"] if entry.get("best")]


def _cells(test: Mapping[str, Any] | None, digits: int) -> list[str]:
    if test is None:
        return ["-", "-", "-"]
    mark = "*" if test["significant"] else ""
    return [f"{test['change']:+.{digits}f}{mark}", p_cell(test["p"]), p_cell(test["p_holm"])]


def _notes(record: Mapping[str, Any]) -> list[str]:
    whole = record["whole"]
    measured = [f"loss {whole['loss']:.4f} {_unit(record)}"]
    measured += [f"accuracy {whole['accuracy']:.2f} %"] if whole["accuracy"] is not None else []
    measured += [f"BLEU {whole['bleu']:.2f} ({record['bleu']['examples']} sentences)"] if whole["bleu"] else []
    tests = [f"{METRICS[metric].name}: {found['test']}" for metric, found in record["summary"].items()]
    lines = [
        f"The whole model: {', '.join(measured)}; {examples_of(record)}.",
        f"*: significant at {record['level']:g} (p by {record['correction']}'s method, over all tests of a metric).",
        f"Tests: {'; '.join(tests)}.",
    ]
    if (selection := record.get("selection")) and selection["chosen_on"]:
        drawn = f"were chosen by loss on {selection['chosen_on']} examples, drawn with seed {record['seed']}"
        if record["best"]:
            lines.append(
                f"The best heads {drawn}; the table has them as measured on the {selection['tested_on']} others, with p"
                " by Holm's method over the best heads alone."
            )
        else:
            lines.append(f"The heads that BLEU is measured of {drawn}; none of them was translated.")
    if "selection" not in record and record["mode"] != "each":
        lines.append("The best heads were chosen by loss on the same examples; the correction is for all heads tried.")
    return lines


def _unit(record: Mapping[str, Any]) -> str:
    return loss_unit(record["task"], record["per"])


def _heat_map(record: Mapping[str, Any]):
    """Heat map of the changes of the loss, layers x heads, with a panel for each kind of attention.

    Significant changes are bold; the best heads of their layers have a frame.
    """
    by_kind = {}
    for entry in record["heads"]:
        by_kind.setdefault(entry["kind"], []).append(entry)
    heads = [1 + max(entry["head"] for entry in entries) for entries in by_kind.values()]
    layers = 1 + max(entry["layer"] for entry in record["heads"])
    figure = new_figure(max(5.5, 1.8 + sum(0.7 * count + 0.9 for count in heads)), 0.5 * layers + 2.2)
    figure.suptitle(TITLES[record["mode"]], fontsize=12)
    framed = "; framed: the best single head of its layer" if "best" in record["heads"][0] else ""
    figure.supxlabel(f"bold: significant at {record['level']:g} ({record['correction']}){framed}", fontsize=8)
    panels = figure.subplots(1, len(heads), squeeze=False, width_ratios=heads)[0]
    reach = max(abs(entry["loss"]["change"]) for entry in record["heads"]) or 1.0
    for (kind, entries), count, axes in zip(by_kind.items(), heads, panels, strict=True):
        image = _panel(axes, entries, count, reach)
        axes.set_title(_ATTENTIONS[kind], fontsize=10, loc="left")
    figure.colorbar(image, ax=list(panels), label=f"change of the loss ({_unit(record)})")
    return figure


def _panel(axes, entries: list[dict[str, Any]], columns: int, reach: float):
    rows = 1 + max(entry["layer"] for entry in entries)
    values = [[float("nan")] * columns for _ in range(rows)]
    for entry in entries:
        values[entry["layer"]][entry["head"]] = entry["loss"]["change"]
    image = axes.imshow(values, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto")
    for entry in entries:
        _mark(axes, entry, columns <= _NUMBERS, reach)
    axes.set_xticks(range(columns))
    axes.set_yticks(range(rows))
    axes.set(xlabel="head", ylabel="layer", facecolor="0.85")  # grey: no such head
    axes.spines[:].set_visible(False)
    return image


def _mark(axes, entry: Mapping[str, Any], with_number: bool, reach: float) -> None:
    from matplotlib.patches import Rectangle

    change, bold = entry["loss"]["change"], entry["loss"]["significant"]
    digits = 2 if reach >= 0.5 else 3 if reach >= 0.05 else 4
    text = f"{change:+.{digits}f}" if with_number else "•" * bold
    colour = "white" if abs(change) > 0.6 * reach else "black" if bold else "0.35"
    weight = "bold" if bold else "normal"
    axes.text(entry["head"], entry["layer"], text, ha="center", va="center", fontsize=7, color=colour, weight=weight)
    if entry.get("best"):
        frame = {"fill": False, "edgecolor": "black", "linewidth": 1.5}
        axes.add_patch(Rectangle((entry["head"] - 0.46, entry["layer"] - 0.46), 0.92, 0.92, **frame))
