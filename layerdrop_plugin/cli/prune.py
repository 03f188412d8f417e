"""Cut a smaller child out of a parent's checkpoint: layers, and among those kept heads and FFN units, by their scores.
What is not named stays whole.

The child loads with fairseq-train --finetune-from-model, fairseq-generate, fairseq-validate and from_pretrained,
without its parent or any override; one that only lost whole layers loads without this plugin too.

  layerdrop prune parent.pt child.pt --encoder-layers every-other:0.5
  layerdrop prune parent.pt child.pt --encoder-layers even:6 --decoder-layers first:2
  layerdrop prune parent.pt child.pt --plan plan.json      {"version": 1, "encoder": {"layers": [1, 3, 5]}}
  layerdrop prune parent.pt child.pt --heads importance.json:0.4 --ffn importance.json:0.5 --min-heads 1
"""

from .. import checkpoint
from ..errors import LayerdropError
from ..pruning import layer_rules, ranking
from ..pruning.describe import LONG_PLAN, describe_kept
from ..pruning.plan import STACKS, Plan
from ..pruning.scores import fingerprint

HELP = "cut a smaller model out of a checkpoint"


def add_arguments(parser) -> None:
    """Parent, child and the plan."""
    parser.add_argument("parent", metavar="PARENT", help="checkpoint file to prune; it is not changed")
    parser.add_argument("child", metavar="CHILD", help="checkpoint file to write")
    for stack in STACKS:
        parser.add_argument(
            f"--{stack}-layers", metavar="SPEC", help=f"layers of the {stack} to keep: {layer_rules.SPEC_HELP}"
        )
    parser.add_argument("--plan", metavar="FILE", help="JSON file of the plan, instead of SPEC")
    for name, what in ranking.NAMES.items():
        parser.add_argument(f"--{name}", metavar="FILE:RATE", help=f"{what} to remove: {layer_rules.PART_HELP}")
    parser.add_argument("--ranking", choices=ranking.RANKINGS, default=ranking.RANKINGS[0], help=ranking.RANKING_HELP)
    parser.add_argument("--min-heads", type=int, default=0, metavar="N", help=layer_rules.MIN_HEADS_HELP)
    parser.add_argument("--dry-run", action="store_true", help="print the plan and write nothing")


def run(args) -> None:
    """Prune, saying what was kept and the rate that was reached."""
    from ..pruning import surgery
    from ..pruning.parent import count_parameters, current_weights, shape_of

    rules = {stack: getattr(args, f"{stack}_layers") for stack in STACKS}
    parts = layer_rules.PartRules(args.heads, args.ffn, args.ranking, args.min_heads)
    if not any(rules.values()) and not args.plan and not parts:
        raise LayerdropError(
            "say what to keep: --encoder-layers SPEC, --decoder-layers SPEC or --plan FILE;"
            " or what to remove: --heads FILE:RATE or --ffn FILE:RATE"
        )
    checkpoint.refuse_same_file(args.parent, args.child)
    state = checkpoint.read(args.parent)
    shape = shape_of(state)
    model = fingerprint(current_weights(state)) if parts else None
    plan = layer_rules.plan_from_options(shape, rules, args.plan, parts, model)
    child = surgery.prune_state(state, plan, {"file": args.parent, "sha256": checkpoint.sha256(args.parent)})
    print(_printable(plan))
    print("\n".join(describe_kept(plan, shape)))
    print(f"parameters: {count_parameters(child):,} of {count_parameters(state):,}")
    if args.dry_run:
        print("dry run: nothing written")
        return
    checkpoint.write(child, args.child)
    print(f"wrote {args.child}")


def _printable(plan: Plan) -> str:
    """The plan's JSON, or where to find it when it is too long to read."""
    text = plan.to_json()
    if len(text) <= LONG_PLAN:
        return text
    return f"plan: {len(text):,} characters of JSON, in the child's provenance (layerdrop inspect --json)"
