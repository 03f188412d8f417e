"""torch.jit.script cannot compile the classes of this plugin: it compiles the stock classes on the same weights."""

import copy
from typing import NoReturn

from torch import nn

from ..errors import LayerdropError
from .onednn_linear import as_ordinary


class Scriptable:
    """Mixin for a subclass of a stock class (fairseq's or torch's); it comes before that class among the bases."""

    def stock_attributes(self) -> dict:
        """Attributes that differ in an equivalent module of the stock class.

        Raises:
            LayerdropError: the stock class cannot compute what this module computes.
        """
        return {}

    def __prepare_scriptable__(self) -> nn.Module:
        """torch's hook: the module that ``torch.jit.script`` compiles instead of this one."""
        return as_stock(self)


def as_stock(module: nn.Module, done: dict[int, nn.Module] | None = None) -> nn.Module:
    """An equivalent of *module* in stock classes only, on the same weights; *module* itself is not changed.

    In evaluation mode it computes the same; in training it drops nothing.

    Args:
        done: modules that are converted already, by the id of the original.

    Raises:
        LayerdropError: a gate is closed, or a part is absent that the stock classes must have.
    """
    done = {} if done is None else done
    if id(module) in done:
        return done[id(module)]
    own = module.stock_attributes() if isinstance(module, Scriptable) else None
    ignored = getattr(module, "__jit_ignored_attributes__", ()) if own is not None else ()
    children = {
        name: None if child is None else as_stock(child, done)
        for name, child in module._modules.items()
        if name not in ignored
    }
    parameters = {name: as_ordinary(parameter) for name, parameter in module._parameters.items()}
    changed = any(child is not module._modules[name] for name, child in children.items())
    changed |= any(parameter is not module._parameters[name] for name, parameter in parameters.items())
    result = module
    if own is not None or changed:
        result = copy.copy(module)
        result.__class__ = next(base for base in type(module).__mro__ if not issubclass(base, Scriptable))
        # Attributes of this plugin; and the wrapper of activation checkpointing, which calls the old class's forward.
        for name in (*getattr(module, "__jit_ignored_attributes__", ()), "forward", "precheckpoint_forward"):
            result.__dict__.pop(name, None)
        result.__dict__ |= {"_modules": children, "_parameters": parameters} | (own or {})
    done[id(module)] = result
    return result


def refuse_to_script(feature: str) -> NoReturn:
    """Raise LayerdropError: the stock classes have no *feature* and so cannot compute the same."""
    raise LayerdropError(f"torch.jit.script compiles fairseq's classes, which have no {feature}: use torch.jit.trace")
