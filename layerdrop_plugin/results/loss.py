"""The loss of a translation model per target token, from what `fairseq-validate` printed.

Metrics: `nll_loss` in bits and `nll_loss_nats` in nats per target token, without label smoothing, and `ppl`, the
perplexity. fairseq prints three decimals of the bits.
"""

import math

from ..data_folder import Split
from .fairseq_log import FairseqLog


def read_loss(log: FairseqLog, split: Split) -> tuple[int, float, dict[str, float]]:
    """Number of target tokens, loss as printed and metrics in *log*, which must be over all sentences of *split*.

    Raises:
        LayerdropError: not every sentence was evaluated, or a number is not finite.
    """
    found = log.results_of_all(split.name, len(split.sizes()))
    bits = log.number(found, "nll_loss" if "nll_loss" in found else "loss")
    metrics = {"nll_loss": bits, "nll_loss_nats": bits * math.log(2), "ppl": log.number(found, "ppl")}
    return int(log.number(found, "wpb")), log.number(found, "loss"), metrics
