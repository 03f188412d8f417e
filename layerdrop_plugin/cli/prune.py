"""Cut a smaller child out of a parent's checkpoint, whole layers at a time; a side that is not named stays whole.

The child is a stock fairseq checkpoint: it loads with fairseq-train --finetune-from-model, fairseq-generate,
fairseq-validate and from_pretrained, without this plugin, its parent or any override.

  layerdrop prune parent.pt child.pt --encoder-layers every-other:0.5
  layerdrop prune parent.pt child.pt --encoder-layers even:6 --decoder-layers first:2
  layerdrop prune parent.pt child.pt --plan plan.json      {"version": 1, "encoder": {"layers": [1, 3, 5]}}
"""

from .. import checkpoint
from ..errors import LayerdropError
from ..pruning import shapes, strategies, surgery
from ..pruning.plan import STACKS

HELP = "cut a smaller model out of a checkpoint"


def add_arguments(parser) -> None:
    """Parent, child and the plan."""
    parser.add_argument("parent", metavar="PARENT", help="checkpoint file to prune; it is not changed")
    parser.add_argument("child", metavar="CHILD", help="checkpoint file to write")
    for stack in STACKS:
        parser.add_argument(
            f"--{stack}-layers", metavar="SPEC", help=f"layers of the {stack} to keep: {strategies.SPEC_HELP}"
        )
    parser.add_argument("--plan", metavar="FILE", help="JSON file of the plan, instead of SPEC")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and write nothing")


def run(args) -> None:
    """Prune, saying what was kept and the rate that was reached."""
    rules = {stack: getattr(args, f"{stack}_layers") for stack in STACKS}
    if not any(rules.values()) and not args.plan:
        raise LayerdropError("say what to keep: --encoder-layers SPEC, --decoder-layers SPEC or --plan FILE")
    checkpoint.refuse_same_file(args.parent, args.child)
    state = checkpoint.read(args.parent)
    shape = shapes.shape_of(state)
    plan = strategies.plan_from_options(shape, rules, args.plan)
    child = surgery.prune_state(state, plan, {"file": args.parent, "sha256": checkpoint.sha256(args.parent)})
    print(plan.to_json())
    for stack in STACKS:
        if getattr(plan, stack) is not None:
            kept, layers = len(getattr(plan, stack).layers), getattr(shape, stack).layers
            print(f"{stack}: {kept} of {layers} layers kept, {1 - kept / layers:.3f} of them dropped")
    print(f"parameters: {shapes.count_parameters(child):,} of {shapes.count_parameters(state):,}")
    if args.dry_run:
        print("dry run: nothing written")
        return
    checkpoint.write(child, args.child)
    print(f"wrote {args.child}")
