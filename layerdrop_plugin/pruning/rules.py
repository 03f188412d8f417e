"""The rules in a command's options: for layers, or a plan's file instead, and for heads and FFN units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..anatomy import FFN_UNITS, HEADS, STACKS, Part
from ..errors import LayerdropError
from .layer_rules import stack_plan
from .layer_scores import plan_by_scores, score_rule
from .plan import Plan, StackPlan
from .ranking import RANKINGS, check_any_left, prune_by_importance, share
from .scores import Scores
from .shape import ModelShape

PART_HELP = "FILE:RATE, such as importance.json:0.4: scores and the share to remove, lowest scores first"
MIN_HEADS_HELP = "minimum number of heads that every attention keeps (default: 0)"


@dataclass(frozen=True)
class Rules:
    """Rules from which a plan for a parent is made.

    Attributes:
        layers: stack -> rule for its layers, see layer_rules.py and layer_scores.py; other stacks keep all layers.
        plan_file: path of a plan's JSON file, instead of rules for layers.
        heads, ffn: ``FILE:RATE``, a file of scores and the share to remove; None keeps all heads or units.
        ranking: one of ranking.RANKINGS.
        min_heads: minimum number of heads that every attention keeps.

    Raises:
        LayerdropError: two rules exclude each other, or a rule has no effect.
    """

    layers: Mapping[str, str] = field(default_factory=dict)
    plan_file: str | None = None
    heads: str | None = None
    ffn: str | None = None
    ranking: str = RANKINGS[0]
    min_heads: int = 0

    def __post_init__(self):
        if self.plan_file and self.layers:
            raise LayerdropError("give either a plan's file or rules for the layers, not both")
        if self.min_heads and not self.heads:
            raise LayerdropError("a minimum of heads says what is left of pruned heads: give the heads' rule too")
        if self.ranking != RANKINGS[0] and not self.by_score:
            raise LayerdropError("a ranking says how heads or FFN units are pruned: give the rule for them too")

    def __bool__(self):
        return bool(self.layers or self.plan_file or self.by_score)

    @classmethod
    def from_options(cls, options: Mapping, prefix: str = "") -> "Rules":
        """Read the rules from a command's *options*: ``encoder_layers``, ``plan``, ..., each after *prefix*."""
        layers = {stack: options.get(f"{prefix}{stack}_layers") for stack in STACKS}
        ranking = options.get(f"{prefix}ranking")
        return cls(
            layers={stack: spec for stack, spec in layers.items() if spec},
            plan_file=options.get(f"{prefix}plan"),
            heads=options.get(f"{prefix}heads"),
            ffn=options.get(f"{prefix}ffn"),
            ranking=str(getattr(ranking, "value", ranking)),  # fairseq's choices are enumerations
            min_heads=options.get(f"{prefix}min_heads"),
        )

    @property
    def by_score(self) -> dict[Part, str]:
        """The rules for heads and FFN units that are set, in the order in which they are applied."""
        return {part: spec for part, spec in ((HEADS, self.heads), (FFN_UNITS, self.ffn)) if spec}

    @property
    def files(self) -> list[str]:
        """Paths of the files that the rules refer to."""
        of_layers = [rule.file for rule in map(score_rule, self.layers.values()) if rule]
        files = [self.plan_file, *of_layers, *(spec.rpartition(":")[0] for spec in self.by_score.values())]
        return [file for file in files if file]

    @property
    def read_scores(self) -> bool:
        """Whether :meth:`plan` reads files of scores, which must be the parent's."""
        return bool(self.by_score) or any(map(score_rule, self.layers.values()))

    def plan(
        self, shape: ModelShape, model: str | None = None, rates: Mapping[str, Sequence[float]] | None = None
    ) -> Plan:
        """Make a plan for a parent.

        Args:
            shape: shape of the parent.
            model: fingerprint of the parent's weights, which scores must be of; None skips this check.
            rates: the parent's learned drop rates, see ``Parent.learned_rates``.

        Raises:
            LayerdropError: the rules do not fit *shape*, a file cannot be read, or scores are of another model.
        """
        if self.plan_file:
            plan = Plan.load(self.plan_file)
            plan.validate(shape)
        else:
            stacks = dict(shape.items())
            for stack in self.layers:
                if stack not in stacks:
                    raise LayerdropError(f"the parent has no {stack} to prune")
            plan = Plan(
                **{
                    stack: _of_layers(spec, shape, stack, model, (rates or {}).get(stack, ()))
                    for stack, spec in self.layers.items()
                }
            )
        for part, spec in self.by_score.items():
            plan = self._without(part, spec, plan, shape, model)
        return plan

    def _without(self, part: Part, spec: str, plan: Plan, shape: ModelShape, model: str | None) -> Plan:
        """Remove from *plan* the heads or FFN units that the rule *spec* removes."""
        file, _, rate = spec.rpartition(":")
        if not file:
            raise LayerdropError(f"{spec}: want FILE:RATE, such as importance.json:0.4")
        if plan.names(part):
            raise LayerdropError(f"the plan's file names {part.many} already: leave out the rule {spec} for them")
        check_any_left(plan, shape, part)
        try:
            rate = share(rate)  # before a large file is read
            importance = Scores.load(file)
            importance.check(shape, model, "the file")
            return prune_by_importance(plan, shape, importance, part, rate, self.ranking, self.min_heads)
        except LayerdropError as error:
            raise LayerdropError(f"{part.many} by {spec}: {error}") from None


def _of_layers(spec: str, shape: ModelShape, stack: str, model: str | None, rates: Sequence[float]) -> StackPlan:
    """Apply the rule *spec* for layers to *stack*; *model* and the stack's *rates* are as in :meth:`Rules.plan`."""
    rule = score_rule(spec)
    return plan_by_scores(rule, shape, stack, model) if rule else stack_plan(spec, shape.get(stack), stack, rates)
