"""Public functions, methods and constructors of the package annotate their parameters and results."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "layerdrop_plugin"
SPECIAL = {"__init__", "__call__"}
FILES = [path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py"))]


def public_functions(body, prefix=""):
    """(name, node) of the public functions of a module and of the methods of its public classes."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name in SPECIAL):
            yield prefix + node.name, node


def unannotated(source):
    """What lacks an annotation in *source*, as ``function(parameter)`` or ``function -> ?``."""
    missing = []
    for name, node in public_functions(ast.parse(source).body):
        parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        bare = [parameter.arg for parameter in parameters if parameter.annotation is None]
        missing += [f"{name}({parameter})" for parameter in bare if parameter not in {"self", "cls"}]
        if node.returns is None and not name.endswith("__init__"):
            missing.append(f"{name} -> ?")
    return missing


@pytest.mark.parametrize("file", FILES)
def test_public_functions_are_annotated(file):
    missing = unannotated((PACKAGE / file).read_text(encoding="utf-8"))
    assert missing == []


def test_a_missing_annotation_is_found():
    source = (
        "def f(x, y: int, *args, **kwargs): ...\nclass A:\n    def __init__(self, z): ...\n    def _g(self, x): ...\n"
    )
    assert unannotated(source) == ["f(x)", "f -> ?", "A.__init__(z)"]
    assert unannotated("class _A:\n    def f(self, x): ...\nclass B:\n    def f(self) -> None: ...\n") == []
