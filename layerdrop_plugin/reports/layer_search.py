"""The page of a search for layers: the best subset against every other layer, a table of the best, their losses."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..evaluation.metric_names import METRICS, loss_unit
from ..provenance import examples_of, provenance_lines
from .figure import bare, new_figure
from .page import Page, Table
from .rows import or_dash, p_cell

SHOWN = 20  # maximum number of ranked subsets in the table and in the picture
_HALVES = ("chosen_on", "tested_on")


def page_of(record: dict[str, Any]) -> Page:
    """The page of a search.

    Args:
        record: the record of evaluation/search_summary.py, together with the entries of ``Session.signature``.
    """
    search, bleu = record["search"], record["bleu"]
    title = f"The best {search['keep']} of the {search['layers']} layers of the {search['stack']}"
    sentences = bleu and " and ".join(map(str, bleu["examples"]))
    more = [f"BLEU: {sentences} sentences, beam {bleu['beam']}, {bleu['signature']}"] if bleu else []
    return Page(
        name="search",
        title=title,
        table=_table(record),
        notes=_notes(record),
        figure=lambda: _figure(record, title),
        caption="losses of the subsets, and the layers that they keep",
        provenance=provenance_lines([record], more=more),
        record=record,
        findings=findings(record),
    )


def findings(record: Mapping[str, Any]) -> list[str]:
    """Sentences about the best subset, every other layer, the whole model, and the time."""
    search, test, time = record["search"], record["test"], record["time"]
    metric, unit = METRICS[test["metric"]], _unit(record) if test["metric"] == "loss" else ""
    runs = record["layer_evaluations"]
    lines = [
        f"the best of {record['compared']:,} subsets of {search['keep']} of the {search['stack']}'s"
        f" {search['layers']} layers ({search['method']} search): {_layers(record['best'])}:"
        f" {_both(record['best'], record)}",
        f"every other layer (even:{search['keep']}): {_layers(record['every_other'])}:"
        f" {_both(record['every_other'], record)}",
        f"the whole model: {_both(record['whole'], record)}",
    ]
    if record["best"]["layers"] == record["every_other"]["layers"]:
        lines.append("the best subset is every other layer itself")
    else:
        lines.append(
            f"the best against every other layer, on the half that did not choose: {metric.name}"
            f" {test['difference']:+.{metric.digits + 1}f}{f' {unit}' if unit else ''}, p = {p_cell(test['p'])}"
            f" ({test['test']})"
        )
    reached = "not measured" if time["reached"] is None else f"{time['reached']:.2f} measured"
    lines.append(
        f"layers run for a batch: {runs['shared']:,}, not {runs['alone']:,}; time as a share of every subset's by"
        f" itself: {time['expected']:.2f} expected, {reached}"
    )
    return lines


def _both(entry: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """The metrics of *entry* in words, each on both halves."""
    told = []
    for name in _metrics(record):
        chosen, tested = (f"{entry[half][name]:.{METRICS[name].digits + 1}f}" for half in _HALVES)
        told.append(f"{METRICS[name].name} {chosen} on the half that chose, {tested} on the other")
    return "; ".join(told)


def _metrics(record: Mapping[str, Any]) -> list[str]:
    """The metrics that were measured, that of the search first."""
    measured = [name for name in ("loss", "accuracy", "bleu") if record["best"]["chosen_on"][name] is not None]
    return sorted(measured, key=lambda name: name != record["search"]["metric"])


def _table(record: Mapping[str, Any]) -> Table:
    metrics = _metrics(record)
    columns = ["", "layers kept"]
    columns += [f"{METRICS[name].name}, {half}" for name in metrics for half in ("chosen on", "tested on")]
    cells = []
    for name, entry in _rows(record):
        cells.append([name, _layers(entry)])
        for metric in metrics:
            cells[-1] += [
                or_dash((entry[half] or {}).get(metric), f".{METRICS[metric].digits + 1}f") for half in _HALVES
            ]
    return Table(columns, cells, left=["layers kept"])


def _rows(record: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Names and entries of the table's rows."""
    keep = record["search"]["keep"]
    yield "whole model", record["whole"]
    for size in record["sizes"]:
        if size["size"] > keep:
            yield f"{size['size']}: best", size["best"]
            yield f"{size['size']}: every other", size["every_other"]
    for rank, entry in enumerate(record["ranked"][:SHOWN], 1):
        if entry["tested_on"] and rank != record["rank_of_every_other"]:
            yield f"{keep}: rank {rank}", entry
    rank = record["rank_of_every_other"]
    yield f"{keep}: every other{f', rank {rank}' if rank else ''}", record["every_other"]


def _layers(entry: Mapping[str, Any]) -> str:
    return ",".join(map(str, entry["layers"]))


def _notes(record: Mapping[str, Any]) -> list[str]:
    chosen, tested = (record[half]["examples"] for half in _HALVES)
    labels = "" if record["per"] == "token" else "; labels are in equal shares in both"
    lines = [
        f"Loss in {_unit(record)}; accuracy in percent. {examples_of(record)}, split at random with seed"
        f" {record['seed']}: subsets were compared on {chosen} of them, and the best of them tested on the {tested}"
        f" others. Equal texts are in one half{labels}.",
        "Every other: evenly spaced layers, by the rule even:N; every other one if half of them are kept.",
        "plan.json keeps the best subset: `layerdrop prune PARENT CHILD --plan plan.json`. search.json has"
        f" plans for {'the best ' if len(record['ranked']) < record['compared'] else 'all '}{len(record['ranked']):,}.",
    ]
    if record["sizes"]:
        lines.append("plan-N.json keeps the best N layers that were found on the way.")
    if record["search"]["metric"] == "bleu":
        lines.append("Subsets were compared by loss, and the best of them ranked again by BLEU.")
    return lines


def _unit(record: Mapping[str, Any]) -> str:
    return loss_unit(record["task"], record["per"])


def _figure(record: Mapping[str, Any], title: str):
    """Losses by rank, or by the number of layers kept; and a grid with the layers that the best subsets keep."""
    rows = [(name, entry) for name, entry in _rows(record) if name != "whole model"][: 2 * SHOWN]
    figure = new_figure(11, max(4.4, 0.24 * len(rows) + 1.8))
    figure.suptitle(title, fontsize=13)
    losses, grid = figure.subplots(1, 2, width_ratios=[1.2, 1])
    (_by_size if record["sizes"] else _by_rank)(losses, record)
    losses.axhline(
        record["whole"]["tested_on"]["loss"],
        color="0.45",
        linewidth=1,
        linestyle="--",
        label="whole model, on the other",
    )
    losses.set_ylabel(METRICS["loss"].label(_unit(record)))
    losses.legend(fontsize=9, frameon=False)
    bare(losses)
    _grid(grid, rows, record["search"]["layers"])
    return figure


def _by_rank(axes, record: Mapping[str, Any]) -> None:
    axes.plot(
        range(1, len(record["losses"]) + 1), record["losses"], color="C0", label="all subsets, on the half that chose"
    )
    places = {name: 1 + record["losses"].index(record[name]["chosen_on"]["loss"]) for name in ("best", "every_other")}
    for colour, (name, place) in enumerate(places.items(), 1):
        values = [record[name][half]["loss"] for half in _HALVES]
        axes.plot(
            [place], values[:1], "o", color=f"C{colour}", label=f"{name.replace('_', ' ')}, on the half that chose"
        )
        axes.plot(
            [place],
            values[1:],
            "o",
            color=f"C{colour}",
            fillstyle="none",
            label=f"{name.replace('_', ' ')}, on the other",
        )
    axes.set_xlabel("rank by loss")


def _by_size(axes, record: Mapping[str, Any]) -> None:
    for colour, name in enumerate(("best", "every_other")):
        for half, style, where in (("chosen_on", ":", "on the half that chose"), ("tested_on", "-", "on the other")):
            entries = [(size["size"], size[name][half]["loss"]) for size in record["sizes"]]
            label = f"{name.replace('_', ' ')}, {where}"
            axes.plot(*zip(*entries, strict=True), style, color=f"C{colour}", marker="o", markersize=4, label=label)
    axes.set_xlabel("layers kept")
    axes.xaxis.get_major_locator().set_params(integer=True)


def _grid(axes, rows: Sequence[tuple[str, Mapping[str, Any]]], layers: int) -> None:
    """A row for each subset, a column for each layer, dark if it is kept."""
    kept = [[int(layer in entry["layers"]) for layer in range(layers)] for _, entry in rows]
    axes.pcolormesh(kept, cmap="Blues", vmin=0, vmax=1.3, edgecolors="white")
    axes.set_yticks([place + 0.5 for place in range(len(rows))], [name for name, _ in rows], fontsize=8)
    axes.set_xticks([layer + 0.5 for layer in range(layers)], range(layers), fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="layer", title="dark: kept")
    axes.spines[:].set_visible(False)
