"""Make a child from a parent and rules, for ``layerdrop prune`` and the pruning tasks."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from . import surgery
from .describe import describe_kept
from .parent import Parent
from .plan import Plan
from .rules import Rules
from .vocabulary import PrunedVocabulary


class Child(Parent):
    """A pruned checkpoint without training state, which may be pruned again.

    It does not refer to the parent, which need not stay in memory.

    Attributes:
        plan: what it keeps of its parent.
        parent_shape: shape of the parent.
        parent_vocabulary: side -> number of rows of the parent's embedding, if some of them are removed.
    """

    def __init__(self, parent: Parent, plan: Plan, vocabulary: PrunedVocabulary | None = None):
        shape = surgery.child_shape(parent.shape, plan)
        super().__init__(surgery.child_state(parent, plan, shape, vocabulary))
        self.plan, self.parent_shape = plan, parent.shape
        self.parent_vocabulary = {} if plan.vocabulary is None else parent.vocabulary_sizes
        self.family, self.shape = parent.family, shape  # known, so they are not derived from the state again

    def refit(self, weights: Mapping[str, Tensor], how: dict) -> None:
        """Replace some of its weights by what they were refitted to, and say so in its provenance.

        Args:
            weights: name -> new weight, of the shape of the old one; the old one's precision is kept.
            how: record of the reconstruction, see :func:`surgery.reconstructed`.
        """
        old = self.state["model"]
        new = {name: value.to(old[name]) for name, value in weights.items()}
        self.cfg = surgery.reconstructed(self.cfg, how)
        self.state = self.state | {"model": old | new, "cfg": self.cfg}
        for name in ("weights", "fingerprint", "learned_weights"):  # of the old weights
            self.__dict__.pop(name, None)

    def describe(self) -> list[str]:
        """Lines with the numbers of layers, heads, FFN units and embedding rows kept; none if everything is kept."""
        return describe_kept(self.plan, self.parent_shape, self.parent_vocabulary)


def plan_of(parent: Parent, rules: Rules | Plan) -> Plan:
    """The plan that *rules* make for *parent*, or *rules* itself if it is a plan.

    Raises:
        LayerdropError: the parent cannot be pruned, or the rules or the plan do not fit it.
    """
    if isinstance(rules, Plan):
        rules.validate(parent.shape)
        return rules
    return rules.plan(parent.shape, parent.fingerprint if rules.read_scores else None, parent.learned_rates)


def prune(parent: Parent, rules: Rules | Plan, vocabulary: PrunedVocabulary | None = None) -> Child:
    """Prune *parent* by *rules* or by a plan.

    Args:
        parent: the parent.
        rules: rules that select what is kept, or a plan.
        vocabulary: the rows of the embeddings to keep and their symbols; they replace rows named in a plan.

    Raises:
        LayerdropError: the parent cannot be pruned, or the rules or the plan do not fit it.
    """
    plan = plan_of(parent, rules)
    if vocabulary is not None:
        plan = replace(plan, vocabulary=vocabulary.plan)
    if plan.vocabulary is not None:
        plan.vocabulary.validate(parent.vocabulary_sizes, parent.shares_vocabulary)
    return Child(parent, plan, vocabulary)
