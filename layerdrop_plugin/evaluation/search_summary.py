"""Results of a search for layers as plain data.

task, per            the kind of model, see Session.kind; unit of the mean loss: "token" or "example"
search               stack, layers (of the whole stack), keep, method, beam (null but for the method "beam"), metric
examples             how many there are in both halves together
chosen_on,           of the half that subsets are compared on, and of the half that the best are tested on: examples and
tested_on            tokens (target tokens; of classifiers and regression 1 an example)
whole                entry of all layers
every_other          entry of evenly spaced layers (the rule even:N), every other one if half of them are kept
best                 entry of the best subset by the metric on the half chosen_on
test                 best against every_other on the half tested_on: metric, difference, p and name of the test
sizes                greedy and beam: for each size on the way down size, subsets (compared), best and every_other
compared             number of subsets of the wanted size that were compared
rank_of_every_other  the place of every_other among them, the best being 1; null if it is not one of them
ranked               entries of the best RANKED of them, the best first
losses               of all of them, on the half chosen_on, ascending
bleu                 of the metric bleu: number of sentences of each half, beam size, sacrebleu's signature; else null
layer_evaluations    how many layers run for a batch: shared (as computed), alone (if each subset ran by itself)
time                 expected and reached: the time of all subsets as a share of that of each by itself; expected is the
                     ratio of layer_evaluations, reached was measured on some batches, null if there was nothing to
                     measure; seconds that were measured

An entry:

layers, plan         the layers kept, and the contents of the plan's file
chosen_on,           loss (nats, or squared error for regression), accuracy (percent, null but for classifiers) and bleu
tested_on            (null if not measured) on each half; tested_on is null of those that were not tested
"""

from tqdm import tqdm

from ..pruning.gates import gated
from ..pruning.layer_search import Subset, every_other
from . import translations
from .batches import Batches
from .layer_search import Compared, Question, measure_on
from .losses import Measured
from .session import Session
from .shared_prefixes import plan_of
from .significance import TESTS, mcnemar_test, paired_t_test
from .text_halves import Halves

RANKED = 1000


class Bleus:
    """BLEU of subsets on both halves.

    Args:
        session: the translation model.
        subset: name of the split.
        halves: the examples of each half.
        most: maximum number of sentences of each half, drawn with the session's seed.
        beam: beam size.

    Attributes:
        chosen_on, tested_on: subset -> BLEU; of the latter with the p-value of its difference to the first subset.
        record: the entry ``bleu``.
    """

    def __init__(self, session: Session, subset: str, halves: Halves, most: int, beam: int):
        self._session, self._beam = session, beam
        numbers = (session.draw(half, most) for half in halves)
        self._examples = [translations.examples(session, subset, chosen) for chosen in numbers]
        self.chosen_on: dict[Subset, float] = {}
        self.tested_on: dict[Subset, tuple[float, float | None]] = {}
        self.record: dict = {}

    def measure(self, stack: str, subsets: list[Subset]) -> None:
        """Translate with each of *subsets*; the others are compared with the first of them."""
        made = []
        for examples, name in zip(self._examples, ("chosen", "tested"), strict=True):
            translate = translations.translator(self._session, examples.batches, self._beam)
            systems = {}
            for subset in tqdm(subsets, desc=f"BLEU, half {name} on", unit="subset"):
                with gated(self._session.model, plan_of(stack, subset)):
                    systems[str(subset)] = translate()
            made.append(systems)
        chosen_on, tested_on = self._examples
        scores, signature = translations.compare_with_first(made[1], tested_on.references)
        for subset in subsets:
            self.chosen_on[subset] = translations.bleu(made[0][str(subset)], chosen_on.references)
            self.tested_on[subset] = scores[str(subset)]
        sentences = [len(examples.references) for examples in self._examples]
        self.record = {"examples": sentences, "beam": self._beam, "signature": signature}


def describe(
    session: Session,
    asked: Question,
    compared: dict[int, Compared],
    tested_on: Batches,
    finalists: int,
    bleus: Bleus | None = None,
) -> dict:
    """Test the best subsets on the other half, and summarise a search; returns the record described above.

    Args:
        session: the model.
        asked: what was searched.
        compared: what :func:`layer_search.run` returned.
        tested_on: batches of the other half.
        finalists: number of the best subsets that are tested, and ranked again by BLEU.
        bleus: measures their BLEU; None leaves it out.
    """
    last, whole = compared[asked.keep], tuple(range(asked.layers))
    other = every_other(asked.layers, asked.keep)
    ranked = last.ranked(asked.compared_by)
    finals = ranked[:finalists]
    if bleus:
        bleus.measure(asked.stack, list(dict.fromkeys([other, whole, *finals])))
        finals = sorted(finals, key=lambda subset: -bleus.chosen_on[subset])  # of equal BLEU by loss, as before
        ranked = finals + ranked[finalists:]
    bests = {size: of.ranked(asked.compared_by)[0] for size, of in compared.items()} | {asked.keep: ranked[0]}
    others = {size: every_other(asked.layers, size) for size in compared}
    measured = measure_on(session, tested_on, asked.stack, [whole, *finals, *bests.values(), *others.values()])

    def entry(subset: Subset) -> dict:
        chosen, tested = compared[len(subset)].values(subset, session.per_token), measured.get(subset)
        found = {"layers": list(subset), "plan": plan_of(asked.stack, subset).to_dict()}
        found["chosen_on"] = chosen | {"bleu": bleus.chosen_on.get(subset) if bleus else None}
        found["tested_on"] = tested and _means(tested, session.per_token) | {
            "bleu": bleus.tested_on.get(subset, (None,))[0] if bleus else None
        }
        return found

    on_the_way = [] if asked.width is None else [size for size in compared if size < asked.layers]
    return {
        "task": session.kind,
        "per": "token" if session.per_token else "example",
        "search": _question(asked),
        "examples": last.stage["examples"] + len(measured[whole].losses),
        "chosen_on": {name: last.stage[name] for name in ("examples", "tokens")},
        "tested_on": {"examples": len(measured[whole].losses), "tokens": int(measured[whole].tokens.sum())},
        "whole": entry(whole),
        "every_other": entry(other),
        "best": entry(ranked[0]),
        "test": _test(asked.metric, ranked[0], other, measured, bleus),
        "sizes": [
            {
                "size": size,
                "subsets": len(compared[size].candidates),
                "best": entry(bests[size]),
                "every_other": entry(others[size]),
            }
            for size in on_the_way
        ],
        "compared": len(ranked),
        "rank_of_every_other": ranked.index(other) + 1 if other in ranked else None,
        "ranked": [entry(subset) for subset in ranked[:RANKED]],
        "losses": sorted(last.values(subset, session.per_token)["loss"] for subset in ranked),
        "bleu": bleus.record if bleus else None,
        **_costs(compared, asked),
    }


def _question(asked: Question) -> dict:
    return {
        "stack": asked.stack,
        "layers": asked.layers,
        "keep": asked.keep,
        "method": asked.method,
        "beam": asked.beam if asked.method == "beam" else None,
        "metric": asked.metric,
    }


def _means(measured: Measured, per_token: bool) -> dict:
    return {"loss": measured.loss_per_token if per_token else measured.loss, "accuracy": measured.accuracy}


def _test(metric: str, best: Subset, other: Subset, measured: dict[Subset, Measured], bleus: Bleus | None) -> dict:
    """The entry ``test``."""
    one, base = measured[best], measured[other]
    if metric == "bleu":
        difference = bleus.tested_on[best][0] - bleus.tested_on[other][0]
        p_value = 1.0 if best == other else bleus.tested_on[best][1]
    elif metric == "accuracy":
        difference, p_value = one.accuracy - base.accuracy, mcnemar_test(base.correct, one.correct)
    else:
        changes = one.losses - base.losses
        difference, p_value = float(changes.sum() / base.tokens.sum()), paired_t_test(changes)
    return {"metric": metric, "difference": difference, "p": p_value, "test": TESTS[metric]}


def _costs(compared: dict[int, Compared], asked: Question) -> dict:
    """The entries ``layer_evaluations`` and ``time``, over all sizes but the whole model's."""
    stages = [of.stage for size, of in compared.items() if size < asked.layers]
    shared = sum(stage["evaluations"] for stage in stages)
    alone = sum(stage["subsets"] * stage["size"] for stage in stages)
    seconds = {name: sum(stage["timed"][name] for stage in stages) for name in ("shared", "alone")}
    reached = seconds["shared"] / seconds["alone"] if seconds["alone"] else None
    return {
        "layer_evaluations": {"shared": shared, "alone": alone},
        "time": {"expected": shared / alone, "reached": reached, "seconds": seconds},
    }
