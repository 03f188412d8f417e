"""torch.jit.script cannot compile our classes: it gets the same weights in the classes that they stand for."""

import copy
from typing import NoReturn

from torch import nn

from ..errors import LayerdropError


class Scriptable:
    """Mixed into our modules, in front of the class of fairseq's or torch's that they stand for."""

    def stock_attributes(self) -> dict:
        """Attributes that this module has to have in the stock class, if others than its own.

        Raises:
            LayerdropError: the stock class cannot compute what this module computes.
        """
        return {}

    def __prepare_scriptable__(self) -> nn.Module:
        """torch's hook: what ``torch.jit.script`` compiles in the place of this module, and leaves there."""
        return as_stock(self)


def as_stock(module: nn.Module, done: dict[int, nn.Module] | None = None) -> nn.Module:
    """*module* in fairseq's and torch's own classes, on the same weights; *module* itself stays what it is.

    In evaluation mode they compute the same. In training they drop nothing.

    Args:
        done: what has been made of modules so far, by their id.

    Raises:
        LayerdropError: a gate is closed, or a part is absent that the stock classes must have.
    """
    done = {} if done is None else done
    if id(module) in done:
        return done[id(module)]
    own = module.stock_attributes() if isinstance(module, Scriptable) else None
    children = {name: None if child is None else as_stock(child, done) for name, child in module._modules.items()}
    result = module
    if own is not None or any(child is not module._modules[name] for name, child in children.items()):
        result = copy.copy(module)
        result.__class__ = next(kind for kind in type(module).__mro__ if not issubclass(kind, Scriptable))
        # Of ours alone; and activation checkpointing, which wraps the old class's forward.
        for name in (*getattr(module, "__jit_ignored_attributes__", ()), "forward", "precheckpoint_forward"):
            result.__dict__.pop(name, None)
        result.__dict__ |= {"_modules": children, "_parameters": dict(module._parameters)} | (own or {})
    done[id(module)] = result
    return result


def refuse_to_script(what: str) -> NoReturn:
    """Raise LayerdropError: *what* keeps fairseq's classes from computing the same."""
    raise LayerdropError(f"torch.jit.script compiles fairseq's classes, which have no {what}: use torch.jit.trace")
