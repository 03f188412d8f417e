"""Libraries that only this room needs."""

import importlib
from types import ModuleType

from ..errors import LayerdropError


def library(name: str) -> ModuleType:
    """The installed library *name*.

    Raises:
        LayerdropError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.split(".", maxsplit=1)[0]
        if error.name not in (name, package):
            raise
        raise LayerdropError(
            f"{package} is not installed: run  pip install 'layerdrop_plugin[interop]'  (from a checkout:"
            "  pip install -c constraints.txt '.[interop]')"
        ) from None
