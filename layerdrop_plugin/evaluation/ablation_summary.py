"""Results of an ablation as plain data: the change of each metric for each head, and its significance.

mode                 "each" or "all-but-one"
task                 the kind of model, see Session.kind
per                  unit of the mean loss: "token" or "example"
examples, tokens     how many were measured
whole                of the whole model: loss (nats, or squared error for regression), accuracy (percent), bleu; null
                     if not measured
level, correction    level of significance, and correction of p-values: "Holm", over all tests of a metric
heads                of every head: kind, layer, head; best: whether it is the best single head of its layer (only
                     with "all-but-one"); and for each measured metric:
    change           metric after minus before: loss as above, accuracy in points, BLEU
    p, p_holm        p-value of the metric's test, uncorrected and corrected
    significant      whether p_holm is below the level
    broken, mended   accuracy only: number of answers that became wrong and right
bleu                 if measured: examples, beam, signature (sacrebleu's)
summary              of each metric: number of tests, of significant changes, worse and better; name of the test
"""

from tqdm import tqdm

from . import translations
from .ablation import ALL_BUT_ONE, Ablated, Head, ablated
from .losses import Measured
from .session import Session
from .significance import LEVEL, TESTS, holm, mcnemar_test, paired_t_test

CORRECTION = "Holm"
METRICS = tuple(TESTS)
GROWS_WORSE = {"loss": 1, "accuracy": -1, "bleu": -1}  # sign of a worsening
BLEU = ("all", "extremes", "none")


def describe(measured: Ablated, session: Session, mode: str) -> dict:
    """Summarise an ablation of the session's model, without BLEU; returns the record described above."""
    whole, per_token = measured.whole, session.per_token
    heads = [_entry(head, whole, without, per_token) for head, without in measured.heads.items()]
    if mode == ALL_BUT_ONE:
        _mark_best(heads)
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
        "heads": heads,
        "bleu": None,
        "summary": {},
    }
    for metric in ("loss", "accuracy"):
        _correct(record, metric)
    return record


def add_bleu(
    record: dict, session: Session, subset: str, which: str, extremes: int, max_examples: int, beam: int
) -> None:
    """Add BLEU to the *record* of a translation model.

    Args:
        which: ``all`` heads, or ``extremes``; with ``all-but-one``, only the best head of each attention counts.
        extremes: number of heads with the smallest and with the largest change of the loss.
        max_examples: number of sentences to translate, chosen with the session's seed.
        beam: beam size.
    """
    examples = translations.examples(session, subset, max_examples)
    translate = translations.translator(session, examples.batches, beam)
    chosen = choose(record["heads"], which, extremes)
    systems = {"whole": translate()}
    for entry in tqdm(chosen, desc="BLEU", unit="head"):
        head = Head(entry["kind"], entry["layer"], entry["head"])
        with ablated(session.model, head, record["mode"]):
            systems[str(head)] = translate()
    scores, signature = translations.paired_bootstrap(systems, examples.references)
    for entry, name in zip(chosen, list(systems)[1:], strict=True):
        score, p_value = scores[name]
        entry["bleu"] = {"change": score - scores["whole"][0], "p": p_value}
    record["whole"]["bleu"] = scores["whole"][0]
    record["bleu"] = {"examples": len(examples.references), "beam": beam, "signature": signature}
    _correct(record, "bleu")


def choose(heads: list[dict], which: str, extremes: int) -> list[dict]:
    """Entries to measure BLEU of, by ascending change of the loss; see :func:`add_bleu`."""
    ranked = sorted((entry for entry in heads if entry.get("best", True)), key=lambda entry: entry["loss"]["change"])
    if which == "all" or len(ranked) <= 2 * extremes:
        return ranked
    return ranked[:extremes] + ranked[-extremes:]


def _entry(head: Head, whole: Measured, without: Measured, per_token: bool) -> dict:
    differences = without.losses - whole.losses
    count = whole.tokens.sum() if per_token else len(differences)
    entry = {"kind": head.kind, "layer": head.layer, "head": head.number}
    entry["loss"] = {"change": float(differences.sum() / count), "p": paired_t_test(differences)}
    if whole.correct is not None:
        entry["accuracy"] = {
            "change": without.accuracy - whole.accuracy,
            "p": mcnemar_test(whole.correct, without.correct),
            "broken": int((whole.correct & ~without.correct).sum()),
            "mended": int((~whole.correct & without.correct).sum()),
        }
    return entry


def _mark_best(heads: list[dict]) -> None:
    best = {}
    for entry in heads:
        best.setdefault((entry["kind"], entry["layer"]), []).append(entry)
    for layer in best.values():
        least = min(layer, key=lambda entry: entry["loss"]["change"])
        for entry in layer:
            entry["best"] = entry is least


def _correct(record: dict, metric: str) -> None:
    """Correct the p-values of *metric* for multiple tests, and summarise them; nothing if it was not measured."""
    tests = [entry[metric] for entry in record["heads"] if metric in entry]
    if not tests:
        return
    for test, p_holm in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test |= {"p_holm": p_holm, "significant": p_holm < LEVEL}
    changes = [GROWS_WORSE[metric] * test["change"] for test in tests if test["significant"]]
    record["summary"][metric] = {
        "test": TESTS[metric],
        "tests": len(tests),
        "significant": len(changes),
        "worse": sum(change > 0 for change in changes),
        "better": sum(change < 0 for change in changes),
    }
