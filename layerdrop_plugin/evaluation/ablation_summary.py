"""What an ablation says, as plain data: the changes of the metrics, head by head, and which of them are no chance.

mode, task, per      as asked, the kind of model, and what the loss is counted per: "token" or "example"
examples, tokens     how many were measured
whole                the model as it is: loss (nats, of regressions squared error), accuracy (percent), bleu; null
                     what there is not
level, correction    of significance, and how p-values were corrected: "Holm", over all tests of a metric
heads                every head: kind, layer, head; best: whether it is the best single head of its layer (only
                     where one is kept and chosen); and by metric, of those measured, what change it makes
    change           metric after minus before: loss as above, accuracy in points, BLEU
    p, p_holm        of the metric's test, as it is and corrected
    significant      whether p_holm is below the level
    broken, mended   accuracy only: answers that turned wrong and right
selection            null if no head was to be chosen by its loss; else numbers of examples: chosen_on of the half to
                     choose on, drawn with the seed, and tested_on of the half to test on; both 0 where there are too
                     few, and then nothing was chosen
best                 where one head is kept, the best of each layer as in heads, but measured on the half to test on and
                     corrected for these tests alone; null where none was chosen
bleu                 where measured: examples, beam, signature (sacrebleu's)
summary              by metric: tests, significant ones, those for the worse and for the better, and the test's name
"""

import numpy as np
from tqdm import tqdm

from . import translations
from .ablation import ALL_BUT_ONE, Ablated, Head, ablated
from .losses import Measured
from .session import Session
from .significance import LEVEL, TESTS, halves, holm, mcnemar_test, paired_t_test

CORRECTION = "Holm"
GROWS_WORSE = {"loss": 1, "accuracy": -1, "bleu": -1}  # sign of a change for the worse
BLEU = ("all", "extremes", "none")


def describe(measured: Ablated, session: Session, mode: str) -> dict:
    """The findings about an ablation of a session's model, before BLEU."""
    whole, per_token = measured.whole, session.per_token
    record = {
        "mode": mode,
        "task": session.kind,
        "per": "token" if per_token else "example",
        "examples": len(whole.losses),
        "tokens": int(whole.tokens.sum()),
        "whole": {
            "loss": whole.loss_per_token if per_token else whole.loss,
            "accuracy": whole.accuracy,
            "bleu": None,
        },
        "level": LEVEL,
        "correction": CORRECTION,
        "heads": [_entry(head, whole, without, per_token) for head, without in measured.heads.items()],
        "selection": None,
        "best": None,
        "bleu": None,
        "summary": {},
    }
    for metric in ("loss", "accuracy"):
        record["summary"] |= _tested(record["heads"], metric)
    if mode == ALL_BUT_ONE and (found := _halves(record, session)):
        record["best"] = _best(record["heads"], measured, *found, per_token)
    return record


def add_bleu(
    record: dict, measured: Ablated, session: Session, subset: str, which: str, extremes: int, most: int, beam: int
) -> None:
    """Add BLEU to the findings *record* about a translation model: of all heads, or of the *extremes* by loss.

    Where an attention keeps only one head, of the best of each layer. At most *most* sentences are translated, and none
    that heads were chosen on; where heads must be chosen and there are too few examples for that, nothing is added.
    """
    one_left = record["mode"] == ALL_BUT_ONE
    entries, chosen_on = (record["best"] if one_left else record["heads"]), np.array([], dtype=int)
    if one_left or (which != "all" and len(entries) > 2 * extremes):
        if not (found := _halves(record, session)):
            return
        chosen_on = found[0]
    chosen = choose(entries, _changes(measured, chosen_on, session.per_token), which, extremes)
    numbers = np.setdiff1d(session.examples(subset), measured.examples[chosen_on])
    examples = translations.examples(session, subset, session.draw(numbers, most))
    translate = translations.translator(session, examples.batches, beam)
    systems = {"whole": translate()}
    for entry in tqdm(chosen, desc="BLEU", unit="head"):
        head = _head(entry)
        with ablated(session.model, head, record["mode"]):
            systems[str(head)] = translate()
    scores, signature = translations.paired_bootstrap(systems, examples.references)
    for entry, name in zip(chosen, list(systems)[1:], strict=True):
        score, p_value = scores[name]
        entry["bleu"] = {"change": score - scores["whole"][0], "p": p_value}
    record["whole"]["bleu"] = scores["whole"][0]
    record["bleu"] = {"examples": len(examples.references), "beam": beam, "signature": signature}
    record["summary"] |= _tested(entries, "bleu")


def choose(entries: list[dict], changes: dict[Head, float], which: str, extremes: int) -> list[dict]:
    """Those of *entries* to measure further: all, or by the *changes* of the loss the *extremes* at each end."""
    ranked = sorted(entries, key=lambda entry: changes[_head(entry)])
    if which == "all" or len(ranked) <= 2 * extremes:
        return ranked
    return ranked[:extremes] + ranked[-extremes:]


def _halves(record: dict, session: Session) -> tuple[np.ndarray, np.ndarray] | None:
    """Places of the examples to choose heads on and of those to test them on, which *record* is told; or None."""
    found = halves(record["examples"], session.seed)
    chosen_on, tested_on = map(len, found) if found else (0, 0)
    record["selection"] = {"chosen_on": chosen_on, "tested_on": tested_on}
    return found


def _best(heads: list[dict], measured: Ablated, chosen_on, tested_on, per_token: bool) -> list[dict]:
    """Entries, of *tested_on* alone, of the heads that are the best of their layers on *chosen_on*; marks those."""
    changes, layers = _changes(measured, chosen_on, per_token), {}
    for entry in heads:
        layers.setdefault((entry["kind"], entry["layer"]), []).append(entry)
    for layer in layers.values():
        least = min(layer, key=lambda entry: changes[_head(entry)])
        for entry in layer:
            entry["best"] = entry is least
    whole = measured.whole.at(tested_on)
    best = [
        _entry(head, whole, measured.heads[head].at(tested_on), per_token)
        for head in (_head(entry) for entry in heads if entry["best"])
    ]
    for metric in ("loss", "accuracy"):
        _tested(best, metric)
    return best


def _changes(measured: Ablated, places: np.ndarray, per_token: bool) -> dict[Head, float]:
    """By head, the change of the loss of the examples at *places*; of all where there are none."""
    places = places if len(places) else np.arange(len(measured.examples))
    whole = measured.whole.at(places)
    return {head: _change(whole, without.at(places), per_token) for head, without in measured.heads.items()}


def _change(whole: Measured, without: Measured, per_token: bool) -> float:
    count = whole.tokens.sum() if per_token else len(whole.losses)
    return float((without.losses - whole.losses).sum() / count)


def _head(entry: dict) -> Head:
    return Head(entry["kind"], entry["layer"], entry["head"])


def _entry(head: Head, whole: Measured, without: Measured, per_token: bool) -> dict:
    entry = {"kind": head.kind, "layer": head.layer, "head": head.number}
    test = paired_t_test(without.losses - whole.losses)
    entry["loss"] = {"change": _change(whole, without, per_token), "p": test}
    if whole.correct is not None:
        entry["accuracy"] = {
            "change": without.accuracy - whole.accuracy,
            "p": mcnemar_test(whole.correct, without.correct),
            "broken": int((whole.correct & ~without.correct).sum()),
            "mended": int((~whole.correct & without.correct).sum()),
        }
    return entry


def _tested(entries: list[dict], metric: str) -> dict:
    """Correct the p-values of *metric* for their number; gives their summary by the metric, if it was measured."""
    found = [entry[metric] for entry in entries if metric in entry]
    if not found:
        return {}
    for test, p_holm in zip(found, holm([test["p"] for test in found]), strict=True):
        test |= {"p_holm": p_holm, "significant": p_holm < LEVEL}
    changes = [GROWS_WORSE[metric] * test["change"] for test in found if test["significant"]]
    summary = {
        "test": TESTS[metric],
        "tests": len(found),
        "significant": len(changes),
        "worse": sum(change > 0 for change in changes),
        "better": sum(change < 0 for change in changes),
    }
    return {metric: summary}
