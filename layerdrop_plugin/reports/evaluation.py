"""The page of `layerdrop evaluate`: evaluate.json, evaluate.md and a table for the terminal.

evaluate.json:

    type, version    "layerdrop.evaluation", 1
    kind             "classification", "regression", "masked_lm", "language_modeling" or "translation"
    results          a result of every checkpoint (see results/record.py), which `layerdrop report` reads, with the
                     additional entries:
        answers          answers to the examples, see evaluation/metrics.py
        examples_sha256  SHA-256 of the examples' indices and targets; equal if two models had the same examples
        skipped          number of examples that were too long for the model
        sample           {"max_examples", "seed"} if a sample of the examples was drawn, else null
        target_tokens    language models and translation: number of tokens over which the loss is averaged
        fairseq          {"fairseq-validate": …, "fairseq-generate": …}: commands that compute the same numbers; empty
                         for a sample, which they cannot draw
        device           "cpu" or "cuda"
    comparisons      for every checkpoint but the first: name, seed, and metrics: metric -> difference to the first
                     checkpoint, p and test
    command          the command line
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

# metric -> column head and number of decimals, in the order of columns; other metrics are shown only as a headline
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
    """Build the result of one checkpoint.

    Args:
        subject: the model and the data.
        evaluated: the evaluation of this model.
        metric: name of the headline metric.
        about: the entries sample, fairseq and device.

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
    if metric != "bleu":  # BLEU already has sacrebleu's interval
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
    """The loss as fairseq prints it, which divides squared errors by ln 2, too; None for translation, where fairseq's
    loss has label smoothing."""
    if kind == "translation":
        return None
    nats = (values[name] / math.log(2) for name in ("loss_nats", "mse", "nll_loss_nats") if name in values)
    return next(nats, None)


def record(found: Sequence[dict], evaluated: Sequence[Evaluated], command: str) -> dict:
    """The contents of evaluate.json.

    Args:
        found: results of the checkpoints.
        evaluated: their evaluations, which are compared with the first one.
        command: the command line.
    """
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
    """The page of a *record* of :func:`record`."""
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
    """The table of checkpoints: headline, interval, comparison with the first checkpoint, other metrics."""
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
    """The table of comparisons with the first checkpoint: a row for each checkpoint, a column for each metric."""
    names = [name for name in _SHOWN if name in record["comparisons"][0]["metrics"]]
    cells = [
        [who_is(compared), *(against_cell(compared["metrics"][name], _digits(name)) for name in names)]
        for compared in record["comparisons"]
    ]
    return Table(["model", *map(_head, names)], cells)


def notes(record: dict) -> list[str]:
    """Lines below the tables that explain them."""
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
    """Shell commands of fairseq that compute the numbers of the results *found*, a line each, under the names."""
    lines = [line for one in found for line in (f"# {who_is(one)}", *one["fairseq"].values()) if one["fairseq"]]
    return "\n".join(lines) or "# none: fairseq-validate cannot draw a sample of the examples, nor run exported models"


def _value(model: dict, name: str) -> str:
    return f"{model['metrics'][name]:.{_digits(name)}f}"


def _head(name: str) -> str:
    return _SHOWN.get(name, (f"{name} x 100",))[0]


def _digits(name: str) -> int:
    return _SHOWN.get(name, ("", 1))[1]
