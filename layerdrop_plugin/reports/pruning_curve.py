"""The page about removing more and more heads or FFN units: how much can go, a table, a picture."""

from . import pruning_curve_figure as picture
from .page import examples, write_files
from .rows import markdown, plain

NAMES = {"loss": "loss", "accuracy": "accuracy", "bleu": "BLEU"}
_DIGITS = {"loss": 3, "accuracy": 1, "bleu": 2}
_UNITS = {"loss": "{limit:g} {unit}", "accuracy": "{limit:g} point of accuracy", "bleu": "{limit:g} point of BLEU"}


def write(folder, record):
    """Write curve.json, curve.md and curve.png into *folder*.

    Args:
        folder (str): made if needed.
        record (dict): `points`, `means`, `within` and `limits` as evaluation/curve.py has them, `settings`, and a
            session's signature.

    Returns:
        str: findings and table as plain text.

    Raises:
        LayerdropError: cannot write, or the picture cannot be drawn.
    """
    columns, cells = render(record)
    page = [f"# {title(record)}", "", *(f"{line}  " for line in summary(record)), "", markdown(columns, cells), ""]
    page += [*(f"{line}  " for line in notes(record)), "", "![curve](curve.png)", "", "## How this was obtained", ""]
    page += signature_lines(record)
    write_files(folder, "curve", "\n".join(page) + "\n", record, lambda path: picture.draw(path, record, title(record)))
    return "\n".join([*summary(record), "", plain(columns, cells)])


def title(record):
    """Of the page and the picture."""
    what = picture.PARTS[record["settings"]["what"]]
    return f"{what[0].upper()}{what[1:]} removed step by step"


def summary(record):
    """How much can go, a sentence for each metric and method."""
    what = picture.PARTS[record["settings"]["what"]]
    lines = []
    for metric, shares in record["within"].items():
        limit = _UNITS[metric].format(limit=record["limits"][metric], unit=picture.unit(record))
        found = ", ".join(f"{found['share']:.0%} by {method}{_again(found)}" for method, found in shares.items())
        lines.append(f"{NAMES[metric]}: the share of {what} that can go within {limit}: {found}")
    return lines


def _again(found):
    return f" (and again at {found['largest']:.0%})" if found["largest"] > found["share"] else ""


def render(record):
    """The table's head and its cells, as text.

    Returns:
        tuple[list[str], list[list[str]]]
    """
    whole = next(point for point in record["points"] if point["method"] is None)
    metrics = list(record["means"])
    methods = list(record["means"][metrics[0]])
    columns = ["removed", *(f"{NAMES[metric]}, {method}" for metric in metrics for method in methods)]
    rows = {0.0: {(metric, method): whole[metric] for metric in metrics for method in methods}}
    for metric in metrics:
        for method in methods:
            for removed, mean, *_ in record["means"][metric][method]:
                rows.setdefault(removed, {})[metric, method] = mean
    cells = []
    for removed, found in sorted(rows.items()):
        places = [(metric, method) for metric in metrics for method in methods]
        cells.append([f"{removed:.0%}", *(_cell(found.get(place), _DIGITS[place[0]]) for place in places)])
    return columns, cells


def _cell(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def notes(record):
    """What a reader must know to read the table."""
    settings, seeds = record["settings"], {point["seed"] for point in record["points"] if point["method"] == "random"}
    lines = [
        f"Loss in {picture.unit(record)}; accuracy in percent. Parts compete by the ranking {settings['ranking']}."
    ]
    if seeds:
        lines.append(f"random: the mean over {len(seeds)} seeds; in the picture the band is from least to greatest.")
    again = "after each step" if settings["re_estimate"] else "once, on the whole model"
    lines.append(f"Scores that depend on data were estimated {again}.")
    lines.append("A share can go if the metric stays within the limit there and at every smaller share measured.")
    return lines


def signature_lines(record):
    """What the numbers were measured with, one fact a line of a Markdown list."""
    made, settings = record["checkpoint"], record["settings"]
    lines = [
        f"checkpoint {made['path']} sha256 {made['sha256'][:16]}",
        f"data: split {record['split']}, {examples(record)}, sha256 {record['data_sha256']}",
        "scores: " + (", ".join(f"{name} {value}" for name, value in settings["scores"].items()) or "need no data"),
        f"seed {record['seed']}, device {record['device']}",
        "versions: " + " | ".join(f"{name} {version}" for name, version in record["versions"].items()),
    ]
    lines += (
        [f"BLEU: at most {settings['bleu']['max_examples']} sentences, beam {settings['bleu']['beam']}"]
        if settings["bleu"]
        else []
    )
    lines += [f"`{record['command']}`"] if record["command"] else []
    return [f"- {line}" for line in lines]
