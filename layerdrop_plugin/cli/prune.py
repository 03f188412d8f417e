"""Cut a smaller child out of a parent's checkpoint: layers, and among those kept heads and FFN units, by their scores.
What is not named stays whole.

The child loads with fairseq-train --finetune-from-model, fairseq-generate, fairseq-validate and from_pretrained,
without its parent or any override; one that only lost whole layers loads without this plugin too.

  layerdrop prune parent.pt child.pt --encoder-layers every-other:0.5
  layerdrop prune parent.pt child.pt --encoder-layers even:6 --decoder-layers first:2
  layerdrop prune parent.pt child.pt --plan plan.json      {"version": 1, "encoder": {"layers": [1, 3, 5]}}
  layerdrop prune parent.pt child.pt --heads importance.json:0.4 --ffn importance.json:0.5 --min-heads 1
"""

import argparse

from .. import checkpoint
from ..anatomy import PARTS, STACKS
from ..errors import LayerdropError
from ..pruning.describe import LONG_PLAN
from ..pruning.layer_rules import SPEC_HELP
from ..pruning.plan import Plan
from ..pruning.ranking import RANKING_HELP, RANKINGS
from ..pruning.rules import MIN_HEADS_HELP, PART_HELP, Rules

HELP = "cut a smaller model out of a checkpoint"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Parent, child and the plan."""
    parser.add_argument("parent", metavar="PARENT", help="checkpoint file to prune; it is not changed")
    parser.add_argument("child", metavar="CHILD", help="checkpoint file to write")
    for stack in STACKS:
        parser.add_argument(f"--{stack}-layers", metavar="SPEC", help=f"layers of the {stack} to keep: {SPEC_HELP}")
    parser.add_argument("--plan", metavar="FILE", help="JSON file of the plan, instead of SPEC")
    for name, part in PARTS.items():
        parser.add_argument(f"--{name}", metavar="FILE:RATE", help=f"{part.many} to remove: {PART_HELP}")
    parser.add_argument("--ranking", choices=RANKINGS, default=RANKINGS[0], help=RANKING_HELP)
    parser.add_argument("--min-heads", type=int, default=0, metavar="N", help=MIN_HEADS_HELP)
    parser.add_argument("--dry-run", action="store_true", help="print the plan and write nothing")


def run(args: argparse.Namespace) -> None:
    """Prune, saying what was kept and the rate that was reached."""
    from ..pruning.parent import Parent
    from ..pruning.prune import prune

    rules = Rules.from_options(vars(args))
    if not rules:
        raise LayerdropError(
            "say what to keep: --encoder-layers SPEC, --decoder-layers SPEC or --plan FILE;"
            " or what to remove: --heads FILE:RATE or --ffn FILE:RATE"
        )
    checkpoint.refuse_same_file(args.parent, args.child)
    if not args.dry_run:
        checkpoint.check_target(args.child)  # before the work, not after it
    parent = Parent.load(args.parent)
    child = prune(parent, rules)
    said = [_printable(child.plan), *child.describe(), f"parameters: {child.parameters:,} of {parent.parameters:,}"]
    if not args.dry_run:
        checkpoint.write(child.state, args.child)
    print("\n".join([*said, "dry run: nothing written" if args.dry_run else f"wrote {args.child}"]))


def _printable(plan: Plan) -> str:
    """The plan's JSON, or where to find it when it is too long to read."""
    text = plan.to_json()
    if len(text) <= LONG_PLAN:
        return text
    return f"plan: {len(text):,} characters of JSON, in the child's provenance (layerdrop inspect --json)"
