"""Options that our architectures share, and fairseq's options that they check or refuse."""

from fairseq.utils import safe_getattr

from ..errors import LayerdropError
from ..modules.drop_rates import SCHEDULES, drop_rate


def add_layerdrop_args(parser, stack: str) -> None:
    """Add ``--STACK-layerdrop-schedule`` and the warm-up; make fairseq's ``--STACK-layerdrop`` check its value."""
    name = f"--{stack}-layerdrop"
    for action in parser._actions:  # argparse offers no public way to refine an option that fairseq has added
        if name in action.option_strings:
            action.type = lambda text: drop_rate(text, name)
    parser.add_argument(
        f"{name}-schedule",
        choices=list(SCHEDULES),
        help=f"drop rates over the {stack}'s depth, their mean being {name} (default: constant)",
    )
    parser.add_argument(
        "--layerdrop-warmup-updates",
        type=int,
        metavar="N",
        help="updates over which the drop rates rise from 0 (default: 0, no warm-up)",
    )


def parse_layers_to_keep(text: str | None, layers: int, stack: str) -> str | None:
    """Check fairseq's ``--STACK-layers-to-keep`` against a stack of *layers* layers; returns it, or None if empty.

    Raises:
        LayerdropError: not a comma-separated list of different layers, or one that the stack does not have.
    """
    if not text:
        return None
    name = f"--{stack}-layers-to-keep {text}"
    try:
        kept = [int(part) for part in str(text).split(",")]
    except ValueError:
        raise LayerdropError(f"{name}: want the layers' numbers separated by commas, such as 0,2,4") from None
    if len(set(kept)) != len(kept):
        raise LayerdropError(f"{name} repeats a layer: name each one once")
    beyond = [layer for layer in kept if not 0 <= layer < layers]
    if beyond:
        raise LayerdropError(f"{name}: there is no layer {beyond[0]}, the {stack} has layers 0 to {layers - 1}")
    return ",".join(map(str, sorted(kept)))


def refuse_unfinished_pruning(args) -> None:
    """fairseq's RoBERTa carries an unfinished pruning attempt whose models cannot be loaded again: refuse it."""
    for option in ("mha_heads_to_keep", "ffn_blocks_to_remove"):
        if safe_getattr(args, option, -1) not in (None, -1):
            raise LayerdropError(
                f"--{option.replace('_', '-')} is an unfinished experiment of fairseq whose models do not load:"
                " prune with  layerdrop prune  instead"
            )
