"""Average the weights of checkpoints of one model (the last ones of a run, for instance), parent or child.

The result has the options of the last CKPT and no optimizer state; it is used like any other checkpoint.

  layerdrop average run/checkpoint8.pt run/checkpoint9.pt run/checkpoint10.pt --out average.pt
"""

import argparse

from .. import checkpoint

HELP = "average the weights of checkpoints"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The files."""
    parser.add_argument("checkpoints", nargs="+", metavar="CKPT", help="checkpoint files; they are not changed")
    parser.add_argument("--out", required=True, metavar="CKPT", help="checkpoint file to write")


def run(args: argparse.Namespace) -> None:
    """Average and write."""
    from .. import averaging

    for path in args.checkpoints:
        checkpoint.refuse_same_file(path, args.out)
    checkpoint.check_target(args.out)
    checkpoint.write(averaging.average(args.checkpoints), args.out)
    print(f"wrote {args.out}, the average of {len(args.checkpoints)}")
