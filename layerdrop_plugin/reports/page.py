"""A page: findings, a table, notes, a picture and where the numbers come from, as Markdown, JSON and PNG."""

import contextlib
import json
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tabulate import tabulate

from .. import checkpoint
from ..errors import LayerdropError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Table(NamedTuple):
    """A table.

    Attributes:
        columns: the heads.
        cells: by row, as text.
        left: columns aligned to the left, beside the first; numbers are aligned to the right.
    """

    columns: Sequence[str]
    cells: Sequence[Sequence[str]]
    left: Collection[str] = ()

    def plain(self) -> str:
        """The table for a terminal."""
        return tabulate(self.cells, self.columns, disable_numparse=True, colalign=self._alignment())

    def markdown(self) -> str:
        """The table in Markdown."""
        cells = [[cell.replace("|", "\\|") for cell in row] for row in self.cells]
        return tabulate(cells, self.columns, tablefmt="pipe", disable_numparse=True, colalign=self._alignment())

    def _alignment(self) -> list[str]:
        return ["left" if not index or name in self.left else "right" for index, name in enumerate(self.columns)]


@dataclass(frozen=True)
class Page:
    """What a command found, for people and for programs.

    Attributes:
        name: of its files, without suffix.
        title: the headline.
        table: what was measured.
        notes: what a reader must know to read the table, a line each.
        figure: draws the picture; None: there is none.
        caption: of the picture, for those who cannot see it.
        provenance: see provenance.py, ``provenance_lines``.
        record: what the JSON file holds.
        findings: above the table, a line each.
        more: further Markdown below the notes, a section each.
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
    more: Sequence[str] = ()

    def plain(self) -> str:
        """Findings and table for a terminal."""
        return "\n\n".join(filter(None, ["\n".join(self.findings), self.table.plain()]))

    def markdown(self) -> str:
        """The page in Markdown; the picture is beside it."""
        parts = [f"# {self.title}", _lines(self.findings), self.table.markdown(), _lines(self.notes), *self.more]
        parts += [f"![{self.caption}]({self.name}.png)"] if self.figure else []
        parts += ["## How this was obtained", "\n".join(self.provenance)]
        return "\n\n".join(filter(None, parts)) + "\n"

    def write(self, folder: str | os.PathLike) -> None:
        """Write NAME.png, NAME.json and NAME.md: none of them takes its name before all are written.

        Args:
            folder: made if needed, and removed again if nothing could be written.

        Raises:
            LayerdropError: cannot write, or the picture cannot be drawn.
        """
        folder = Path(folder)
        made = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as stack:
                suffixes = (*(("png",) if self.figure else ()), "json", "md")
                *pictures, data, text = (
                    stack.enter_context(checkpoint.atomic_path(folder / f"{self.name}.{suffix}")) for suffix in suffixes
                )
                for picture in pictures:
                    self.figure().savefig(picture, format="png")
                Path(data).write_text(json.dumps(self.record, indent=2) + "\n", encoding="utf-8")
                Path(text).write_text(self.markdown(), encoding="utf-8")
        except (OSError, LayerdropError) as error:
            if made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            if isinstance(error, LayerdropError):
                raise
            raise LayerdropError(f"cannot write into {folder}: {error.strerror or error}") from error


def _lines(lines: Sequence[str]) -> str:
    """*lines* as one paragraph that keeps their breaks: in Markdown two blanks at the end of each."""
    return "\n".join(f"{line}  " for line in lines)
