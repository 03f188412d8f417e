"""Libraries that only this room needs."""

import importlib
from types import ModuleType

from ..errors import LayerdropError

# library -> the extra of this package that brings it; `interop` brings the others
_EXTRAS = {"onnx": "onnx", "onnxruntime": "onnx", "ctranslate2": "ctranslate2"}


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
        extra = _EXTRAS.get(package, "interop")
        raise LayerdropError(
            f"{package} is not installed: run  pip install 'layerdrop_plugin[{extra}]'  (from a checkout:"
            f"  pip install -c constraints.txt '.[{extra}]')"
        ) from None
