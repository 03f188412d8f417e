"""``--importance-only``: estimate importance with fairseq-train, on any number of workers, without training."""

from argparse import Namespace
from dataclasses import dataclass, field

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.optim import AMPOptimizer, FairseqOptimizer
from omegaconf import DictConfig
from torch import Tensor, nn

from ..base_criterion import unwrapped
from ..criterions.head_importance import Estimating
from ..errors import LayerdropError
from ..importance.estimation import frozen
from ..pruning.parent import Parent

FIRST_SCALE = 128.0  # factor of the loss in half precision, which is halved when gradients overflow
LAST_SCALE = 2.0**-10  # it is not halved below this


@dataclass
class EstimateOptions:
    """Options that are added to those of a pruning task."""

    importance_only: bool = field(
        default=False,
        metadata={
            "help": "with --criterion head_importance: go through the data once (or until --max-epoch or --max-update)"
            " in evaluation mode and leave the weights as they are"
        },
    )


class EstimateOnly:
    """Mixin for a pruning task, before it among the bases: ``--importance-only`` estimates without training.

    Attributes:
        estimated_model: fingerprint of the scored weights; None in training.
    """

    estimated_model: str | None = None
    _scale: float | None = None

    def _pruned_parent(self) -> Parent:
        return self._remembered(super()._pruned_parent())

    def _resumed_child(self, file: str) -> Parent:
        return self._remembered(super()._resumed_child(file))

    def _remembered(self, loaded: Parent) -> Parent:
        """Store the fingerprint of *loaded*, before its weights are converted to half precision; returns *loaded*."""
        if self._options.importance_only:
            root = self._options._get_parent()
            if not root.optimization.max_epoch and not root.optimization.max_update:
                root.optimization.max_epoch = 1
            self.estimated_model = loaded.fingerprint
        return loaded

    def build_criterion(self, cfg: DictConfig | Namespace, *others) -> FairseqCriterion:
        """As fairseq's; *others* are arguments that only newer tasks of fairseq take.

        Raises:
            LayerdropError: ``--importance-only`` with another criterion than head_importance.
        """
        criterion = super().build_criterion(cfg, *others)
        if self._options.importance_only and not isinstance(criterion, Estimating):
            raise LayerdropError("--importance-only needs --criterion head_importance")
        return criterion

    def train_step(
        self,
        sample: dict,
        model: nn.Module,
        criterion: FairseqCriterion,
        optimizer: FairseqOptimizer,
        update_num: int,
        ignore_grad: bool = False,
        **others,
    ) -> tuple[Tensor, int | Tensor, dict]:
        """As fairseq's; with ``--importance-only`` only the gradients of the gates are computed."""
        if not self._options.importance_only:
            return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad, **others)
        model.set_num_updates(update_num)
        model, amp = unwrapped(model), isinstance(optimizer, AMPOptimizer)
        if self._scale is None:
            self._scale = FIRST_SCALE if amp or next(model.parameters()).dtype is torch.float16 else 1.0
        loss, sample_size, logging_output = self._estimate(sample, model, criterion, amp, ignore_grad)
        while self._overflowed(criterion) and not ignore_grad:
            self._scale /= 2
            loss, sample_size, logging_output = self._estimate(sample, model, criterion, amp)
        if amp:
            _give_a_gradient(optimizer, loss)
        # Predictions, which sentence_prediction adds in evaluation mode, cannot be summed over workers.
        return loss, sample_size, {key: value for key, value in logging_output.items() if not isinstance(value, list)}

    def optimizer_step(self, optimizer: FairseqOptimizer, model: nn.Module, update_num: int) -> None:
        """As fairseq's; with ``--importance-only`` no weight is changed."""
        if not self._options.importance_only:
            super().optimizer_step(optimizer, model, update_num)
        elif isinstance(optimizer, AMPOptimizer):
            optimizer.scaler.update()  # the scaler raises an error in the next update otherwise

    def _estimate(self, sample, model, criterion, amp: bool, ignore_grad=False):
        with frozen(model):
            with torch.autocast("cuda", enabled=amp):
                loss, sample_size, logging_output = criterion(model, sample)
            (loss * (0.0 if ignore_grad else self._scale)).backward()
        return loss.detach(), sample_size, logging_output

    def _overflowed(self, criterion) -> bool:
        """Whether the gradients of the latest batch were not finite, and the scale can be halved."""
        return self._scale > LAST_SCALE and self._scale != 1.0 and not criterion.estimate.counted


def _give_a_gradient(optimizer: AMPOptimizer, loss: Tensor) -> None:
    """Scale *loss* and set one gradient, because torch's gradient scaler raises an error without them."""
    optimizer.scaler.scale(loss)
    weight = next(iter(optimizer.fp32_optimizer.params))
    weight.grad = torch.zeros_like(weight)
