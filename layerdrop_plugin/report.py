"""Results and latencies become one table, a Markdown page with its signature, a JSON file and a picture.

A *row* is a model over its seeds:

    name, layers, parameters  as in its results, which must agree
    weight_bytes              bytes of the learned tensors as stored, without optimizer state and other contents
    ms_per_sentence           {batch size: median milliseconds}, empty where not measured
    relative_time             time at the largest batch size over the first model's, or null
    seeds                     the seeds, ascending
    metric, low, high         mean, least and greatest value over seeds, in the metric's unit (see score.py)
    interval                  95 % interval at the mean, for one test set of that size, or null. It speaks of the choice
                              of test examples; what another seed does is what low and high show.
"""

import contextlib
import json
import statistics
from pathlib import Path

from tabulate import tabulate

from . import checkpoint, picture, signature
from .errors import LayerdropError
from .score import interval

_RESULT, _LATENCY = "layerdrop.result", "layerdrop.latency"
_PERCENT = {"accuracy": "accuracy %", "mse": "mean squared error"}


def report(paths, latency, out, title, command=None):
    """Write report.md, report.json and report.png into a folder.

    Args:
        paths (Sequence[str]): result files, or folders that are searched for them.
        latency (str | None): the file of `layerdrop latency`.
        out (str): the folder, made if needed.
        title (str): of the page and the picture.
        command (str | None): what was typed, for the record.

    Returns:
        str: the table as plain text.

    Raises:
        LayerdropError: a file is not what it should be, the results are of different tests, or cannot write.
    """
    results = load_results(paths)
    times = load_latency(latency) if latency else None
    rows = table_rows(results, times)
    metric = results[0]["metric"]["name"]
    columns, cells = render(rows, metric, times)
    lines = signature_lines(results, times, command)
    page = [f"# {title}", "", _markdown(columns, cells), "", *notes(results, times, rows)]
    page += ["", "![accuracy and cost](report.png)", "", "## How this was obtained", ""]
    page += [f"- {line}" for line in lines]
    record = {
        "type": "layerdrop.report",
        "version": 1,
        "title": title,
        "rows": rows,
        "results": results,
        "latency": times,
        "command": command,
        "versions": signature.versions(),
    }
    _write(Path(out), "\n".join(page) + "\n", json.dumps(record, indent=2) + "\n", rows, title, metric, times)
    return _plain(columns, cells)


def load_results(paths):
    """Read result files; folders are searched for `*.json`, and what is no result there is passed over.

    Returns:
        list[dict]: the results in the given order (by path within a folder), each file once.

    Raises:
        LayerdropError: nothing found, a named file is no result, or results that cannot stand in one table.
    """
    found = {}
    for path in map(Path, paths):
        files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        for file in files:
            content = _read_json(file)
            if content.get("type") == _RESULT:
                found[file.resolve()] = content
            elif not path.is_dir():
                raise LayerdropError(f"{file} is no result of `layerdrop score`")
    if not found:
        raise LayerdropError(f"no results of `layerdrop score` in {', '.join(map(str, paths))}")
    results = list(found.values())
    _check_comparable(results)
    return results


def load_latency(path):
    """Read a measurement of `layerdrop latency`.

    Raises:
        LayerdropError: it is none.
    """
    content = _read_json(Path(path))
    if content.get("type") != _LATENCY:
        raise LayerdropError(f"{path} is no measurement of `layerdrop latency`")
    return content


def table_rows(results, times=None):
    """Group results by name over seeds: rows as in the module's docstring, in the latency's order, then the results'.

    Raises:
        LayerdropError: models that differ although they have one name, or a latency without results.
    """
    groups = {}
    for result in results:
        groups.setdefault(result["name"], []).append(result)
    timed = {model["name"]: model for model in times["models"]} if times else {}
    if missing := [name for name in timed if name not in groups]:
        raise LayerdropError(f"no results for '{missing[0]}', only for {', '.join(groups)}")
    order = [*timed, *(name for name in groups if name not in timed)]
    return [_row(name, groups[name], timed.get(name)) for name in order]


def render(rows, metric, times=None):
    """The table's head and its cells, as text.

    Returns:
        tuple[list[str], list[list[str]]]
    """
    sizes = [str(size) for size in times["batch_sizes"]] if times else []
    base = times["models"][0]["name"] if times else None
    columns = ["model", "layers", "parameters", "weights (MB)", *(f"ms/sentence, batch {size}" for size in sizes)]
    columns += [f"time vs {base}, batch {max(map(int, sizes))}"] if times else []
    columns += [_PERCENT.get(metric, f"{metric} x 100"), "95 % interval"]
    digits = 3 if metric == "mse" else 1
    cells = []
    for row in rows:
        cell = [row["name"], str(row["layers"]), f"{row['parameters']:,}", f"{row['weight_bytes'] / 1e6:.2f}"]
        cell += [f"{row['ms_per_sentence'][size]:.2f}" if row["ms_per_sentence"] else "-" for size in sizes]
        if times:
            cell.append("-" if row["relative_time"] is None else f"{row['relative_time']:.2f}")
        found = row["interval"]
        cell += [_over_seeds(row, digits), f"{found[0]:.1f} to {found[1]:.1f}" if found else "-"]
        cells.append(cell)
    return columns, cells


def notes(results, times, rows):
    """What a reader must know to read the table."""
    metric, examples = results[0]["metric"]["name"], results[0]["examples"]
    text = ["weights (MB): bytes of the learned tensors as stored, in 10^6 bytes; a training checkpoint is larger."]
    if times:
        text.append(
            f"ms/sentence: median of {times['repeats']} passes over {times['sentences']} sentences "
            f"({times['mean_tokens']:.1f} tokens in the mean), the models in turn in one process, {times['threads']} "
            f"threads of {times['cpu']}."
        )
    text.append(
        f"{metric}: on the {examples:,} examples of '{results[0]['split']}'"
        + (", the mean over seeds (least to greatest)." if any(len(row["seeds"]) > 1 for row in rows) else ".")
    )
    if metric == "accuracy":
        text.append(
            f"95 % interval: Wilson's, at the mean number of right answers (rounded) out of {examples:,}. It speaks of "
            "the choice of test examples, not of the seeds; all models answer the same examples."
        )
    elif metric == "pearson":
        text.append(f"95 % interval: Fisher's z at the mean correlation, {examples:,} examples; not of the seeds.")
    return [f"{line}  " for line in text]  # two blanks: a line break in Markdown


def signature_lines(results, times=None, command=None):
    """How the numbers came about, one fact a line, precise enough to compare with somebody else's."""
    first = results[0]
    lines = [f"data: split {first['split']}, {first['examples']} examples, sha256 {first['data_sha256']}"]
    for result in results:
        made = result["checkpoint"]
        lines.append(
            f"{result['name']}, seed {result['seed']}: {result['metric']['name']} {result['metric']['value']:g}, "
            f"checkpoint {made['path']} sha256 {made['sha256'][:16]}{_origin(result)}"
        )
        if result.get("command"):
            lines.append(f"{result['name']}, seed {result['seed']}: `{result['command']}`")
    if times:
        made = ", ".join(f"{model['name']} {model['checkpoint']['sha256'][:16]}" for model in times["models"])
        drawn = f"split {times['split']} of data sha256 {times['data_sha256'][:16]}, seed {times['seed']}"
        lines.append(f"latency: checkpoints sha256 {made}; sentences from {drawn}")
        if times.get("command"):
            lines.append(f"latency: `{times['command']}`")
    used = {json.dumps(source["versions"]) for source in [*results, *([times] if times else [])]}
    for found in sorted(used):
        lines.append("versions: " + " | ".join(f"{name} {version}" for name, version in json.loads(found).items()))
    return lines + ([f"report: `{command}`"] if command else [])


def _row(name, group, timed):
    first = group[0]["checkpoint"]
    for other in [result["checkpoint"] for result in group] + ([timed["checkpoint"]] if timed else []):
        for field in ("encoder_layers", "parameters", "weight_bytes"):
            if other[field] != first[field]:
                raise LayerdropError(
                    f"'{name}' is more than one model: {first['path']} has {first[field]} {field}, "
                    f"{other['path']} has {other[field]}"
                )
    values = [result["metric"]["value"] for result in group]
    mean, metric, examples = statistics.fmean(values), group[0]["metric"]["name"], group[0]["examples"]
    correct = round(statistics.fmean(result["correct"] for result in group)) if metric == "accuracy" else None
    return {
        "name": name,
        "layers": first["encoder_layers"],
        "parameters": first["parameters"],
        "weight_bytes": first["weight_bytes"],
        "ms_per_sentence": timed["ms_per_sentence"] if timed else {},
        "relative_time": timed["ratio"][max(timed["ratio"], key=int)] if timed else None,
        "seeds": sorted(result["seed"] for result in group),
        "metric": mean,
        "low": min(values),
        "high": max(values),
        "interval": interval(metric, mean, examples, correct),
    }


def _check_comparable(results):
    """Refuse to put numbers of different tests into one table, or one number twice."""
    first, seen = results[0], set()
    for result in results:
        who = f"{result['name']}, seed {result['seed']}"
        for field in ("split", "data_sha256", "examples"):
            if result[field] != first[field]:
                raise LayerdropError(f"{who} was tested on other data than {first['name']}: {field} differs")
        if result["metric"]["name"] != first["metric"]["name"]:
            raise LayerdropError(f"{who} reports {result['metric']['name']}, others {first['metric']['name']}")
        if (result["name"], result["seed"]) in seen:
            raise LayerdropError(f"two results are called {who}")
        seen.add((result["name"], result["seed"]))


def _read_json(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LayerdropError(f"cannot read {path}: {error}") from error
    return content if isinstance(content, dict) else {}


def _over_seeds(row, digits):
    if len(row["seeds"]) == 1:
        return f"{row['metric']:.{digits}f} (1 seed)"
    spread = f"{row['low']:.{digits}f} to {row['high']:.{digits}f}"
    return f"{row['metric']:.{digits}f} ({len(row['seeds'])} seeds: {spread})"


def _plain(columns, cells):
    return tabulate(cells, columns, disable_numparse=True, colalign=_alignment(columns))


def _markdown(columns, cells):
    cells = [[cell.replace("|", "\\|") for cell in row] for row in cells]
    return tabulate(cells, columns, tablefmt="pipe", disable_numparse=True, colalign=_alignment(columns))


def _alignment(columns):
    return ["left", *["right"] * (len(columns) - 3), "left", "left"]


def _origin(result):
    """The plan behind a result and the parent it was applied to, or nothing for a model that was not pruned."""
    provenance = result.get("provenance")
    if not provenance:
        return ""
    parent = (provenance["ancestors"][0]["sha256"] or "unknown")[:16]
    plan = json.dumps(provenance["plan"])
    return f"; plan {plan} sha256 {provenance['plan_sha256'][:16]} of the parent sha256 {parent}"


def _write(folder, page, record, rows, title, metric, times):
    """Write all three files or none: nothing takes its name before everything is written."""
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            names = ("report.png", "report.json", "report.md")
            image, data, text = (stack.enter_context(checkpoint.atomic_path(folder / name)) for name in names)
            picture.draw(image, rows, title, metric, times)
            Path(data).write_text(record, encoding="utf-8")
            Path(text).write_text(page, encoding="utf-8")
    except (OSError, LayerdropError) as error:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, LayerdropError):
            raise
        raise LayerdropError(f"cannot write into {folder}: {error.strerror or error}") from error
