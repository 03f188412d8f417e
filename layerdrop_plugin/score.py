"""One evaluated model as a JSON file: what `fairseq-validate` printed, with its interval and its signature.

A *result* is this dictionary (`layerdrop score` writes it, `layerdrop report` reads it):

    type, version    "layerdrop.result", 1
    name, seed       the model's name in the tables, and the seed of its fine-tuning
    split, examples  the split's name and its number of examples
    metric           {"name": …, "value": …}; the headline: accuracy, else pearson, spearman, mse
    metrics          every metric found in the log
    correct          number of right answers (accuracy only, else null)
    interval         95 % interval [low, high] of the metric in its unit, or null where none is known
    loss             as fairseq prints it: the mean over examples divided by ln 2 (bits, for classification)
    checkpoint       {"path", "sha256", "bytes", "encoder_layers", "parameters", "weight_bytes"}
    data_sha256      over the split's files and the dictionaries
    plan             what the model keeps of its oldest ancestor, or null for a model that was not pruned
    provenance       all that the checkpoint says about where it came from, or null
    versions         python, torch, fairseq (its distribution), numpy, layerdrop_plugin
    command          the command that was evaluated, if the caller told it

Units: accuracy in percent; f1, acc_and_f1, mcc, pearson and spearman times 100, as fairseq prints them; mse in the
target's unit squared. Intervals have the metric's unit.

fairseq-validate rounds accuracy to one decimal of a percent, so `correct` = round(accuracy x examples / 100) is exact
up to 1,000 examples and off by at most examples / 2,000 beyond.
"""

import json
import math
import os
import re

from . import signature
from .errors import LayerdropError

CONFIDENCE = 0.95
# What the log may report, the best headline first.
METRICS = ("accuracy", "pearson", "spearman", "mse", "f1", "mcc", "acc_and_f1", "pearson_and_spearman")
HIGHER_IS_BETTER = {name: name != "mse" for name in METRICS}
_FLAT_JSON = re.compile(r"\{[^{}]*\}")
_SAMPLES = re.compile(r"Loaded (\S+) with #samples: (\d+)")
_MODEL = re.compile(r"loading model\(s\) from (\S+)$")


def score(log, checkpoint, name, seed, split, data, command=None, metric=None):
    """Read the log of one fairseq-validate run; return its result.

    Args:
        log (str): path of the captured output of `fairseq-validate --log-format json …`.
        checkpoint (str): the checkpoint that was evaluated.
        name (str): the model's name in tables; results of several seeds share it.
        seed (int): the fine-tuning's seed.
        split (str): the split that was evaluated, such as "test".
        data (str): the binarised data folder.
        command (str | None): what produced the log, for the record.
        metric (str | None): the headline, one of METRICS; by default the first of them that the log has.

    Returns:
        dict: a result, see the module's docstring.

    Raises:
        LayerdropError: log, checkpoint or data cannot be read, or do not belong together.
    """
    lines = _read_lines(log)
    examples = signature.count_examples(data, split)
    _check_log(lines, log, checkpoint, split, examples)
    evaluated, loss, metrics = parse_log(lines, log, split)
    if f"{evaluated:g}" != f"{examples:g}":  # as fairseq prints it
        raise LayerdropError(
            f"{log} has results for {evaluated:g} of the {examples} examples of '{split}': some were left out; "
            "run fairseq-validate with --required-batch-size-multiple 1"
        )
    headline = metric or next(known for known in METRICS if known in metrics)
    if headline not in metrics:
        raise LayerdropError(f"{log} reports no {headline}, only {', '.join(metrics)}")
    correct = correct_answers(metrics["accuracy"], examples) if headline == "accuracy" else None
    described = signature.describe_checkpoint(checkpoint)
    provenance = described.pop("provenance")
    return {
        "type": "layerdrop.result",
        "version": 1,
        "name": name,
        "seed": seed,
        "split": split,
        "examples": examples,
        "metric": {"name": headline, "value": metrics[headline]},
        "metrics": metrics,
        "correct": correct,
        "interval": interval(headline, metrics[headline], examples, correct),
        "loss": loss,
        "checkpoint": described,
        "data_sha256": signature.data_sha256(data, split),
        "plan": provenance and provenance.get("plan"),
        "provenance": provenance,
        "versions": signature.versions(),
        "command": command,
    }


def parse_log(lines, log, split):
    """Find the results line of a split (the last one, if the log has several).

    Args:
        lines (list[str]): the log.
        log (str): its path, for messages.
        split (str): the split; its name is fairseq's prefix of every key in that line.

    Returns:
        tuple[float, float, dict[str, float]]: the number of examples evaluated (fairseq calls it `bsz`: here all
        batches are one), the loss as printed, and the metrics found.

    Raises:
        LayerdropError: no results line, or a number in it is not finite.
    """
    found = None
    for text in (match for line in lines for match in _FLAT_JSON.findall(line)):
        try:
            values = json.loads(text)
        except ValueError:  # a logged Python dictionary, not fairseq's JSON
            continue
        if {f"{split}_loss", f"{split}_bsz"} <= values.keys():
            found = values
    if found is None:
        raise LayerdropError(
            f"{log} has no results for the split '{split}': did fairseq-validate finish, with --log-format json?"
        )
    loss = _number(found[f"{split}_loss"], f"{split}_loss", log)
    metrics = {name: _number(found[f"{split}_{name}"], name, log) for name in METRICS if f"{split}_{name}" in found}
    if "accuracy" not in metrics:
        metrics["mse"] = loss * math.log(2)  # fairseq divides the mean squared error by ln 2 as it does entropies
    return _number(found[f"{split}_bsz"], "bsz", log), loss, metrics


def correct_answers(accuracy, examples):
    """Number of right answers behind an accuracy that was rounded to one decimal of a percent.

    Raises:
        LayerdropError: no number of right answers out of `examples` gives that accuracy.
    """
    correct = round(accuracy * examples / 100)
    # Half a step of the rounding; a little more, as fairseq computes in single precision.
    if not 0 <= correct <= examples or abs(100 * correct / examples - accuracy) > 0.0501:
        raise LayerdropError(f"an accuracy of {accuracy:g} % cannot come from {examples} examples: was the log edited?")
    return correct


def interval(metric, value, examples, correct=None):
    """95 % interval [low, high] of a metric, for another test set of the same size.

    Wilson's for accuracy (from `correct`), Fisher's z for a Pearson correlation; None where neither applies.

    Args:
        metric (str): one of METRICS.
        value (float): the metric's value in its unit.
        examples (int): size of the test set.
        correct (int | None): number of right answers.
    """
    if metric == "accuracy":
        from scipy.stats import binomtest

        found = binomtest(correct, examples).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
        return [100 * float(found.low), 100 * float(found.high)]
    if metric == "pearson" and examples > 3 and abs(value) < 100:
        from scipy.stats import norm

        reach = norm.ppf((1 + CONFIDENCE) / 2) / math.sqrt(examples - 3)
        middle = math.atanh(value / 100)
        return [100 * math.tanh(middle - reach), 100 * math.tanh(middle + reach)]
    return None


def _read_lines(log):
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError as error:
        raise LayerdropError(f"cannot read {log}: {error.strerror}") from error


def _check_log(lines, log, checkpoint, split, examples):
    """Refuse a log that says itself that it is about another model or other data."""
    for line in lines:
        loaded = _SAMPLES.search(line)
        if loaded and loaded.group(1) == split and int(loaded.group(2)) != examples:
            raise LayerdropError(
                f"{log} evaluated {loaded.group(2)} examples of '{split}', but the data folder has {examples}"
            )
        model = _MODEL.search(line)
        # The path may have moved since, and then nothing can be said.
        known = model and os.path.exists(model.group(1)) and os.path.exists(checkpoint)
        if known and not os.path.samefile(model.group(1), checkpoint):
            raise LayerdropError(f"{log} evaluated {model.group(1)}, not {checkpoint}")


def _number(text, name, log):
    value = float(text)
    if not math.isfinite(value):
        raise LayerdropError(f"{log} reports {name} = {text}: the model diverged or answers everything alike")
    return value
