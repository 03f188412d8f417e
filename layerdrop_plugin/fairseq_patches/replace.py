"""Replace a function or method of another module."""

import functools
from collections.abc import Callable


def replaces(owner: object, name: str) -> Callable:
    """Decorator that replaces the attribute *name* of *owner* (a module or class) by the decorated function.

    The function is called with the original as its first argument.
    """
    original = getattr(owner, name)

    def replace(function):
        @functools.wraps(original)
        def replacement(*args, **kwargs):
            return function(original, *args, **kwargs)

        setattr(owner, name, replacement)
        return replacement

    return replace
