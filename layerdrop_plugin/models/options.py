"""Options that our architectures share, and fairseq's options that they check or refuse."""

import contextlib

from fairseq.utils import safe_getattr
from omegaconf import OmegaConf, open_dict

from ..errors import LayerdropError
from ..modules.drop_rates import SCHEDULES, drop_rate


def add_layerdrop_args(parser, *stacks: str) -> None:
    """Add ``--STACK-layerdrop-schedule`` and the warm-up; make fairseq's ``--STACK-layerdrop`` check its value."""
    for stack in stacks:
        refine_layerdrop_arg(parser, stack)
        parser.add_argument(
            f"--{stack}-layerdrop-schedule",
            choices=list(SCHEDULES),
            help=f"drop rates over the {stack}'s depth, their mean being --{stack}-layerdrop (default: constant)",
        )
    parser.add_argument(
        "--layerdrop-warmup-updates",
        type=int,
        metavar="N",
        help="updates over which the drop rates rise from 0 (default: 0, no warm-up)",
    )


def refine_layerdrop_arg(parser, stack: str) -> None:
    """Make fairseq's ``--STACK-layerdrop`` check its value."""
    name = f"--{stack}-layerdrop"
    for action in parser._actions:  # argparse offers no public way to refine an option that fairseq has added
        if name in action.option_strings:
            action.type = lambda text: drop_rate(text, name)


def set_layerdrop_defaults(args, *stacks: str) -> None:
    """Fill in what :func:`add_layerdrop_args` adds."""
    for stack in stacks:
        option = f"{stack}_layerdrop_schedule"
        setattr(args, option, safe_getattr(args, option) or next(iter(SCHEDULES)))
    args.layerdrop_warmup_updates = safe_getattr(args, "layerdrop_warmup_updates") or 0


def check_layerdrop(args, *stacks: str) -> None:
    """Raise LayerdropError for rates outside [0, 1) and for what LayerDrop cannot work with.

    Architectures call it, which fairseq does as soon as it has read the command line.
    """
    for stack in stacks:
        rate = drop_rate(getattr(args, f"{stack}_layerdrop"), f"--{stack}-layerdrop")
        if rate > 0 and safe_getattr(args, "ddp_backend") == "fully_sharded":
            raise LayerdropError("LayerDrop hangs under --ddp-backend fully_sharded: use pytorch_ddp or legacy_ddp")
        if rate > 0 and stack == "decoder" and "with_alignment" in str(safe_getattr(args, "criterion") or ""):
            raise LayerdropError(
                f"--criterion {args.criterion} needs the attention of a layer that --decoder-layerdrop may leave out:"
                " train with --decoder-layerdrop 0"
            )


def changeable(args):
    """A context in which options can be added to *args*, whichever of its kinds of containers fairseq uses."""
    return open_dict(args) if OmegaConf.is_config(args) else contextlib.nullcontext()


def refuse_unfinished_pruning(args) -> None:
    """fairseq's RoBERTa carries an unfinished pruning attempt whose models cannot be loaded again: refuse it."""
    for option in ("mha_heads_to_keep", "ffn_blocks_to_remove"):
        if safe_getattr(args, option, -1) not in (None, -1):
            raise LayerdropError(
                f"--{option.replace('_', '-')} is an unfinished experiment of fairseq whose models do not load:"
                " prune with  layerdrop prune  instead"
            )


def refuse_base_layers(args) -> None:
    """BASE layers exchange tokens between all workers and stand among the decoder's own layers: refuse them."""
    if safe_getattr(args, "base_layers"):
        raise LayerdropError("--base-layers cannot be dropped or pruned: use fairseq's own architecture for them")
