"""The loss of a translation model per target token, from the output of `fairseq-validate`.

Metrics: `nll_loss` in bits and `nll_loss_nats` in nats per target token, both without label smoothing, and the
perplexity `ppl`. fairseq prints `nll_loss` with three decimals.
"""

import math

from ..data_folder import Split
from .fairseq_log import FairseqLog


def read_loss(log: FairseqLog, split: Split) -> tuple[int, float, dict[str, float]]:
    """Read the losses in *log*.

    Args:
        log: output of fairseq-validate.
        split: the evaluated split.

    Returns:
        Number of target tokens, `loss` as fairseq prints it (with label smoothing, in bits), and the metrics.

    Raises:
        LayerdropError: not every sentence was evaluated, or a number is not finite.
    """
    found = log.results_of_all(split.name, len(split.sizes()))
    bits = log.number(found, "nll_loss" if "nll_loss" in found else "loss")
    metrics = {"nll_loss": bits, "nll_loss_nats": bits * math.log(2), "ppl": log.number(found, "ppl")}
    return int(log.number(found, "wpb")), log.number(found, "loss"), metrics
