"""What an ablation says, as plain data: the changes of the metrics, head by head, and which of them are no chance.

mode, task, per      as asked, the kind of model, and what the loss is counted per: "token" or "example"
examples, tokens     how many were measured
whole                the model as it is: loss (nats, of regressions squared error), accuracy (percent), bleu; null
                     what there is not
level, correction    of significance, and how p-values were corrected: "Holm", over all tests of a metric
heads                every head: kind, layer, head; best: whether it is the best single head of its layer (only
                     where one is kept); and by metric, of those measured, what change it makes
    change           metric after minus before: loss as above, accuracy in points, BLEU
    p, p_holm        of the metric's test, as it is and corrected
    significant      whether p_holm is below the level
    broken, mended   accuracy only: answers that turned wrong and right
bleu                 where measured: examples, beam, signature (sacrebleu's)
summary              by metric: tests, significant ones, those for the worse and for the better, and the test's name
"""

from tqdm import tqdm

from . import translations
from .ablation import ALL_BUT_ONE, Ablated, Head, ablated
from .losses import Measured
from .metric_names import METRICS
from .session import Session
from .significance import LEVEL, TESTS, holm, mcnemar_test, paired_t_test

CORRECTION = "Holm"
BLEU = ("all", "extremes", "none")


def describe(measured: Ablated, session: Session, mode: str) -> dict:
    """The findings about an ablation of a session's model, before BLEU."""
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


def add_bleu(record: dict, session: Session, subset: str, which: str, extremes: int, max_examples: int, beam: int):
    """Add BLEU to the findings *record* about a translation model: of all heads, or of the *extremes* by loss.

    Where an attention keeps only one head, of the best of each layer.
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
    """The entries to measure further: the best of their layers where known; of them all, or the extremes by loss."""
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
    """Correct the p-values of *metric* for their number, and sum them up; nothing where it was not measured."""
    found = [entry[metric] for entry in record["heads"] if metric in entry]
    if not found:
        return
    for test, p_holm in zip(found, holm([test["p"] for test in found]), strict=True):
        test |= {"p_holm": p_holm, "significant": p_holm < LEVEL}
    changes = [METRICS[metric].worse * test["change"] for test in found if test["significant"]]
    record["summary"][metric] = {
        "test": TESTS[metric],
        "tests": len(found),
        "significant": len(changes),
        "worse": sum(change > 0 for change in changes),
        "better": sum(change < 0 for change in changes),
    }
