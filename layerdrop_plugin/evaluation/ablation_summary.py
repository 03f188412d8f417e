"""Results of an ablation as plain data: the change of each metric for each head, and its significance.

mode                 "each" or "all-but-one"
task                 the kind of model, see Session.kind
per                  unit of the mean loss: "token" or "example"
examples, tokens     how many were measured
whole                metrics of the whole model: loss (nats, or squared error for regression), accuracy (percent) and
                     bleu; null if not measured
level, correction    level of significance, and correction of p-values: "Holm", over all tests of a metric
heads                an entry for each head: kind, layer, head; best: whether it is the best single head of its
                     layer (only with "all-but-one", if a best one was selected); and for each measured metric:
    change           metric of the ablated model minus metric of the whole model; accuracy in percentage points
    p, p_holm        p-value of the metric's test, uncorrected and corrected
    significant      whether p_holm is below the level
    broken, mended   accuracy only: number of answers that became wrong and right
selection            null if no heads are selected by their loss; else the examples are split into random halves with
                     the seed: chosen_on is the number of examples to select on, tested_on of those to test on; both are
                     0 if there are too few examples, and then no heads are selected
best                 with "all-but-one", an entry for the best head of each layer, like those of heads, but measured
                     on the test half and corrected for these tests only; null if none were selected
bleu                 number of examples, beam size and sacrebleu's signature; null if BLEU was not measured
summary              metric -> name of the test, number of tests, number of significant changes, and how many of them
                     are worse and better
"""

import numpy as np
from tqdm import tqdm

from . import translations
from .ablation import ALL_BUT_ONE, Ablated, Head, ablated
from .losses import Measured
from .metric_names import METRICS
from .session import Session
from .significance import LEVEL, TESTS, halves, holm, mcnemar_test, paired_t_test

CORRECTION = "Holm"
BLEU = ("all", "extremes", "none")


def describe(measured: Ablated, session: Session, mode: str) -> dict:
    """Summarise an ablation of the session's model, without BLEU; returns the record described above."""
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
    if mode == ALL_BUT_ONE and (split := _halves(record, session)):
        record["best"] = _best(record["heads"], measured, *split, per_token)
    return record


def add_bleu(
    record: dict, measured: Ablated, session: Session, subset: str, which: str, extremes: int, most: int, beam: int
) -> None:
    """Add BLEU to the *record* of a translation model.

    Sentences that heads were selected on are not translated. *record* is left unchanged if heads must be selected but
    there are too few examples.

    Args:
        record: what :func:`describe` returned for *measured*.
        subset: split to translate.
        which: measure ``all`` heads or the ``extremes``; with ``all-but-one``, the best head of each layer only.
        extremes: number of heads to measure at each end, with the smallest and the largest changes of the loss.
        most: maximum number of sentences to translate.
        beam: beam size.
    """
    one_left = record["mode"] == ALL_BUT_ONE
    entries, chosen_on = (record["best"] if one_left else record["heads"]), np.array([], dtype=int)
    if one_left or (which != "all" and len(entries) > 2 * extremes):
        if not (split := _halves(record, session)):
            return
        chosen_on = split[0]
    chosen = choose(entries, _changes(measured, chosen_on, session.per_token), which, extremes)
    numbers = np.setdiff1d(session.examples(subset), measured.examples[chosen_on])
    examples = translations.examples(session, subset, session.draw(numbers, most))
    translate = translations.translator(session, examples.batches, beam)
    systems = {"whole": translate()}
    for entry in tqdm(chosen, desc="BLEU", unit="head"):
        head = _head(entry)
        with ablated(session.model, head, record["mode"]):
            systems[str(head)] = translate()
    scores, signature = translations.compare_with_first(systems, examples.references)
    for entry, name in zip(chosen, list(systems)[1:], strict=True):
        score, p_value = scores[name]
        entry["bleu"] = {"change": score - scores["whole"][0], "p": p_value}
    record["whole"]["bleu"] = scores["whole"][0]
    record["bleu"] = {"examples": len(examples.references), "beam": beam, "signature": signature}
    record["summary"] |= _tested(entries, "bleu")


def choose(entries: list[dict], changes: dict[Head, float], which: str, extremes: int) -> list[dict]:
    """The *entries* whose BLEU is measured, sorted by *changes* of the loss: all, or *extremes* of them at each end."""
    ranked = sorted(entries, key=lambda entry: changes[_head(entry)])
    if which == "all" or len(ranked) <= 2 * extremes:
        return ranked
    return ranked[:extremes] + ranked[-extremes:]


def _halves(record: dict, session: Session) -> tuple[np.ndarray, np.ndarray] | None:
    """Positions of the examples to select heads on and to test them on, or None; sets ``selection`` of *record*."""
    split = halves(record["examples"], session.seed)
    chosen_on, tested_on = map(len, split) if split else (0, 0)
    record["selection"] = {"chosen_on": chosen_on, "tested_on": tested_on}
    return split


def _best(heads: list[dict], measured: Ablated, chosen_on, tested_on, per_token: bool) -> list[dict]:
    """Select the best head of each layer on the examples at *chosen_on*, and measure it on those at *tested_on*.

    Sets ``best`` in every entry of *heads*.

    Returns:
        An entry for each selected head.
    """
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
    """Change of the loss for each head, on the examples at *places*; on all examples if *places* is empty."""
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
    """Correct the p-values of *metric* in *entries* for multiple tests.

    Returns:
        metric -> its entry of ``summary``; empty if the metric was not measured.
    """
    tests = [entry[metric] for entry in entries if metric in entry]
    if not tests:
        return {}
    for test, p_holm in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test |= {"p_holm": p_holm, "significant": p_holm < LEVEL}
    changes = [METRICS[metric].worse * test["change"] for test in tests if test["significant"]]
    summary = {
        "test": TESTS[metric],
        "tests": len(tests),
        "significant": len(changes),
        "worse": sum(change > 0 for change in changes),
        "better": sum(change < 0 for change in changes),
    }
    return {metric: summary}
