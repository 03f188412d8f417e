"""Put a function in the place of another one."""

import functools
from collections.abc import Callable


def replaces(owner: object, name: str) -> Callable:
    """Decorator: the function, called with the original as its first argument, takes the place of *owner*'s *name*."""
    original = getattr(owner, name)

    def replace(function):
        @functools.wraps(original)
        def replacement(*args, **kwargs):
            return function(original, *args, **kwargs)

        setattr(owner, name, replacement)
        return replacement

    return replace
