"""Make a child from a parent and rules, for ``layerdrop prune`` and the pruning tasks."""

from . import surgery
from .describe import describe_kept
from .parent import Parent
from .plan import Plan
from .rules import Rules


class Child(Parent):
    """A pruned checkpoint without training state, which may be pruned again.

    It does not refer to the parent, which need not stay in memory.

    Attributes:
        plan: what it keeps of its parent.
        parent_shape: shape of the parent.
    """

    def __init__(self, parent: Parent, plan: Plan):
        shape = surgery.child_shape(parent.shape, plan)
        super().__init__(surgery.child_state(parent, plan, shape))
        self.plan, self.parent_shape = plan, parent.shape
        self.family, self.shape = parent.family, shape  # known, so they are not derived from the state again

    def describe(self) -> list[str]:
        """Lines with the numbers of layers, heads and FFN units that are kept; none if everything is kept."""
        return describe_kept(self.plan, self.parent_shape)


def prune(parent: Parent, rules: Rules | Plan) -> Child:
    """Prune *parent* by *rules* or by a plan.

    Raises:
        LayerdropError: the parent cannot be pruned, or the rules or the plan do not fit it.
    """
    if isinstance(rules, Plan):
        plan = rules
        plan.validate(parent.shape)
    else:
        plan = rules.plan(parent.shape, parent.fingerprint if rules.by_score else None)
    return Child(parent, plan)
