"""From a parent and rules to a child: the way that ``layerdrop prune`` and the pruning tasks share."""

from . import surgery
from .describe import describe_kept
from .parent import Parent
from .plan import Plan
from .rules import Rules


class Child(Parent):
    """What pruning makes: a checkpoint whose training has not begun, and which may be a parent again.

    Attributes:
        plan: what it keeps of its parent.
        parent_shape: the parent's; the parent itself, its optimizer's state included, need not stay in memory.
    """

    def __init__(self, parent: Parent, plan: Plan):
        shape = surgery.child_shape(parent.shape, plan)
        super().__init__(surgery.child_state(parent, plan, shape))
        self.plan, self.parent_shape = plan, parent.shape
        self.family, self.shape = parent.family, shape  # known already: not read from the child's own state

    def describe(self) -> list[str]:
        """Lines that say how many layers, heads and FFN units are kept; none where all are."""
        return describe_kept(self.plan, self.parent_shape)


def prune(parent: Parent, rules: Rules | Plan) -> Child:
    """The child that *rules*, or a plan, cut out of *parent*.

    Raises:
        LayerdropError: the parent cannot be pruned, or not by these.
    """
    if isinstance(rules, Plan):
        plan = rules
        plan.validate(parent.shape)
    else:
        plan = rules.plan(parent.shape, parent.fingerprint if rules.by_score else None)
    return Child(parent, plan)
