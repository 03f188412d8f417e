"""The heat map of an ablation: layers x heads, a panel for each kind of attention."""

from .figure import new_figure

TITLES = {
    "encoder.self_attn": "encoder self-attention",
    "decoder.self_attn": "decoder self-attention",
    "decoder.encoder_attn": "encoder-decoder attention",
}
_NUMBERS = 16  # columns up to which the cells have their numbers written in them


def draw(path, record, title):
    """Draw the change of the loss by head as a PNG file; significant ones are bold, the best of a layer are framed.

    Args:
        path (str): file to write, whatever its name.
        record (dict): what evaluation/ablation_summary.py gives.
        title (str): of the picture.

    Raises:
        LayerdropError: matplotlib is not installed.
    """
    kinds = list(dict.fromkeys(entry["kind"] for entry in record["heads"]))
    grids = {kind: [entry for entry in record["heads"] if entry["kind"] == kind] for kind in kinds}
    columns = {kind: 1 + max(entry["head"] for entry in grids[kind]) for kind in kinds}
    rows = 1 + max(entry["layer"] for entry in record["heads"])
    figure = new_figure(max(5.5, 1.8 + sum(0.7 * count + 0.9 for count in columns.values())), 0.5 * rows + 2.2)
    figure.suptitle(title, fontsize=12)
    figure.supxlabel(caption(record), fontsize=8)
    panels = figure.subplots(1, len(kinds), squeeze=False, width_ratios=list(columns.values()))[0]
    reach = max(abs(entry["loss"]["change"]) for entry in record["heads"]) or 1.0
    for kind, axes in zip(kinds, panels, strict=True):
        image = _panel(axes, grids[kind], columns[kind], reach)
        axes.set_title(TITLES[kind], fontsize=10, loc="left")
    figure.colorbar(image, ax=list(panels), label=f"change of the loss ({unit(record)})")
    figure.savefig(path, format="png")


def caption(record):
    """What the marks mean, in one line."""
    bold = f"bold: significant at {record['level']:g} ({record['correction']})"
    return bold + ("; framed: the best single head of its layer" if "best" in record["heads"][0] else "")


def unit(record):
    """What the loss is counted in."""
    return f"{'squared error' if record['task'] == 'regression' else 'nats'} per {record['per']}"


def _panel(axes, entries, columns, reach):
    rows = 1 + max(entry["layer"] for entry in entries)
    values = [[float("nan")] * columns for _ in range(rows)]
    for entry in entries:
        values[entry["layer"]][entry["head"]] = entry["loss"]["change"]
    image = axes.imshow(values, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto")
    for entry in entries:
        _mark(axes, entry, columns, reach)
    axes.set_xticks(range(columns))
    axes.set_yticks(range(rows))
    axes.set(xlabel="head", ylabel="layer", facecolor="0.85")  # grey: no such head
    axes.spines[:].set_visible(False)
    return image


def _mark(axes, entry, columns, reach):
    from matplotlib.patches import Rectangle

    change, bold = entry["loss"]["change"], entry["loss"]["significant"]
    text = f"{change:+.{_digits(reach)}f}" if columns <= _NUMBERS else "•" * bold
    colour = "white" if abs(change) > 0.6 * reach else "black" if bold else "0.35"
    weight = "bold" if bold else "normal"
    axes.text(entry["head"], entry["layer"], text, ha="center", va="center", fontsize=7, color=colour, weight=weight)
    if entry.get("best"):
        frame = {"fill": False, "edgecolor": "black", "linewidth": 1.5}
        axes.add_patch(Rectangle((entry["head"] - 0.46, entry["layer"] - 0.46), 0.92, 0.92, **frame))


def _digits(reach):
    """Digits after the point that tell changes up to *reach* apart."""
    return 2 if reach >= 0.5 else 3 if reach >= 0.05 else 4
