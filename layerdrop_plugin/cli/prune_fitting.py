"""The part of ``layerdrop prune`` that reads data: --rearrange and --reconstruct."""

import argparse
from typing import TYPE_CHECKING

from ..errors import LayerdropError
from ..pruning.repairs import FULL, METHODS
from .arguments import add_example_arguments, load_session

if TYPE_CHECKING:
    from ..evaluation.losses import Measured
    from ..pruning.parent import Parent
    from ..pruning.plan import Plan
    from ..pruning.prune import Child

MAX_EXAMPLES = 2000  # default


def add_fitting_arguments(parser: argparse.ArgumentParser) -> None:
    """What makes up for what is removed, and the examples that it takes."""
    group = parser.add_argument_group("without training, on data of the parent's")
    group.add_argument(
        "--reconstruct", metavar="DATA", help="refit the output projections of what is kept on this binarised data"
    )
    group.add_argument(
        "--reconstruct-by",
        choices=METHODS,
        help="fit all weights of the projections, or one factor for each head and unit (default: full)",
    )
    group.add_argument(
        "--rearrange", metavar="DATA", help="exchange heads or FFN units kept and removed, by gradients on this data"
    )
    add_example_arguments(group, "train", MAX_EXAMPLES)


def check_fitting(args: argparse.Namespace) -> None:
    """Raise LayerdropError for options of --reconstruct or --rearrange without these."""
    if args.reconstruct_by and not args.reconstruct:
        raise LayerdropError("--reconstruct-by says how --reconstruct works: give --reconstruct DATA too")
    given = {"--subset": args.subset != "train", "--max-examples": args.max_examples != MAX_EXAMPLES}
    if not args.budget_data:  # which reads examples, too
        given |= {"--batch-size": args.batch_size, "--max-tokens": args.max_tokens, "--seed": args.seed != 1}
        given |= {"--cpu": args.cpu}
    unused = next((option for option, value in given.items() if value), None)
    if unused and not (args.reconstruct or args.rearrange):
        raise LayerdropError(f"{unused} says which examples --reconstruct or --rearrange reads: give one of these too")


def rearranged(parent: "Parent", plan: "Plan", args: argparse.Namespace) -> "tuple[Plan, list[str]]":
    """The plan after --rearrange, and lines on what was exchanged."""
    from ..importance.rearrangement import rearrange_on_data

    session = load_session(args, parent, args.rearrange)
    plan, exchanges = rearrange_on_data(session, plan, args.subset, args.max_examples)
    before, after = (sum(getattr(found, name) for found in exchanges.values()) for name in ("before", "after"))
    parts = sum(found.parts for found in exchanges.values())
    fallen = f"the estimated damage fell to {after / before:.3f} of what it was" if parts else "none lowers the damage"
    return plan, [f"rearranged: {parts:,} heads or FFN units exchanged in {len(exchanges)} sublayers; {fallen}"]


def reconstructed(parent: "Parent", child: "Child", args: argparse.Namespace) -> list[str]:
    """Lines on what --reconstruct did to the child's weights."""
    from tabulate import tabulate

    from ..evaluation.reconstruct_child import reconstruct_child

    session = load_session(args, parent, args.reconstruct)
    by = args.reconstruct_by or FULL
    found, measured = reconstruct_child(session, parent, child, args.subset, args.max_examples, by)
    return [
        f"reconstructed ({by}): {len(found.refits)} of the child's projections fitted on"
        f" {found.examples - len(found.held_out):,} examples of {args.subset}, {len(found.held_out):,} others held out",
        tabulate(
            [[refit.repair, refit.columns, refit.penalty, refit.left] for refit in found.refits],
            ["projection", "columns", "penalty", "held-out error left"],
            missingval="unchanged",
            floatfmt=".3g",
        ),
        *_quality(measured, session.per_token),
        *found.notes,
    ]


def _quality(measured: "dict[str, Measured]", per_token: bool) -> list[str]:
    """Lines with the losses on the held-out examples and, for classifiers, the accuracies."""
    from tabulate import tabulate

    losses = {name: of.loss_per_token if per_token else of.loss for name, of in measured.items()}
    headers = ["held-out examples", f"loss per {'token' if per_token else 'example'}"]
    rows = [[name, loss] for name, loss in losses.items()]
    if measured["parent"].accuracy is not None:
        headers.append("accuracy %")
        rows = [[*row, of.accuracy] for row, of in zip(rows, measured.values(), strict=True)]
    lines = [tabulate(rows, headers, floatfmt=("", ".4f", ".1f"))]
    if not losses["reconstructed"] < losses["cut"]:
        lines.append(
            "the reconstruction did not lower the loss on held-out examples: give more examples, or leave it out"
        )
    return lines
