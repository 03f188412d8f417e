"""Options that this plugin's architectures share, and fairseq's options that they check or refuse."""

import contextlib
import math
from argparse import ArgumentParser, Namespace

from fairseq.utils import safe_getattr
from omegaconf import DictConfig, OmegaConf, open_dict

from ..anatomy import kinds_of_stack
from ..errors import LayerdropError
from ..modules.drop_rates import RATES, SCHEDULES, drop_rate
from ..modules.layer_sizes import layer_sizes
from ..modules.learned_rates import HIGHEST, LEARNING_RATE, LOWEST
from ..modules.structured_dropout import CHUNKS

Args = Namespace | DictConfig  # a model's options, as fairseq passes them
_CONSTANT = next(iter(SCHEDULES))
DROPPED = {"headdrop": "each attention head", "ffndrop": "each chunk of FFN units", "sublayerdrop": "each sublayer"}


LEARN_HELP = (
    "learn the drop rate of each layer, their mean staying --encoder-layerdrop or --decoder-layerdrop; they are saved"
    " with the model"
)
LEARN_LR_HELP = f"learning rate of --learn-layerdrop, which no schedule changes (default: {LEARNING_RATE})"


def size_help(stack: str, kind: str) -> str:
    """Help of ``--STACK-self-attn-heads``, ``--STACK-encoder-attn-heads`` and ``--STACK-ffn-units``."""
    parts = "FFN units" if kind == "ffn" else f"heads of {kind}"
    return (
        f"{parts} of the {stack}'s layers, such as 4,3,0,-: 0 leaves the output's bias, - nothing (default: all whole)"
    )


def drop_help(stack: str, name: str) -> str:
    """Help of ``--STACK-headdrop``, ``--STACK-ffndrop`` and ``--STACK-sublayerdrop``."""
    return f"chance in [0, 1) that {DROPPED[name]} of the {stack} is left out of a training forward (default: 0)"


def chunks_help(stack: str) -> str:
    """Help of ``--STACK-ffndrop-chunks``."""
    return f"chunks of FFN units that --{stack}-ffndrop leaves out or keeps together (default: {CHUNKS})"


def add_layerdrop_args(parser: ArgumentParser, *stacks: str) -> None:
    """Add this plugin's options for each of *stacks*, and make fairseq's ``--STACK-layerdrop`` check its value."""
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
    parser.add_argument("--learn-layerdrop", action="store_true", help=LEARN_HELP)
    parser.add_argument("--learn-layerdrop-lr", type=float, metavar="LR", help=LEARN_LR_HELP)


def refine_layerdrop_arg(parser: ArgumentParser, stack: str) -> None:
    """Make fairseq's ``--STACK-layerdrop`` check its value."""
    name = f"--{stack}-layerdrop"
    for action in parser._actions:  # argparse has no public way to change an option
        if name in action.option_strings:
            action.type = lambda text: drop_rate(text, name)


def set_layerdrop_defaults(args: Args, *stacks: str) -> None:
    """Set defaults for options of :func:`add_layerdrop_args` that *args* do not have."""
    for stack in stacks:
        option = f"{stack}_layerdrop_schedule"
        setattr(args, option, safe_getattr(args, option) or next(iter(SCHEDULES)))
    args.layerdrop_warmup_updates = safe_getattr(args, "layerdrop_warmup_updates") or 0


def check_layerdrop(args: Args, *stacks: str) -> None:
    """Raise LayerdropError for rates outside [0, 1) and for options that LayerDrop does not work with.

    Architecture functions call it: fairseq calls those as soon as it has parsed the command line.
    """
    for stack in stacks:
        check_parts(args, stack)
        names = ("layerdrop", *RATES)
        rates = {name: drop_rate(safe_getattr(args, f"{stack}_{name}") or 0.0, f"--{stack}-{name}") for name in names}
        _check_drops(args, stack, [name for name, rate in rates.items() if rate > 0])
    _check_learned(args, stacks)


def _check_learned(args: Args, stacks: tuple[str, ...]) -> None:
    """Raise LayerdropError for options that leave ``--learn-layerdrop`` nothing to learn, or none of that name."""
    learning_rate = safe_getattr(args, "learn_layerdrop_lr")
    if not safe_getattr(args, "learn_layerdrop"):
        if learning_rate is not None:
            raise LayerdropError("--learn-layerdrop-lr says how --learn-layerdrop learns: give it too")
        return
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise LayerdropError(f"--learn-layerdrop-lr wants a number above 0, not {learning_rate}")
    rates = {stack: float(safe_getattr(args, f"{stack}_layerdrop") or 0.0) for stack in stacks}
    if not any(rates.values()):
        wanted = " or ".join(f"--{stack}-layerdrop P" for stack in stacks)
        raise LayerdropError(f"--learn-layerdrop learns rates whose mean is not 0: give {wanted}")
    for stack, rate in rates.items():
        if rate and not LOWEST < rate < HIGHEST:
            raise LayerdropError(
                f"--learn-layerdrop keeps every rate from {LOWEST} to {HIGHEST}: --{stack}-layerdrop {rate:g} must lie"
                " between them"
            )
        if rate and str(safe_getattr(args, f"{stack}_layerdrop_schedule") or _CONSTANT) != _CONSTANT:
            raise LayerdropError(f"--learn-layerdrop takes the place of --{stack}-layerdrop-schedule: leave it out")
        if rate and getattr(args, f"{stack}_layers") < 2:
            raise LayerdropError(f"--learn-layerdrop has nothing to learn with one {stack} layer: leave it out")


def _check_drops(args: Args, stack: str, drops: list[str]) -> None:
    """Raise LayerdropError for options that exclude *drops*, the names of the rates of *stack* above 0."""
    if drops and safe_getattr(args, "ddp_backend") == "fully_sharded":
        raise LayerdropError(
            f"--{stack}-{drops[0]} does not work under --ddp-backend fully_sharded: use pytorch_ddp or legacy_ddp"
        )
    criterion = str(safe_getattr(args, "criterion") or "")
    skipping = [name for name in ("layerdrop", "sublayerdrop") if name in drops]
    if skipping and stack == "decoder" and "with_alignment" in criterion:
        raise LayerdropError(
            f"--criterion {criterion} needs the attention of a layer that --decoder-{skipping[0]} may leave out:"
            f" train with --decoder-{skipping[0]} 0"
        )


def check_parts(args: Args, stack: str) -> None:
    """Raise LayerdropError for invalid sizes of layers or an invalid number of chunks of FFN units."""
    layer_sizes(args, stack, getattr(args, f"{stack}_layers"))
    units = getattr(args, f"{stack}_ffn_embed_dim")
    chunks = safe_getattr(args, f"{stack}_ffndrop_chunks") or CHUNKS
    if safe_getattr(args, f"{stack}_ffndrop") and not 1 <= chunks <= units:
        raise LayerdropError(f"--{stack}-ffndrop-chunks {chunks}: want 1 to {units}, the number of FFN units")


def changeable(args: Args) -> contextlib.AbstractContextManager:
    """Context in which options can be added to *args*, whether a ``Namespace`` or a ``DictConfig``."""
    return open_dict(args) if OmegaConf.is_config(args) else contextlib.nullcontext()


def refuse_unfinished_pruning(args: Args) -> None:
    """Raise LayerdropError for the pruning options of fairseq's RoBERTa, whose models cannot be loaded again."""
    for option in ("mha_heads_to_keep", "ffn_blocks_to_remove"):
        if safe_getattr(args, option, -1) not in (None, -1):
            raise LayerdropError(
                f"--{option.replace('_', '-')} is an unfinished experiment of fairseq whose models do not load:"
                " prune with  layerdrop prune  instead"
            )


def refuse_base_layers(args: Args) -> None:
    """Raise LayerdropError for BASE layers, which exchange tokens between workers and cannot be dropped or pruned."""
    if safe_getattr(args, "base_layers"):
        raise LayerdropError("--base-layers cannot be dropped or pruned: use fairseq's own architecture for them")
