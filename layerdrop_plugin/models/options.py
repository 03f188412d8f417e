"""Options that our architectures share, and fairseq's options that they check or refuse."""

import contextlib

from fairseq.utils import safe_getattr
from omegaconf import OmegaConf, open_dict

from ..anatomy import kinds_of_stack
from ..errors import LayerdropError
from ..modules.drop_rates import RATES, SCHEDULES, drop_rate
from ..modules.layer_sizes import layer_sizes
from ..modules.structured_dropout import CHUNKS

DROPPED = {"headdrop": "each attention head", "ffndrop": "each chunk of FFN units", "sublayerdrop": "each sublayer"}


def size_help(stack: str, kind: str) -> str:
    """What ``--STACK-self-attn-heads`` and its like are."""
    parts = "FFN units" if kind == "ffn" else f"heads of {kind}"
    return (
        f"{parts} of the {stack}'s layers, such as 4,3,0,-: 0 leaves the output's bias, - nothing (default: all whole)"
    )


def drop_help(stack: str, name: str) -> str:
    """What ``--STACK-headdrop`` and its like are."""
    return f"chance in [0, 1) that {DROPPED[name]} of the {stack} is left out of a training forward (default: 0)"


def chunks_help(stack: str) -> str:
    """What ``--STACK-ffndrop-chunks`` is."""
    return f"chunks of FFN units that --{stack}-ffndrop leaves out or keeps together (default: {CHUNKS})"


def add_layerdrop_args(parser, *stacks: str) -> None:
    """Add our options of each of *stacks*; make fairseq's ``--STACK-layerdrop`` check its value."""
    for stack in stacks:
        refine_layerdrop_arg(parser, stack)
        for kind in kinds_of_stack(stack):
            name = f"--{stack}-{kind.size_option.replace('_', '-')}"
            parser.add_argument(name, metavar="N,N,...", help=size_help(stack, kind.name))
        for rate in RATES:
            parser.add_argument(f"--{stack}-{rate}", type=float, metavar="P", help=drop_help(stack, rate))
        parser.add_argument(f"--{stack}-ffndrop-chunks", type=int, metavar="N", help=chunks_help(stack))
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
        check_parts(args, stack)
        names = ("layerdrop", *RATES)
        rates = {name: drop_rate(safe_getattr(args, f"{stack}_{name}") or 0.0, f"--{stack}-{name}") for name in names}
        _check_drops(args, stack, [name for name, rate in rates.items() if rate > 0])


def _check_drops(args, stack: str, drops: list[str]) -> None:
    """Raise LayerdropError if *args* have what those of *stack*'s rates that are not 0, named in *drops*, exclude."""
    if drops and safe_getattr(args, "ddp_backend") == "fully_sharded":
        raise LayerdropError(
            f"--{stack}-{drops[0]} does not work under --ddp-backend fully_sharded: use pytorch_ddp or legacy_ddp"
        )
    criterion = str(safe_getattr(args, "criterion") or "")
    leaving_out = [name for name in ("layerdrop", "sublayerdrop") if name in drops]
    if leaving_out and stack == "decoder" and "with_alignment" in criterion:
        raise LayerdropError(
            f"--criterion {criterion} needs the attention of a layer that --decoder-{leaving_out[0]} may leave out:"
            f" train with --decoder-{leaving_out[0]} 0"
        )


def check_parts(args, stack: str) -> None:
    """Raise LayerdropError for sizes of layers, or chunks of their FFN units, that cannot be."""
    layer_sizes(args, stack, getattr(args, f"{stack}_layers"))
    units = getattr(args, f"{stack}_ffn_embed_dim")
    chunks = safe_getattr(args, f"{stack}_ffndrop_chunks") or CHUNKS
    if safe_getattr(args, f"{stack}_ffndrop") and not 1 <= chunks <= units:
        raise LayerdropError(f"--{stack}-ffndrop-chunks {chunks}: want 1 to {units}, the number of FFN units")


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
