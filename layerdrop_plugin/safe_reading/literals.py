"""Python literals in strings, read without ``eval``: numbers, strings, lists, tuples, dicts, and products of them."""

import ast
from typing import Any

from ..errors import LayerdropError

_LONGEST = 100_000  # characters
_MOST_ITEMS = 100_000  # of a list that a product makes


def literal(text: Any, *scopes: Any) -> Any:
    """The value of the literal *text*; ``+`` and ``*`` of numbers and lists are computed, nothing else is.

    It takes the place of ``eval`` in fairseq, where options such as ``[(512, 10, 5)] + [(512, 3, 2)] * 4`` are written.

    Raises:
        LayerdropError: anything else.
    """
    try:
        if not isinstance(text, str) or len(text) > _LONGEST:
            raise ValueError("no text")
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, OverflowError):
        raise LayerdropError(f"{str(text)[:60]!r} is no literal (a number, a list, ...): it is not computed") from None


def _value(node: ast.expr) -> Any:
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [_value(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mult)):
        left, right = _value(node.left), _value(node.right)
        return _sum(left, right) if isinstance(node.op, ast.Add) else _product(left, right)
    return ast.literal_eval(node)


def _sum(left: Any, right: Any) -> Any:
    if isinstance(left, (list, tuple)) != isinstance(right, (list, tuple)) or isinstance(left, str):
        raise ValueError("no sum")
    return left + right


def _product(left: Any, right: Any) -> Any:
    for times, items in ((left, right), (right, left)):
        if isinstance(items, (list, tuple, str)) and not (type(times) is int and times * len(items) <= _MOST_ITEMS):
            raise ValueError("too long")
    return left * right
