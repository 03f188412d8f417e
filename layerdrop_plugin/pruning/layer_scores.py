"""Rules that select the layers of a stack to keep by a file of scores, written ``NAME:FILE:ARGUMENT``.

    scores:FILE:N          keep the N layers with the highest scores, whatever the method
    loss:FILE:N            the same, of a file by the greedy search (`layerdrop importance --method loss`)
    contribution:FILE:N    the same, of a file by the contribution (`layerdrop importance --method contribution`)
    contribution:FILE:T    drop the layers whose output has a cosine similarity of T or more with their input

Source of the contribution: Sajjad et al. 2020, "Poor Man's BERT".
"""

import re
from typing import NamedTuple

from ..errors import LayerdropError
from .plan import StackPlan
from .ranking import rank_layers
from .scores import Scores
from .shape import ModelShape, StackShape

CONTRIBUTION, LOSS = "contribution", "loss"  # names of methods, and of the rules by their scores
METHODS = {"scores": None, LOSS: LOSS, CONTRIBUTION: CONTRIBUTION}  # rule -> method of the file; None: any
HELP = (
    "by a file of `layerdrop importance` scores:FILE:N, loss:FILE:N or contribution:FILE:N (keep the N layers with the"
    " highest scores), contribution:FILE:T (drop the layers whose output and input have a cosine similarity of T or"
    " more, such as 0.95)"
)


class ScoreRule(NamedTuple):
    """A rule, as it is written: ``NAME:FILE:ARGUMENT``."""

    name: str
    file: str
    argument: str

    def __str__(self):
        return f"{self.name}:{self.file}:{self.argument}"


def score_rule(spec: str) -> ScoreRule | None:
    """The parts of *spec* if it is a rule of METHODS; None if it is another one.

    Raises:
        LayerdropError: it has no file or no argument.
    """
    name, _, rest = spec.partition(":")
    if name not in METHODS:
        return None
    file, _, argument = rest.rpartition(":")
    if not file:
        raise LayerdropError(f"{spec}: want {name}:FILE:N, such as {name}:{name}.json:4, FILE by layerdrop importance")
    return ScoreRule(name, file, argument)


def plan_by_scores(rule: ScoreRule, shape: ModelShape, stack: str, model: str | None) -> StackPlan:
    """Apply *rule* to a *stack* of a model of *shape*.

    Args:
        model: fingerprint of the model's weights, which the scores must be of; None skips this check.

    Raises:
        LayerdropError: the file cannot be read or has no such scores of this model, or the rule keeps no layer.
    """
    try:
        scores = Scores.load(rule.file)
        scores.check(shape, model, "the file")
        method = METHODS[rule.name]
        if method and scores.method != method:
            raise LayerdropError(
                f"the file has scores by {scores.method}: estimate them with layerdrop importance --method {method},"
                " or use scores:FILE:N"
            )
        return StackPlan(_kept(rule, shape.get(stack), scores, stack))
    except LayerdropError as error:
        raise LayerdropError(f"{stack} layers by {rule}: {error}") from None


def _kept(rule: ScoreRule, shape: StackShape, scores: Scores, stack: str) -> tuple[int, ...]:
    """The layers that *rule* keeps, ascending."""
    ranked = rank_layers(scores, stack)
    if re.fullmatch(r"[0-9]{1,6}", rule.argument):
        count = int(rule.argument)
        if not 1 <= count <= shape.layers:
            raise LayerdropError(f"the stack has {shape.layers} layers, so keep between 1 and {shape.layers}")
        return tuple(sorted(ranked[-count:]))
    if rule.name != CONTRIBUTION:
        raise LayerdropError("want FILE:N, N being the number of layers to keep")
    threshold = _threshold(rule.argument)
    similarity = [1 - score for score in scores.scores[f"{stack}.layers"]]
    kept = tuple(layer for layer, cosine in enumerate(similarity) if cosine < threshold)
    if not kept:
        raise LayerdropError(f"all layers have a cosine similarity of {min(similarity):.4g} or more: use a higher T")
    return kept


def _threshold(text: str) -> float:
    if not re.fullmatch(r"[01]?\.[0-9]{1,20}", text) or not 0 < float(text) <= 1:
        raise LayerdropError(
            "want FILE:N, N being the number of layers to keep, or FILE:T, T being a cosine similarity between 0 and 1"
            " with a decimal point, such as 0.95"
        )
    return float(text)
