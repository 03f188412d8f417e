"""The page of `layerdrop evaluate`: evaluate.json, evaluate.md, and the table for the terminal.

evaluate.json:

    type, version    "layerdrop.evaluation", 1
    kind             "classification", "regression", "masked_lm", "language_modeling" or "translation"
    results          a result of every checkpoint (see results.py), which `layerdrop report` reads; it also has
        answers          example by example, see evaluation/metrics.py
        examples_sha256  over the examples' numbers and targets: equal if two models were asked the same
        skipped          examples that were too long for the model
        sample           {"max_examples", "seed"} if not all examples were asked for, else null
        target_tokens    of language models and translations: the tokens that the loss is the mean of
        fairseq          {"fairseq-validate": …, "fairseq-generate": …}: commands that give the same numbers; empty for
                         a sample, which they cannot draw
        device           "cpu" or "cuda"
    comparisons      of every checkpoint but the first: name, seed, and by metric difference, p and test
    command          what was typed
"""

import math
from collections.abc import Sequence

from ..evaluation.evaluate import Evaluated, compare_with_first
from ..evaluation.metrics import interval
from ..provenance import provenance_lines, who_is
from ..results import record as results
from ..results import translation
from ..results.record import Result, Subject
from .against import against_cell, explained
from .page import Page, Table

# metric -> its column's head and decimals, in the table's order; other metrics are shown as the headline only
_SHOWN = {
    "accuracy": ("accuracy %", 1),
    "f1": ("F1 x 100", 1),
    "mcc": ("Matthews x 100", 1),
    "pearson": ("Pearson x 100", 1),
    "spearman": ("Spearman x 100", 1),
    "mse": ("mean squared error", 4),
    "bleu": ("BLEU", 1),
    "chrf": ("chrF", 1),
    "nll_loss_nats": ("nats/token", 3),
    "nll_loss": ("bits/token", 3),
    "ppl": ("perplexity", 2),
    "loss_nats": ("nats/example", 4),
}


def result(subject: Subject, evaluated: Evaluated, metric: str, about: dict) -> Result:
    """A result of *subject* from what was *evaluated*.

    Args:
        metric: the headline.
        about: more of it: sample, fairseq, device.

    Raises:
        LayerdropError: the checkpoint or the data cannot be read.
    """
    answers, values = evaluated.answers, dict(evaluated.metrics)
    measured = {"examples": len(answers["example"]), "loss": _loss_in_bits(evaluated.kind, values)}
    if evaluated.beam:
        texts = answers["hypothesis"], answers["reference"], evaluated.references_from
        measured |= translation.measure(*texts, "generated", evaluated.beam)
        values |= measured["metrics"]
    elif evaluated.kind == "classification":
        right = map(str.__eq__, answers["label"], answers["prediction"])
        measured["correct"] = sum(right)
    if metric != "bleu":  # which has sacrebleu's own
        measured["interval"] = interval(metric, values[metric], measured["examples"], measured.get("correct"))
    measured |= {
        "metric": {"name": metric, "value": values[metric]},
        "metrics": values,
        "target_tokens": sum(answers["tokens"]) if "tokens" in answers else None,
        "skipped": evaluated.skipped,
        "examples_sha256": evaluated.sha256,
        "answers": answers,
    }
    return results.build(subject, measured | about)


def _loss_in_bits(kind: str, values: dict[str, float]) -> float | None:
    """As fairseq prints it, which divides squared errors by ln 2, too; None of translations, whose loss it smooths."""
    if kind == "translation":
        return None
    nats = (values[name] / math.log(2) for name in ("loss_nats", "mse", "nll_loss_nats") if name in values)
    return next(nats, None)


def record(found: Sequence[dict], evaluated: Sequence[Evaluated], command: str) -> dict:
    """What evaluate.json holds: the results *found* and each compared with the first."""
    compared = zip(found[1:], compare_with_first(evaluated), strict=True)
    return {
        "type": results.EVALUATION,
        "version": 1,
        "kind": evaluated[0].kind,
        "results": list(found),
        "comparisons": [{"name": one["name"], "seed": one["seed"], "metrics": tests} for one, tests in compared],
        "command": command,
    }


def page_of(record: dict) -> Page:
    """The page of what :func:`record` gives."""
    models, more = record["results"], []
    if len(models) > 1:
        more.append(f"Every metric's difference and its p-value:\n\n{differences(record).markdown()}")
    more.append(f"## The same by fairseq\n\n```\n{fairseq_commands(models)}\n```")
    return Page(
        name="evaluate",
        title=f"Evaluation on '{models[0]['split']}': {', '.join(dict.fromkeys(one['name'] for one in models))}",
        table=table(record),
        notes=notes(record),
        figure=None,
        caption="",
        provenance=provenance_lines(models),
        record=record,
        more=more,
    )


def table(record: dict) -> Table:
    """Headline, interval, comparison with the first checkpoint, other metrics."""
    models, headline = record["results"], record["results"][0]["metric"]["name"]
    others = [name for name in _SHOWN if name in models[0]["metrics"] and name != headline]
    columns = ["model", _head(headline)]
    columns += ["95 % interval"] if models[0]["interval"] else []
    columns += [f"against {who_is(models[0])} (p)"] if len(models) > 1 else []
    tests = [None, *(compared["metrics"].get(headline) for compared in record["comparisons"])]
    cells = []
    for model, test in zip(models, tests, strict=True):
        found = model["interval"]
        cell = [who_is(model), _value(model, headline)]
        cell += [f"{found[0]:.1f} to {found[1]:.1f}" if found else "-"] if models[0]["interval"] else []
        cell += [against_cell(test, _digits(headline))] if len(models) > 1 else []
        cells.append(cell + [_value(model, name) for name in others])
    return Table(columns + [_head(name) for name in others], cells)


def differences(record: dict) -> Table:
    """All comparisons: checkpoints down, metrics across."""
    names = [name for name in _SHOWN if name in record["comparisons"][0]["metrics"]]
    cells = [
        [who_is(compared), *(against_cell(compared["metrics"][name], _digits(name)) for name in names)]
        for compared in record["comparisons"]
    ]
    return Table(["model", *map(_head, names)], cells)


def notes(record: dict) -> list[str]:
    """What a reader must know to read the tables."""
    first = record["results"][0]
    text = [f"On {first['examples']:,} examples of '{first['split']}'."]
    if sample := first["sample"]:
        text.append(f"They are a sample, drawn with the seed {sample['seed']}.")
    if first["skipped"]:
        text.append(f"**{first['skipped']:,} examples are longer than the model can read and were left out.**")
    if record["comparisons"]:
        tests = {name: test["test"] for name, test in record["comparisons"][0]["metrics"].items()}
        told = "; ".join(
            f"{', '.join(_head(name) for name in tests if tests[name] == test and name in _SHOWN)}: {test}"
            for test in dict.fromkeys(tests.values())
        )
        text.append(f"{explained(who_is(first))}. {told}.")
    return text


def fairseq_commands(found: Sequence[dict]) -> str:
    """The commands of fairseq that give the numbers of each of the results *found*, as they are typed into a shell."""
    lines = [line for one in found for line in (f"# {who_is(one)}", *one["fairseq"].values()) if one["fairseq"]]
    return "\n".join(lines) or "# none: fairseq-validate cannot draw a sample of the examples"


def _value(model: dict, name: str) -> str:
    return f"{model['metrics'][name]:.{_digits(name)}f}"


def _head(name: str) -> str:
    return _SHOWN.get(name, (f"{name} x 100",))[0]


def _digits(name: str) -> int:
    return _SHOWN.get(name, ("", 1))[1]
