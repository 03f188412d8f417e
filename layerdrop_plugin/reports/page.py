"""What pages have in common: the list of what their numbers come from, and files that are written all or none."""

import contextlib
import json
from pathlib import Path

from .. import checkpoint
from ..errors import LayerdropError
from ..pruning.describe import LONG_PLAN
from .results import who_is


def write_files(folder, name, page, record, draw=None):
    """Write NAME.json, NAME.md and perhaps NAME.png: nothing takes its name before everything is written.

    Args:
        folder (str): made if needed; removed again if that was in vain.
        name (str): of the files.
        page (str): Markdown.
        record (dict): for the JSON file.
        draw (Callable[[str], None] | None): draws the picture into the file of that path; None: there is none.

    Raises:
        LayerdropError: cannot write, or the picture cannot be drawn.
    """
    folder = Path(folder)
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            files = [folder / f"{name}.{suffix}" for suffix in (*(("png",) if draw else ()), "json", "md")]
            *images, data, text = (stack.enter_context(checkpoint.atomic_path(file)) for file in files)
            for image in images:
                draw(image)
            Path(data).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            Path(text).write_text(page, encoding="utf-8")
    except (OSError, LayerdropError) as error:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, LayerdropError):
            raise
        raise LayerdropError(f"cannot write into {folder}: {error.strerror or error}") from error


def signature_lines(results, times=None, **commands):
    """How the numbers came about, one fact a line of a Markdown list, precise enough to compare with somebody else's.

    Args:
        results (list[dict]): see results.py.
        times (dict | None): a measurement, see latency.py.
        commands: who made the page -> what was typed, or None.
    """
    tests = ((result["split"], result["examples"], result["data_sha256"]) for result in results)
    lines = [f"data: split {split}, {count} examples, sha256 {digest}" for split, count, digest in dict.fromkeys(tests)]
    for result in results:
        made, who = result["checkpoint"], who_is(result)
        model = f"checkpoint {made['path']} sha256 {made['sha256'][:16]}{_origin(result)}" if made else "no model"
        lines.append(f"{who}: {result['metric']['name']} {result['metric']['value']:g}, {model}")
        if result.get("command"):
            lines.append(f"{who}: `{result['command']}`")
    if times:
        made = ", ".join(f"{model['name']} {model['checkpoint']['sha256'][:16]}" for model in times["models"])
        drawn = f"split {times['split']} of data sha256 {times['data_sha256'][:16]}, seed {times['seed']}"
        lines.append(f"latency: checkpoints sha256 {made}; sentences from {drawn}")
        if times.get("command"):
            lines.append(f"latency: `{times['command']}`")
    used = {json.dumps(source["versions"]) for source in [*results, *([times] if times else [])]}
    for found in sorted(used):
        lines.append("versions: " + " | ".join(f"{name} {version}" for name, version in json.loads(found).items()))
    lines += [f"{who}: `{command}`" for who, command in commands.items() if command]
    return [f"- {line}" for line in lines]


def examples(record):
    """How many examples a measurement was made on, and how many of the split could not be."""
    left_out = f" ({record['left_out']} too long and left out)" if record.get("left_out") else ""
    return f"{record['examples']} examples{left_out}"


def _origin(result):
    """The plan behind a result and the parent it was applied to, or nothing for a model that was not pruned."""
    provenance = result.get("provenance")
    if not provenance:
        return ""
    parent = (provenance["ancestors"][0]["sha256"] or "unknown")[:16]
    plan = json.dumps(provenance["plan"])
    if len(plan) > LONG_PLAN:
        plan = "(in the JSON, too long to read)"
    return f"; plan {plan} sha256 {provenance['plan_sha256'][:16]} of the parent sha256 {parent}"
