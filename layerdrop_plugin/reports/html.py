"""Pages as one HTML file that needs nothing else: figures inlined, tables that sort, no network, readable without
JavaScript.

The template escapes every text. Of the Markdown in findings, notes and provenance, `code` and **bold** are shown as
such, and nothing else is: no text can become a tag, a link or a picture. The policy in the file's head forbids the
browser to load anything, and to run any script but the one whose hash it names.
"""

import base64
import functools
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup, escape

if TYPE_CHECKING:
    import jinja2

    from .page import Page, Table

_TEMPLATE = Path(__file__).with_name("template")
_NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][+-]?\d+)?(?=[\s%*]|$)")
_MISSING = ("", "-")


class Shown(NamedTuple):
    """A page in an HTML file.

    Attributes:
        page: the page.
        picture: its figure as PNG; None if it has none.
        where: the file that it was read from, shown if there are several pages.
    """

    page: "Page"
    picture: bytes | None
    where: str = ""


def document(title: str, shown: Sequence[Shown]) -> str:
    """The HTML of one page, or of several one after the other."""
    style, script = (_raw(f"page.{suffix}") for suffix in ("css", "js"))
    return _environment().get_template("page.html").render(title=title, shown=shown, style=style, script=script)


def sort_values(cells: Sequence[str]) -> list[float | None]:
    """The numbers that a column is sorted by: those that its cells begin with, as "0.55 (0.50 to 0.60)" with 0.55.

    Args:
        cells: texts of the cells.

    Returns:
        None for a missing value, and for all cells if one begins with no number: the column is then sorted as text.
    """
    found = [None if cell in _MISSING else _NUMBER.match(cell) for cell in cells]
    if any(match is None and cell not in _MISSING for match, cell in zip(found, cells, strict=True)):
        return [None] * len(cells)
    return [match and float(match[0].replace(",", "")) for match in found]


def inline(text: str) -> Markup:
    """*text* escaped, with `code` and **bold** as HTML elements."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # a single backtick
        parts[-2:] = ["`".join(parts[-2:])]
    return Markup("").join(
        Markup("<code>{}</code>").format(part)
        if place % 2
        else Markup(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(part))))
        for place, part in enumerate(parts)
    )


def _quiet_brackets(cell: str) -> Markup:
    """*cell* escaped; what stands in brackets at its end, such as a range over seeds, in small type."""
    number, bracket, rest = cell.partition(" (")
    if not (bracket and rest.endswith(")")):
        return escape(cell)
    return Markup("{} <small>({}</small>").format(number, rest)


def _rows(table: "Table") -> Iterator[list[tuple[str, bool, float | None]]]:
    """(text, whether it is left-aligned, number to sort by) of every cell, row by row."""
    left = [is_left for _, is_left in table.heads()]
    values = [sort_values([row[column] for row in table.cells]) for column in range(len(left))]
    for place, row in enumerate(table.cells):
        yield [(cell, left[column], values[column][place]) for column, cell in enumerate(row)]


@functools.cache
def _raw(name: str) -> Markup:
    return Markup((_TEMPLATE / name).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    """The source expression of an inline style or script in a content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@functools.cache
def _environment() -> "jinja2.Environment":
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATE), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "rows": _rows,
        "inline": inline,
        "quiet_brackets": _quiet_brackets,
        "hash": lambda text: Markup(_hash(text)),
        "base64": lambda data: base64.b64encode(data).decode(),
    }
    return environment
