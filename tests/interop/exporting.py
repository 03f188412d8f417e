"""Children of imported models, for the tests of exports."""

import shutil

from layerdrop_plugin import checkpoint
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune

# plans of the two layers x two heads of references/; FFNs of 12 units
UNEVEN = StackPlan((0, 1), self_attn={0: (1,), 1: ()}, ffn={0: (0, 3, 7), 1: ()})
ONE_LAYER = StackPlan((1,), self_attn={1: (0,)})
NO_FFN = StackPlan((0, 1), ffn={1: None})


def child_of(folder, plan, out):
    """The folder *out* with a child of the imported model in *folder*, and all that lies beside it."""
    shutil.copytree(folder, out, ignore=shutil.ignore_patterns("checkpoint.pt"))
    checkpoint.write(prune(Parent.load(folder / "checkpoint.pt"), Plan(plan)).state, out / "checkpoint.pt")
    return out
