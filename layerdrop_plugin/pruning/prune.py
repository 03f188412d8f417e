"""From a parent and rules to a child: the way that ``layerdrop prune`` and the pruning tasks share."""

from dataclasses import replace

from . import surgery
from .describe import describe_kept
from .parent import Parent
from .plan import Plan
from .rules import Rules
from .vocabulary import PrunedVocabulary


class Child(Parent):
    """What pruning makes: a checkpoint whose training has not begun, and which may be a parent again.

    Attributes:
        plan: what it keeps of its parent.
        parent_shape: the parent's; the parent itself, its optimizer's state included, need not stay in memory.
        parent_vocabulary: side -> rows of the parent's embedding, if some of them go.
    """

    def __init__(self, parent: Parent, plan: Plan, vocabulary: PrunedVocabulary | None = None):
        shape = surgery.child_shape(parent.shape, plan)
        super().__init__(surgery.child_state(parent, plan, shape, vocabulary))
        self.plan, self.parent_shape = plan, parent.shape
        self.parent_vocabulary = {} if plan.vocabulary is None else parent.vocabulary_sizes
        self.family, self.shape = parent.family, shape  # known already: not read from the child's own state

    def describe(self) -> list[str]:
        """Lines that say how many layers, heads, FFN units and embedding rows are kept; none where all are."""
        return describe_kept(self.plan, self.parent_shape, self.parent_vocabulary)


def prune(parent: Parent, rules: Rules | Plan, vocabulary: PrunedVocabulary | None = None) -> Child:
    """The child that *rules*, or a plan, cut out of *parent*.

    Args:
        vocabulary: the rows of the embeddings that stay and their symbols: of a plan that names rows, these.

    Raises:
        LayerdropError: the parent cannot be pruned, or not by these.
    """
    if isinstance(rules, Plan):
        plan = rules
        plan.validate(parent.shape)
    else:
        plan = rules.plan(parent.shape, parent.fingerprint if rules.by_score else None)
    if vocabulary is not None:
        plan = replace(plan, vocabulary=vocabulary.plan)
    if plan.vocabulary is not None:
        plan.vocabulary.validate(parent.vocabulary_sizes, parent.shares_vocabulary)
    return Child(parent, plan, vocabulary)
