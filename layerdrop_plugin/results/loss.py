"""The result of a (masked) language model, or of a translation that was not generated: its loss per target token.

Metrics: `nll_loss` in bits and `nll_loss_nats` in nats per target token, without label smoothing, and `ppl`, the
perplexity. fairseq prints three decimals of the bits. Beside what every result has (record.py): `tokens`, those of the
batches as fairseq counts them, for masked models also the ones that were not masked.
"""

import math
import os

from ..data_folder import TRANSLATION, Split
from ..errors import LayerdropError
from . import record
from .fairseq_log import FairseqLog


def score(log: str | os.PathLike, subject: record.Subject) -> record.Result:
    """Read the log of one fairseq-validate run; return its result.

    Args:
        log: path of the captured output of `fairseq-validate --log-format json …`.
        subject: what was evaluated.

    Raises:
        LayerdropError: log, checkpoint or data cannot be read, or do not belong together.
    """
    log = FairseqLog(log)
    log.refuse_other_checkpoint(subject.checkpoint)
    examples, tokens, loss, metrics = read_loss(log, subject.split)
    measured = {
        "examples": examples,
        "tokens": tokens,
        "metric": {"name": "nll_loss", "value": metrics["nll_loss"]},
        "metrics": metrics,
        "interval": None,
        "loss": loss,
    }
    return record.build(subject, measured)


def read_loss(log: FairseqLog, split: Split) -> tuple[int, int, float, dict[str, float]]:
    """Number of examples and of tokens, loss as printed and metrics in *log*, a FairseqLog over all of *split*.

    An example is a sentence pair, or a block of tokens of a language model's data.

    Raises:
        LayerdropError: not every example was evaluated, or a number is not finite.
    """
    sizes = split.sizes()
    examples = len(sizes) if split.kind == TRANSLATION else log.loaded(split.name)
    if examples is None:  # language_modeling does not count its blocks; but it predicts every token
        found = log.results(split.name)
        examples = int(log.number(found, "bsz"))
        if found["wpb"] != f"{sizes.sum():g}":
            raise LayerdropError(
                f"{log.path} has results for {found['wpb']} of the {sizes.sum()} tokens of '{split.name}'"
            )
    else:
        found = log.results_of_all(split.name, examples)
    bits = log.number(found, "nll_loss" if "nll_loss" in found else "loss")
    metrics = {"nll_loss": bits, "nll_loss_nats": bits * math.log(2), "ppl": log.number(found, "ppl")}
    return examples, int(log.number(found, "wpb")), log.number(found, "loss"), metrics
