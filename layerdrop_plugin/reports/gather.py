"""The pages of finished output folders, made again from their JSON files and put together in one HTML file."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import LayerdropError
from ..results import record as results
from ..results.record import read_json
from ..writing import write_text_atomic
from . import ablation, depth_curves, evaluation, layer_search, pruning_curve, report, strategies
from .html import Shown, document

_PAGES = {  # name of a JSON file -> type of its record, and the module that makes its page
    "report.json": (report.TYPE, report),
    "curves.json": (depth_curves.TYPE, depth_curves),
    "search.json": ("layerdrop.search", layer_search),
    "ablation.json": ("layerdrop.ablation", ablation),
    "curve.json": ("layerdrop.curve", pruning_curve),
    "strategies.json": (strategies.TYPE, strategies),
    "evaluate.json": (results.EVALUATION, evaluation),
}


def write(runs: Sequence[str | os.PathLike], folder: str | os.PathLike, title: str | None = None) -> list[Path]:
    """Write report.html with the pages of *runs*.

    Args:
        runs: output folders of commands and recipes, searched with their subfolders for the files of pages, or such
            files.
        folder: folder to write into; it is created if needed.
        title: title above all pages; by default the one page's own, or the names of the runs.

    Returns:
        The files whose pages were gathered.

    Raises:
        LayerdropError: a run has no pages, a file cannot be read or has other contents, or *folder* holds another
            report.
    """
    records = [found for run in runs for found in _without_evaluations_of_reports(dict(_records(Path(run))))]
    records = list({path.resolve(): (path, record) for path, record in records}.values())
    files, target = [path for path, _ in records], Path(folder) / "report.html"
    beside = target.with_name("report.json")
    if beside.exists() and beside.resolve() not in {path.resolve() for path in files}:
        raise LayerdropError(f"{target} is the page of {beside}: choose another --out, or name {folder} as well")
    shown = [_shown(path, record) for path, record in records]
    names = ", ".join(Path(run).resolve().name for run in runs)
    text = document(title or (shown[0].page.title if len(shown) == 1 else f"Results of {names}"), shown)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LayerdropError(f"cannot write into {folder}: {error.strerror}") from error
    write_text_atomic(target, text)
    return files


def _records(run: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the files of pages in *run* and their records: a folder's own before those of its subfolders."""
    files = [path for path in run.rglob("*.json") if path.name in _PAGES] if run.is_dir() else [run]
    found = False
    for path in sorted(files, key=lambda path: (path.parent.parts, path.name)):
        record = read_json(path)
        if path.name in _PAGES and record.get("type") == _PAGES[path.name][0]:
            found = True
            yield path, record
        elif path == run:
            raise LayerdropError(f"{run} is no file of a page: name one of {', '.join(_PAGES)}, or its folder")
    if not found:
        raise LayerdropError(f"{run} has none of {', '.join(_PAGES)}: has its command finished?")


def _without_evaluations_of_reports(records: Mapping[Path, dict[str, Any]]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield *records* without the evaluations whose results are all in one of the reports or depth curves."""
    reported = {
        _identity(result)
        for record in records.values()
        if record["type"] in (report.TYPE, depth_curves.TYPE, strategies.TYPE)
        for result in record.get("results", ())
    }
    for path, record in records.items():
        if record["type"] != results.EVALUATION or not {_identity(one) for one in record["results"]} <= reported:
            yield path, record


def _identity(result: Mapping[str, Any]) -> tuple:
    return (*(result.get(part) for part in ("name", "seed", "split")), (result.get("checkpoint") or {}).get("sha256"))


def _shown(path: Path, record: dict[str, Any]) -> Shown:
    try:
        page = _PAGES[path.name][1].page_of(record)
        return Shown(page, _picture(path.with_suffix(".png")) or page.picture(), str(path))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise LayerdropError(
            f"{path} lacks entries of a {record['type']} ({error!r}): has its command finished?"
        ) from error


def _picture(path: Path) -> bytes | None:
    """The contents of the PNG that was written with a page; None if it is gone."""
    contents = path.read_bytes() if path.is_file() else b""
    return contents if contents.startswith(b"\x89PNG") else None
