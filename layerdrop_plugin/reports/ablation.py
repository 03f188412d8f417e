"""The page about an ablation: how many heads matter, the most and the least important ones, a heat map."""

from ..evaluation.significance import LEAST
from . import heat_map
from .page import examples, write_files
from .rows import markdown, p_cell, plain

SHOWN = 5  # heads at each end of the table
_NAMES = {"loss": "loss", "accuracy": "accuracy", "bleu": "BLEU"}
_DIGITS = {"loss": 4, "accuracy": 2, "bleu": 2}


def write(folder, record):
    """Write ablation.json, ablation.md and ablation.png into *folder*.

    Args:
        folder (str): made if needed.
        record (dict): what evaluation/ablation_summary.py gives, with a session's signature.

    Returns:
        str: findings and table as plain text.

    Raises:
        LayerdropError: cannot write, or the picture cannot be drawn.
    """
    columns, cells = render(record)
    page = [f"# {title(record)}", "", *(f"{line}  " for line in summary(record)), ""]
    page += [markdown(columns, cells, columns[:1]), "", *(f"{line}  " for line in notes(record)), ""]
    page += ["![heat map](ablation.png)", "", "## How this was obtained", "", *signature_lines(record)]
    write_files(
        folder, "ablation", "\n".join(page) + "\n", record, lambda path: heat_map.draw(path, record, title(record))
    )
    return "\n".join([*summary(record), "", plain(columns, cells, columns[:1])])


def title(record):
    """Of the page and the picture."""
    if record["mode"] == "each":
        return "One head removed at a time"
    return "One attention at a time reduced to a single head"


def summary(record):
    """The finding, a sentence for each metric."""
    one_left = record["mode"] != "each"
    how = "when all others of their attention are removed" if one_left else "when removed alone"
    lines = []
    for metric, found in record["summary"].items():
        share = f"{found['significant']} of {found['tests']} heads ({found['significant'] / found['tests']:.0%})"
        direction = f"{found['worse']} for the worse, {found['better']} for the better"
        lines.append(f"{_NAMES[metric]}: {share} change it significantly {how} ({direction})")
        best = [entry[metric] for entry in record.get("best") or [] if metric in entry]
        if best:
            same = sum(not test["significant"] for test in best)
            lines.append(
                f"{_NAMES[metric]}: {same} of {len(best)} attentions can do with their best single head without a"
                " significant change"
            )
    if (selection := record.get("selection")) and not selection["chosen_on"]:
        lines.append(
            f"{record['examples']} examples are too few to choose heads by loss on one half and test them on the other"
            f" (at least {2 * LEAST}): {'tests of best heads' if one_left else 'tests of BLEU'} were left out"
        )
    return lines


def render(record):
    """The table's head and its cells, as text.

    Returns:
        tuple[list[str], list[list[str]]]
    """
    metrics = list(record["summary"])
    units = {"loss": f" ({heat_map.unit(record)})", "accuracy": " (points)", "bleu": ""}
    columns = ["attention", "layer", "head"]
    for metric in metrics:
        columns += [f"change of {_NAMES[metric]}{units[metric]}", "p", "p, Holm"]
    cells = [
        [heat_map.TITLES[entry["kind"]], str(entry["layer"]), str(entry["head"])]
        + [cell for metric in metrics for cell in _cells(entry.get(metric), _DIGITS[metric])]
        for entry in shown(record)
    ]
    return columns, cells


def shown(record):
    """The entries in the table: of a removal the ends of the ranking by loss and those with BLEU, most important first;
    else the best of each layer."""
    if record.get("best"):
        return record["best"]
    ranked = sorted(record["heads"], key=lambda entry: -entry["loss"]["change"])
    if len(ranked) <= 2 * SHOWN:
        return ranked
    middle = [entry for entry in ranked[SHOWN:-SHOWN] if "bleu" in entry]
    return [*ranked[:SHOWN], *middle, *ranked[-SHOWN:]]


def _cells(test, digits):
    if test is None:
        return ["-", "-", "-"]
    mark = "*" if test["significant"] else ""
    return [f"{test['change']:+.{digits}f}{mark}", p_cell(test["p"]), p_cell(test["p_holm"])]


def notes(record):
    """What a reader must know to read the table."""
    whole = record["whole"]
    measured = [f"loss {whole['loss']:.4f} {heat_map.unit(record)}"]
    measured += [f"accuracy {whole['accuracy']:.2f} %"] if whole["accuracy"] is not None else []
    measured += [f"BLEU {whole['bleu']:.2f} ({record['bleu']['examples']} sentences)"] if whole["bleu"] else []
    tests = [f"{_NAMES[metric]}: {found['test']}" for metric, found in record["summary"].items()]
    lines = [
        f"The whole model: {', '.join(measured)}; {examples(record)}.",
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
    return lines


def signature_lines(record):
    """What the numbers were measured with, one fact a line of a Markdown list."""
    made = record["checkpoint"]
    lines = [
        f"checkpoint {made['path']} sha256 {made['sha256'][:16]}",
        f"data: split {record['split']}, {examples(record)}, sha256 {record['data_sha256']}",
        f"seed {record['seed']}, device {record['device']}",
        "versions: " + " | ".join(f"{name} {version}" for name, version in record["versions"].items()),
    ]
    lines += [record["bleu"]["signature"]] if record.get("bleu") else []
    lines += [f"`{record['command']}`"] if record["command"] else []
    return [f"- {line}" for line in lines]
