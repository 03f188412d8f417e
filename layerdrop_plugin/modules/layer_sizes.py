"""Numbers of heads and FFN units of each layer, as options such as ``--encoder-self-attn-heads`` specify them."""

from argparse import Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..anatomy import kinds_of_stack
from ..errors import LayerdropError

if TYPE_CHECKING:  # commands that start without fairseq use this module, too
    from omegaconf import DictConfig

ABSENT = "-"


def parse_sizes(text: str | None, layers: int, whole: int, name: str) -> tuple[int | None, ...]:
    """Parse the sizes of the layers in *text*, such as ``4,3,-,0``.

    Args:
        text: the option's value; *whole* for every layer if it is empty or None.
        layers: number of layers.
        whole: size of a whole sublayer, which is the maximum.
        name: name of the option, for messages.

    Returns:
        The size of each layer; None for an absent sublayer.

    Raises:
        LayerdropError: *text* is not a number from 0 to *whole*, or ``-``, for each layer.
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
    """Format *sizes* for :func:`parse_sizes`; None if every layer has the size *whole*."""
    return None if all(size == whole for size in sizes) else format_row(sizes)


def format_row(sizes: Iterable[int | None]) -> str:
    """Format the *sizes* of layers, None for an absent sublayer, as in the options: ``4,3,-,0``."""
    return ",".join(ABSENT if size is None else str(size) for size in sizes)


def layer_sizes(args: "Namespace | DictConfig", stack: str, layers: int) -> list[dict[str, int | None]]:
    """Read the sizes of the layers of *stack* from the options in *args*.

    Returns:
        For each layer: kind of sublayer -> number of heads or FFN units, None for an absent sublayer. Kinds whose
        option is not set are left out.

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
