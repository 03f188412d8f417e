"""How many heads and FFN units each layer of a stack has, as ``--STACK-self-attn-heads`` and its like say it."""

from argparse import Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..anatomy import kinds_of_stack
from ..errors import LayerdropError

if TYPE_CHECKING:  # the options of commands that start without fairseq are sized here, too
    from omegaconf import DictConfig

ABSENT = "-"


def parse_sizes(text: str | None, layers: int, whole: int, name: str) -> tuple[int | None, ...]:
    """The sizes in *text*, such as ``4,3,-,0``: one per layer, None for an absent sublayer; *whole* each by default.

    Raises:
        LayerdropError: not one number from 0 to *whole*, or ``-``, for each of *layers* layers.
    """
    if not text:
        return (whole,) * layers
    parts = [part.strip() for part in str(text).split(",")]
    if len(parts) != layers or any(part != ABSENT and not part.isdecimal() for part in parts):
        raise LayerdropError(
            f"{name} {text}: want a number for each of the {layers} layers, separated by commas,"
            f" or {ABSENT} where that part of the layer is absent"
        )
    sizes = tuple(None if part == ABSENT else int(part) for part in parts)
    beyond = [size for size in sizes if size is not None and size > whole]
    if beyond:
        raise LayerdropError(f"{name} {text}: a layer has at most {whole}, not {beyond[0]}")
    return sizes


def format_sizes(sizes: tuple[int | None, ...], whole: int) -> str | None:
    """The reverse of :func:`parse_sizes`; None where every layer is whole."""
    return None if all(size == whole for size in sizes) else format_row(sizes)


def format_row(sizes: Iterable[int | None]) -> str:
    """Sizes of layers, None for an absent sublayer, as the options write them: ``4,3,-,0``."""
    return ",".join(ABSENT if size is None else str(size) for size in sizes)


def layer_sizes(args: "Namespace | DictConfig", stack: str, layers: int) -> list[dict[str, int | None]]:
    """For each layer of *stack* the sizes that the options in *args* give it; kinds without an option are left out.

    Raises:
        LayerdropError: as :func:`parse_sizes`.
    """
    found: list[dict[str, int | None]] = [{} for _ in range(layers)]
    for kind in kinds_of_stack(stack):
        option = f"{stack}_{kind.size_option}"
        text = getattr(args, option, None)
        if text:
            whole = getattr(args, f"{stack}_{kind.part.whole_option}")
            sizes = parse_sizes(text, layers, whole, f"--{option.replace('_', '-')}")
            for layer, size in zip(found, sizes, strict=True):
                layer[kind.name] = size
    return found
