"""The page at the end of recipes/compare_strategies.sh: python -m layerdrop_plugin.reports.strategies RESULTS FOLDER

RESULTS is a folder of results of `layerdrop evaluate` whose names say what a model is: "PARENT", or "PARENT | GROUP |
STRATEGY | TREATMENT" for a child, such as "LayerDrop 0.3 | 4 of 12 layers | first | fine-tuned". The page,
strategies.md, .html, .json and .png, compares the strategies of each group, on each parent and with each treatment.

Entries of strategies.json: type, version, metric (name of the headline), parents (PARENT -> spread), results (without
answers), command, versions, and

    rows    an entry for each strategy: parent, group, strategy, kept (layers kept of the oldest ancestor, or null where
            seeds differ), parameters (mean over seeds) and treatments: TREATMENT -> spread
    tests   an entry for each planned comparison (strategy_comparisons.py): parent, first and second ([group, strategy,
            treatment] each), seeds, difference (second minus first), p, p_holm (over all tests of the page), and test

A *spread* is {"seeds", "mean", "low", "high"} over seeds, with "interval", the 95 % interval of the choice of test
examples at one seed, and null at several.
"""

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import LayerdropError
from ..evaluation.metric_names import metric_of
from ..evaluation.significance import LEVEL
from ..provenance import made_with, provenance_lines
from ..results.record import for_page, load, refuse_other_tests, refuse_twins
from .figure import bare, new_figure
from .page import Page, Section, Table
from .rows import p_cell
from .strategy_comparisons import TREATMENTS, planned_tests

TYPE, TITLE = "layerdrop.strategies", "Strategies for what to keep"
_COLOURS = dict(zip(TREATMENTS, ("C0", "C4", "C1", "C2"), strict=True))


def record_of(folder: str | os.PathLike, command: str | None = None) -> dict[str, Any]:
    """The record of the results in *folder*, see the module's docstring.

    Raises:
        LayerdropError: there are no results, they were measured on different data, or a name is not as it should be.
    """
    results = load([folder])
    refuse_other_tests(results)
    refuse_twins(results)
    by_name: dict[tuple[str, ...], list[dict]] = {}
    for result in results:
        by_name.setdefault(_parts(result["name"]), []).append(result)
    parents = {name[0]: _spread(found) for name, found in by_name.items() if len(name) == 1}
    rows: dict[tuple[str, ...], dict] = {}
    for name, found in by_name.items():
        if len(name) == 1:
            continue
        if name[0] not in parents:
            raise LayerdropError(f"there are results of children of '{name[0]}', and none of itself")
        row = rows.setdefault(name[:3], dict(zip(("parent", "group", "strategy"), name, strict=False)))
        if "treatments" not in row:
            row |= {"kept": _kept(found), "parameters": _parameters(found), "treatments": {}}
        row["treatments"][name[3]] = _spread(found)
    return {
        "type": TYPE,
        "version": 1,
        "metric": results[0]["metric"]["name"],
        "parents": parents,
        "rows": list(rows.values()),
        "tests": planned_tests(by_name, results[0]["metric"]["name"]),
        "results": [for_page(result) for result in results],
        **made_with(command),
    }


def _parts(name: str) -> tuple[str, ...]:
    parts = tuple(name.split(" | "))
    if len(parts) not in (1, 4) or (len(parts) == 4 and parts[3] not in TREATMENTS):
        raise LayerdropError(f"'{name}' is no name of the form PARENT | GROUP | STRATEGY | {' or '.join(TREATMENTS)}")
    return parts


def _spread(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    values = [result["metric"]["value"] for result in found]
    return {
        "seeds": sorted(result["seed"] for result in found),
        "mean": statistics.fmean(values),
        "low": min(values),
        "high": max(values),
        "interval": found[0]["interval"] if len(found) == 1 else None,
    }


def _kept(found: Sequence[Mapping[str, Any]]) -> list[int] | None:
    kept = [((result["plan"] or {}).get("encoder") or {}).get("layers") for result in found]
    return kept[0] if all(layers == kept[0] for layers in kept) else None


def _parameters(found: Sequence[Mapping[str, Any]]) -> int:
    return round(statistics.fmean(result["checkpoint"]["parameters"] for result in found))


def page_of(record: dict[str, Any]) -> Page:
    """The page of a *record* of :func:`record_of`."""
    first = record["results"][0]
    seeds = sorted({seed for spread in record["parents"].values() for seed in spread["seeds"]})
    return Page(
        name="strategies",
        title=TITLE,
        table=_table(record),
        notes=[
            f"{first['metric']['name']}: on the {first['examples']:,} examples of '{first['split']}',"
            + (f" the mean over {len(seeds)} seeds (least to greatest)." if len(seeds) > 1 else " one seed."),
            "Strategies of a group that keep the same layers are the same model. layers: of the oldest ancestor; those"
            " that differ between seeds are left out. The parents stand under as cut.",
            "The best of the table was not named before; chosen on these examples, it is less good on others.",
            f"In the picture: {_bars(record)}; dashed: the parent as it is.",
        ],
        figure=lambda: _figure(record),
        caption="strategies, a panel for each parent and group",
        provenance=provenance_lines(record["results"], record["command"]),
        record=record,
        findings=findings(record),
        more=_sections(record),
    )


def findings(record: Mapping[str, Any]) -> list[str]:
    """A sentence for each parent and group: the metric with each treatment, over the strategies."""
    metric, lines = metric_of(record["metric"]), []
    for parent, group in dict.fromkeys((row["parent"], row["group"]) for row in record["rows"]):
        rows = [row for row in record["rows"] if (row["parent"], row["group"]) == (parent, group)]
        told = []
        for treatment in TREATMENTS:
            means = [row["treatments"][treatment]["mean"] for row in rows if treatment in row["treatments"]]
            if means:
                low, mean, high = (
                    f"{value:.{metric.digits}f}" for value in (min(means), statistics.fmean(means), max(means))
                )
                told.append(f"{treatment} {mean}" + (f" ({low} to {high})" if len(means) > 1 else ""))
        whole = f"{record['parents'][parent]['mean']:.{metric.digits}f}"
        lines.append(
            f"**{parent}, {group}**: mean {metric.label()} over strategies (least to greatest) {', '.join(told)};"
            f" whole {whole}"
        )
    return lines


def _table(record: Mapping[str, Any]) -> Table:
    digits = metric_of(record["metric"]).digits
    used = [name for name in TREATMENTS if any(name in row["treatments"] for row in record["rows"])]
    cells = [
        [row["parent"], row["group"], row["strategy"], ",".join(map(str, row["kept"] or ())) or "-"]
        + [f"{row['parameters']:,}", *(_cell(row["treatments"].get(name), digits) for name in used)]
        for row in record["rows"]
    ]
    wholes = [
        [name, "all of it", "the parent itself", "-", "-", _cell(spread, digits), *["-"] * (len(used) - 1)]
        for name, spread in record["parents"].items()
    ]
    columns = ["parent", "kept", "strategy", "layers", "parameters", *used]
    return Table(columns, [*wholes, *cells], columns[:4])


def _cell(spread: Mapping[str, Any] | None, digits: int) -> str:
    if spread is None:
        return "-"
    mean, low, high = (f"{spread[part]:.{digits}f}" for part in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})" if len(spread["seeds"]) > 1 else mean


def _sections(record: Mapping[str, Any]) -> list[Section]:
    if not record["tests"]:
        return []
    digits = metric_of(record["metric"]).digits + 1
    cells = [
        [test["parent"], _side(test["first"]), _side(test["second"], test["first"][0])]
        + [
            f"{test['difference']:+.{digits}f}{'*' * (test['p_holm'] < LEVEL)}",
            p_cell(test["p"]),
            p_cell(test["p_holm"]),
        ]
        for test in record["tests"]
    ]
    table = Table(["parent", "first", "second", "second - first", "p", "p, Holm"], cells, ["first", "second"])
    names = ", ".join(dict.fromkeys(test["test"] for test in record["tests"]))
    note = (
        f"Chosen before the results were seen: {names}, two-sided, on the same examples and seed by seed; p is of the"
        f" choice of examples, not of the seeds. *: significant at {LEVEL:g} by Holm's method over these {len(cells)}"
        " tests."
    )
    return [Section("Planned comparisons", table, [note])]


def _side(names: Sequence[str], beside: str = "") -> str:
    group, strategy, treatment = names
    return f"{strategy}, {treatment}" + (f", {group}" if group != beside else "")


def _bars(record: Mapping[str, Any]) -> str:
    """What the error bars of the picture are."""
    spreads = [spread for row in record["rows"] for spread in row["treatments"].values()]
    if any(len(spread["seeds"]) > 1 for spread in spreads):
        return "dots are means over seeds, bars reach from the least to the greatest"
    return "bars are 95 % intervals of the choice of test examples, at one seed"


def _figure(record: Mapping[str, Any]):
    """A panel for each group and parent, a line for each strategy, a dot for each treatment."""
    parents = list(record["parents"])
    groups = list(dict.fromkeys(row["group"] for row in record["rows"]))
    lines = {
        group: list(dict.fromkeys(row["strategy"] for row in record["rows"] if row["group"] == group))
        for group in groups
    }
    heights = [len(lines[group]) + 1.5 for group in groups]
    figure = new_figure(3.2 + 3.4 * len(parents), 0.42 * sum(heights) + 1.6)
    figure.suptitle(TITLE, fontsize=13)
    figure.supxlabel(f"{metric_of(record['metric']).label()}; {_bars(record)}; dashed: the parent", fontsize=9)
    panels = figure.subplots(len(groups), len(parents), squeeze=False, sharex="row", height_ratios=heights)
    for group, across in zip(groups, panels, strict=True):
        for parent, axes in zip(parents, across, strict=True):
            rows = [row for row in record["rows"] if (row["parent"], row["group"]) == (parent, group)]
            axes.set_visible(bool(rows))
            _panel(axes, rows, lines[group], record["parents"][parent]["mean"])
            axes.set_title(f"{parent}: {group}", fontsize=9, loc="left")
            if axes is not across[0]:
                axes.set_yticklabels([])
    labelled = [pair for axes in panels.flat for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in labelled}
    shown = [name for name in TREATMENTS if name in handles]
    figure.legend(
        [handles[name] for name in shown], shown, loc="outside upper right", ncols=len(shown), fontsize=9, frameon=False
    )
    return figure


def _panel(axes, rows: Sequence[Mapping[str, Any]], strategies: Sequence[str], whole: float) -> None:
    treatments = [name for name in TREATMENTS if any(name in row["treatments"] for row in rows)]
    for place, treatment in enumerate(treatments):
        shift = 0.16 * (place - (len(treatments) - 1) / 2)
        for row in (row for row in rows if treatment in row["treatments"]):
            spread = row["treatments"][treatment]
            low, high = spread["interval"] or (spread["low"], spread["high"])
            reach = [[max(0.0, spread["mean"] - low)], [max(0.0, high - spread["mean"])]]
            style = {"fmt": "o", "markersize": 4, "capsize": 2, "linewidth": 1}
            axes.errorbar(
                [spread["mean"]], [strategies.index(row["strategy"]) + shift], xerr=reach,
                color=_COLOURS[treatment], label=treatment, **style,
            )  # fmt: skip
    axes.axvline(whole, color="0.45", linewidth=1, linestyle="--")
    axes.set_yticks(range(len(strategies)), strategies, fontsize=8)
    axes.set_ylim(len(strategies) - 0.5, -0.5)
    bare(axes)


if __name__ == "__main__":
    try:
        found = page_of(
            record_of(sys.argv[1], f"python -m layerdrop_plugin.reports.strategies {sys.argv[1]} {sys.argv[2]}")
        )
        found.write(sys.argv[2])
        print(found.plain())
    except LayerdropError as error:
        sys.exit(f"layerdrop: error: {error}")
