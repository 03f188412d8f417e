"""A page: findings, a table, notes, a figure and the provenance of the numbers, as Markdown, HTML, JSON and PNG."""

import contextlib
import io
import json
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tabulate import tabulate

from .. import checkpoint
from ..errors import LayerdropError
from . import html

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Table(NamedTuple):
    """A table.

    Attributes:
        columns: column heads.
        cells: rows of cells, as text.
        left: column heads of left-aligned columns. The first column always is; the others are right-aligned.
    """

    columns: Sequence[str]
    cells: Sequence[Sequence[str]]
    left: Collection[str] = ()

    def plain(self) -> str:
        """The table as plain text for a terminal."""
        return tabulate(self.cells, self.columns, disable_numparse=True, colalign=self._alignment())

    def markdown(self) -> str:
        """The table in Markdown."""
        cells = [[cell.replace("|", "\\|") for cell in row] for row in self.cells]
        return tabulate(cells, self.columns, tablefmt="pipe", disable_numparse=True, colalign=self._alignment())

    def heads(self) -> list[tuple[str, bool]]:
        """Every column's head, and whether the column is left-aligned."""
        return [(name, not index or name in self.left) for index, name in enumerate(self.columns)]

    def _alignment(self) -> list[str]:
        return ["left" if left else "right" for _, left in self.heads()]


class Section(NamedTuple):
    """A further section of a page.

    Attributes:
        title: its headline.
        table: a table; None if there is none.
        notes: lines below the table.
        code: lines of shell commands below the notes; empty if there are none.
    """

    title: str
    table: Table | None = None
    notes: Sequence[str] = ()
    code: str = ""

    def markdown(self) -> str:
        """The section in Markdown."""
        table, code = self.table and self.table.markdown(), self.code and f"```\n{self.code}\n```"
        return "\n\n".join(filter(None, [f"## {self.title}", table, _lines(self.notes), code]))


@dataclass(frozen=True)
class Page:
    """The results of a command, as a page with a figure in Markdown and HTML, and as JSON.

    Findings, notes and provenance may have `code` and **bold** in them.

    Attributes:
        name: name of its files, without suffix.
        title: title of the page.
        table: the table of measurements.
        notes: lines below the table that explain it.
        figure: draws the figure; None if there is none.
        caption: alternative text of the figure.
        provenance: lines, see ``provenance.provenance_lines``.
        record: contents of the JSON file.
        findings: lines above the table.
        more: further sections below the notes.
    """

    name: str
    title: str
    table: Table
    notes: Sequence[str]
    figure: Callable[[], "Figure"] | None
    caption: str
    provenance: Sequence[str]
    record: dict[str, Any]
    findings: Sequence[str] = ()
    more: Sequence[Section] = ()

    def plain(self) -> str:
        """Findings and table as plain text for a terminal."""
        return "\n\n".join(filter(None, ["\n".join(self.findings), self.table.plain()]))

    def markdown(self) -> str:
        """The page in Markdown; it refers to the figure's file NAME.png in the same folder."""
        parts = [f"# {self.title}", _lines(self.findings), self.table.markdown(), _lines(self.notes)]
        parts += [section.markdown() for section in self.more]
        parts += [f"![{self.caption}]({self.name}.png)"] if self.figure else []
        parts += ["## How this was obtained", "\n".join(f"- {line}" for line in self.provenance)]
        return "\n\n".join(filter(None, parts)) + "\n"

    def write(self, folder: str | os.PathLike) -> None:
        """Write NAME.png, NAME.json, NAME.md and NAME.html. They are renamed to these names only after all are written.

        Args:
            folder: path of the folder. It is created if needed, and removed again if writing fails.

        Raises:
            LayerdropError: the files cannot be written, or the figure cannot be drawn.
        """
        folder = Path(folder)
        made = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as stack:
                for suffix, contents in self._files().items():
                    path = stack.enter_context(checkpoint.atomic_path(folder / f"{self.name}.{suffix}"))
                    Path(path).write_bytes(contents)
        except (OSError, LayerdropError) as error:
            if made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            if isinstance(error, LayerdropError):
                raise
            raise LayerdropError(f"cannot write into {folder}: {error.strerror or error}") from error

    def picture(self) -> bytes | None:
        """The figure as PNG; None if there is none.

        Raises:
            LayerdropError: the figure cannot be drawn.
        """
        if not self.figure:
            return None
        contents = io.BytesIO()
        self.figure().savefig(contents, format="png")
        return contents.getvalue()

    def _files(self) -> dict[str, bytes]:
        """Suffix -> contents of the page's files, in the order of writing."""
        picture = self.picture()
        texts = {
            "json": json.dumps(self.record, indent=2) + "\n",
            "md": self.markdown(),
            "html": html.document(self.title, [html.Shown(self, picture)]),
        }
        pictures = {"png": picture} if picture else {}
        return pictures | {suffix: text.encode() for suffix, text in texts.items()}


def _lines(lines: Sequence[str]) -> str:
    """*lines* as one Markdown paragraph with line breaks, which are two spaces at the end of each line."""
    return "\n".join(f"{line}  " for line in lines)
