"""The page of a pruning curve: the share of heads or FFN units that can be removed, a table, and the curves."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluation.metric_names import METRICS, loss_unit
from ..provenance import provenance_lines
from .figure import bare, new_figure
from .page import Page, Table
from .rows import or_dash

_PARTS = {"heads": "heads", "ffn": "FFN units"}


def page_of(record: dict[str, Any]) -> Page:
    """The page of a pruning curve.

    Args:
        record: ``settings`` and ``points`` (see evaluation/pruning_curve.py), the entries of
            ``pruning_curve.conclusions``, and those of ``Session.signature``.
    """
    settings, parts = record["settings"], _parts(record)
    scores = ", ".join(f"{name} {value}" for name, value in settings["scores"].items()) or "need no data"
    more, bleu = [f"scores: {scores}"], settings["bleu"]
    more += [f"BLEU: at most {bleu['max_examples']} sentences, beam {bleu['beam']}"] if bleu else []
    title = f"{parts[0].upper()}{parts[1:]} removed step by step"
    return Page(
        name="curve",
        title=title,
        table=_table(record),
        notes=_notes(record),
        figure=lambda: _figure(record, title),
        caption="curve",
        provenance=provenance_lines([record], more=more),
        record=record,
        findings=findings(record),
    )


def findings(record: Mapping[str, Any]) -> list[str]:
    """A sentence for each metric, with the share of parts that each method can remove within the limit."""
    lines = []
    for metric, shares in record["within"].items():
        limit = METRICS[metric].amount(record["limits"][metric], _unit(record))
        found = ", ".join(f"{found['share']:.0%} by {method}{_again(found)}" for method, found in shares.items())
        lines.append(f"{METRICS[metric].name}: the share of {_parts(record)} that can go within {limit}: {found}")
    return lines


def _again(found: Mapping[str, float]) -> str:
    return f" (and again at {found['largest']:.0%})" if found["largest"] > found["share"] else ""


def _table(record: Mapping[str, Any]) -> Table:
    whole = _whole(record)
    lines = [(metric, method) for metric, methods in record["means"].items() for method in methods]
    rows = {0.0: {line: whole[line[0]] for line in lines}}
    for metric, method in lines:
        for removed, mean, *_ in record["means"][metric][method]:
            rows.setdefault(removed, {})[metric, method] = mean
    cells = [
        [f"{removed:.0%}", *(or_dash(means.get(line), f".{METRICS[line[0]].digits}f") for line in lines)]
        for removed, means in sorted(rows.items())
    ]
    return Table(["removed", *(f"{METRICS[metric].name}, {method}" for metric, method in lines)], cells)


def _notes(record: Mapping[str, Any]) -> list[str]:
    settings, seeds = record["settings"], {point["seed"] for point in record["points"] if point["method"] == "random"}
    lines = [f"Loss in {_unit(record)}; accuracy in percent. Parts compete by the ranking {settings['ranking']}."]
    if seeds:
        lines.append(f"random: the mean over {len(seeds)} seeds; in the picture the band is from least to greatest.")
    again = "after each step" if settings["re_estimate"] else "once, on the whole model"
    lines.append(f"Scores that depend on data were estimated {again}.")
    lines.append("A share can go if the metric stays within the limit there and at every smaller share measured.")
    return lines


def _parts(record: Mapping[str, Any]) -> str:
    return _PARTS[record["settings"]["what"]]


def _unit(record: Mapping[str, Any]) -> str:
    return loss_unit(record["task"], record["settings"]["per"])


def _whole(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(point for point in record["points"] if point["method"] is None)


def _figure(record: Mapping[str, Any], title: str):
    """A panel for each metric, with a line for each method and a dashed line at the limit of the findings."""
    whole, metrics = _whole(record), list(record["means"])
    figure = new_figure(5.6 * len(metrics), 4.4)
    figure.suptitle(title, fontsize=13)
    for name, axes in zip(metrics, figure.subplots(1, len(metrics), squeeze=False)[0], strict=True):
        metric, far = METRICS[name], record["limits"][name]
        for colour, (method, line) in enumerate(record["means"][name].items()):
            _line(axes, f"C{colour}", method, whole[name], line)
        limit = whole[name] + metric.worse * far
        axes.axhline(limit, color="0.45", linewidth=1, linestyle="--")
        text, shift = ("above", 3) if metric.worse > 0 else ("point below", -11)
        where = {"xytext": (0, shift), "textcoords": "offset points"}
        axes.annotate(f"{far:g} {text} the whole model", (0.0, limit), **where, fontsize=8, color="0.45")
        label = metric.label(_unit(record) if name == "loss" else "")
        axes.set(xlabel=f"share of {_parts(record)} removed", ylabel=label, xlim=(-0.02, 1.02))
        bare(axes)
    figure.axes[0].legend(fontsize=9, frameon=False)
    return figure


def _line(axes, colour: str, method: str, whole: float, line: Sequence[Sequence[float]]) -> None:
    """Draw the means of one method, starting at the *whole* model's metric, and the range over seeds as a band."""
    x, means, low, high = zip((0.0, *[whole] * 3), *line, strict=True)
    axes.plot(x, means, color=colour, marker="o", markersize=4, label=method)
    if low != high:
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
