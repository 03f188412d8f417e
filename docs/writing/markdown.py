"""Markdown tables, numbers in them, and the line that says where numbers come from."""

import json
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


class Missing(Exception):
    """A JSON file that a section needs is not there; its text is the file's path below the checkout."""


def read(path: str) -> dict:
    """The JSON file *path* (below the checkout).

    Raises:
        Missing: there is no such file.
    """
    file = ROOT / path
    if not file.is_file():
        raise Missing(path)
    return json.loads(file.read_text(encoding="utf-8"))


def files(pattern: str) -> list[str]:
    """The files that match *pattern* (below the checkout), ascending."""
    return sorted(str(file.relative_to(ROOT)) for file in ROOT.glob(pattern))


def table(columns: list[str], rows: Iterable[list[str]], texts: int | None = None) -> str:
    """A Markdown table whose first *texts* columns are text (by default all); the others are aligned to the right."""
    rule = ["---"] * len(columns) if texts is None else [":--"] * texts + ["--:"] * (len(columns) - texts)
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, rule, *cells])


def number(value: float | None, digits: int = 0) -> str:
    """*value* with thousands separated, or nothing where it was not measured."""
    return "" if value is None else f"{value:,.{digits}f}"


def span(low_and_high: Iterable[float] | None, digits: int = 1) -> str:
    """``low to high``, or nothing where it is not known."""
    if low_and_high is None:
        return ""
    low, high = low_and_high
    return f"{low:,.{digits}f} to {high:,.{digits}f}"


def ratio(value: float | None, spread: dict | None = None) -> str:
    """A ratio of times or speeds; with the least and the greatest of its rounds, and a mark if they do not agree."""
    if value is None or not spread:
        return number(value, 2)
    low, high = (spread.get(name) for name in ("least", "greatest"))
    reach = "" if low is None or high is None else f" ({span((low, high), 2)})"
    return f"{value:.2f}{reach}{' **unreliable**' if spread.get('unreliable') else ''}"


def median(found: dict) -> str:
    """A benchmark's ratio: the median of its rounds, with the least and the greatest."""
    return f"{found['median']:.2f} ({span((found['min'], found['max']), 2)})"


def plural(count: int, name: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def sentences(*lines: str | None) -> str:
    """A list of statements, without those that are None."""
    return "\n".join(f"- {line}" for line in lines if line)


def versions(record: dict) -> str:
    """What software computed the numbers."""
    return ", ".join(f"{name} {version}" for name, version in (record.get("versions") or {}).items())


def machine(record: dict) -> str:
    """What hardware was timed."""
    if record.get("device") == "cuda":
        return str(record.get("device_name"))
    name = record.get("device_name") or record.get("cpu") or "CPU"
    return f"{plural(record.get('threads') or 1, 'thread')} of {name}"


def provenance(*facts: str | None) -> str:
    """The line under a table that says how its numbers were obtained."""
    return f"*How obtained: {'; '.join(fact for fact in facts if fact)}.*"


def short(sha256: str | None) -> str | None:
    """A data hash in short."""
    return f"data sha256 {sha256[:16]}…" if sha256 else None


def seeds_of(results: list[dict]) -> str | None:
    """The seeds of all *results* of a report."""
    seeds = sorted({result["seed"] for result in results if result.get("seed") is not None})
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}" if seeds else None
