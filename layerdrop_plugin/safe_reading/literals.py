"""Parse Python literals without ``eval``: numbers, strings, lists, tuples, dicts, and sums and products of these."""

import ast
from typing import Any

from ..errors import LayerdropError

_LONGEST = 100_000  # characters
_MOST_ITEMS = 100_000  # of a list that a product makes


def literal(text: Any, *scopes: Any) -> Any:
    """Return the value of the literal *text*, in which ``+`` and ``*`` of numbers and lists are computed.

    This replaces ``eval`` in fairseq, whose options may be such as ``[(512, 10, 5)] + [(512, 3, 2)] * 4``.

    Args:
        text: the literal.
        scopes: dictionaries of names that ``eval`` would be given; they are not used.

    Raises:
        LayerdropError: *text* is anything else than a literal.
    """
    try:
        if not isinstance(text, str) or len(text) > _LONGEST:
            raise ValueError("no text")
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, OverflowError):
        raise LayerdropError(
            f"{str(text)[:60]!r} is not a literal (a number, a list, ...): nothing else is evaluated"
        ) from None


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
