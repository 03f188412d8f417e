"""fairseq commands that compute the same numbers as :func:`evaluate.evaluate`."""

import shlex
from pathlib import Path

from .evaluate import Evaluated
from .session import ANSWERS, Session

USER_DIR = Path(__file__).resolve().parent.parent
# kind of model -> criterions that accept such a model, the default one first
_CRITERIONS = {
    "classification": ("sentence_prediction",),
    "regression": ("sentence_prediction",),
    "masked_lm": ("masked_lm",),
    "translation": ("label_smoothed_cross_entropy", "cross_entropy"),
    "language_modeling": ("cross_entropy", "adaptive_loss", "label_smoothed_cross_entropy"),
}
LENGTHS = ("--max-len-a", "1.2", "--max-len-b", "10")  # as in translations.translator


def commands(session: Session, subset: str, evaluated: Evaluated) -> dict[str, str]:
    """Shell commands that compute the numbers of *evaluated*.

    Returns:
        "fairseq-validate" and, if sentences were translated, "fairseq-generate" -> quoted command line.
    """
    found = {"fairseq-validate": _validate(session, subset, evaluated)}
    if evaluated.beam:
        found["fairseq-generate"] = _generate(session, subset, evaluated)
    return {name: shlex.join(map(str, words)) for name, words in found.items()}


def _validate(session: Session, subset: str, evaluated: Evaluated) -> list:
    task, criterions = session.cfg["task"], _CRITERIONS[session.kind]
    trained_with = (session.cfg.get("criterion") or {}).get("_name")
    criterion = trained_with if trained_with in criterions else criterions[0]
    words = ["--task", task["_name"], "--criterion", criterion, "--valid-subset", subset]
    if session.kind in ANSWERS:
        words += _reports(evaluated)
    if session.kind == "masked_lm":
        words += ["--seed", session.seed]  # fairseq draws the masks with it
    return ["fairseq-validate", *_common(session, evaluated), *words, "--log-format", "json"]


def _reports(evaluated: Evaluated) -> list[str]:
    """Options for metrics that fairseq does not report by default. Its F1 and MCC need integers as class names."""
    if evaluated.kind == "regression":
        return ["--regression-target", "--report-pearson-and-spearman"]
    if not all(name.isdecimal() for name in evaluated.classes):
        return []
    return ["--report-mcc", *(["--report-acc-and-f1"] if "f1" in evaluated.metrics else [])]


def _generate(session: Session, subset: str, evaluated: Evaluated) -> list:
    from .translations import post_process

    task, pieces = session.task.cfg, post_process(session.task.target_dictionary)
    words = ["--task", "translation", "--source-lang", task.source_lang, "--target-lang", task.target_lang]
    words += ["--gen-subset", subset, "--beam", evaluated.beam, *LENGTHS]
    words += ["--post-process", pieces] if pieces else []
    return ["fairseq-generate", *_common(session, evaluated), *words]


def _common(session: Session, evaluated: Evaluated) -> list:
    words = [session.data, "--user-dir", USER_DIR, "--path", session.path]
    words += ["--batch-size", session.batch_size] if session.batch_size else []
    words += ["--max-tokens", session.max_tokens] if session.max_tokens else []
    words += ["--required-batch-size-multiple", 1]
    words += ["--skip-invalid-size-inputs-valid-test"] if evaluated.skipped else []
    return words + (["--cpu"] if session.device.type == "cpu" else [])
