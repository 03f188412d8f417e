"""What a command's options ask to prune: rules for layers or a plan's file, then rules for heads and FFN units."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..anatomy import FFN_UNITS, HEADS, STACKS, Part
from ..errors import LayerdropError
from .layer_rules import stack_plan
from .plan import Plan
from .ranking import RANKINGS, check_any_left, prune_by_importance, share
from .scores import Scores
from .shape import ModelShape

PART_HELP = "FILE:RATE, such as importance.json:0.4: the share of them that goes, lowest scores first"
MIN_HEADS_HELP = "heads that every attention keeps at least, the next lowest going instead (default: none)"


@dataclass(frozen=True)
class Rules:
    """Rules that make a plan of a parent's shape.

    Attributes:
        layers: stack -> rule for its layers, see layer_rules.py; all layers of a stack that is not named stay.
        plan_file: JSON file of a plan, instead of rules for layers.
        heads, ffn: ``FILE:RATE``: a file of scores, and the share to remove; None leaves all of them.
        ranking: what competes, one of ranking.RANKINGS.
        min_heads: heads that every attention keeps.

    Raises:
        LayerdropError: rules that exclude each other, or one that would do nothing.
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
        """The rules in a command's *options*, whose names begin with *prefix*: ``encoder_layers``, ``plan``, ..."""
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
        """The rules for heads and FFN units, in the order in which they apply."""
        return {part: spec for part, spec in ((HEADS, self.heads), (FFN_UNITS, self.ffn)) if spec}

    @property
    def files(self) -> list[str]:
        """The files that these rules read."""
        files = [self.plan_file, *(spec.rpartition(":")[0] for spec in self.by_score.values())]
        return [file for file in files if file]

    def plan(self, shape: ModelShape, model: str | None = None) -> Plan:
        """The plan that these rules make, which can be cut out of *shape*.

        Args:
            shape: the parent's.
            model: fingerprint of the parent's weights, None where they are not known: scores are then not compared.

        Raises:
            LayerdropError: scores of another model, or what the rules say cannot be cut out of *shape*.
        """
        if self.plan_file:
            plan = Plan.load(self.plan_file)
            plan.validate(shape)
        else:
            stacks = dict(shape.items())
            for stack in self.layers:
                if stack not in stacks:
                    raise LayerdropError(f"the parent has no {stack} to prune")
            plan = Plan(**{stack: stack_plan(spec, stacks[stack], stack) for stack, spec in self.layers.items()})
        for part, spec in self.by_score.items():
            plan = self._without(part, spec, plan, shape, model)
        return plan

    def _without(self, part: Part, spec: str, plan: Plan, shape: ModelShape, model: str | None) -> Plan:
        """*plan* without the heads or FFN units that the rule *spec* removes."""
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
