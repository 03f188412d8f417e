"""The rooms of the package (its folders, and its modules beside them) use each other in one direction only."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "layerdrop_plugin"


def relative_imports(node: ast.AST) -> Iterator[ast.ImportFrom]:
    """The package's own imports below *node*, those inside functions too, but not those for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.ImportFrom) and child.level:
            yield child
        yield from relative_imports(child)


def used_rooms(path: Path) -> Iterator[str]:
    """The rooms that the file *path* imports from."""
    folder = path.relative_to(PACKAGE).parts[:-1]
    for found in relative_imports(ast.parse(path.read_text(encoding="utf-8"))):
        above = folder[: len(folder) - (found.level - 1)]
        yield from ((*above, *(found.module or alias.name).split("."))[0] for alias in found.names)


def test_no_two_rooms_import_each_other():
    uses = {}
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if room != "__init__":  # which registers all rooms
            uses.setdefault(room, set()).update(set(used_rooms(path)) - {room})
    assert "pruning" in uses["evaluation"]
    assert list(graphlib.TopologicalSorter(uses).static_order())  # raises CycleError, which names the rooms
