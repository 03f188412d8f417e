"""Estimate what each part of a model is worth with fairseq-train, on as many workers as it has, without training."""

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

FIRST_SCALE = 128.0  # what losses are multiplied with in half precision, halved where gradients overflow
LAST_SCALE = 2.0**-10


@dataclass
class EstimateOptions:
    """Added to the options of a pruning task."""

    importance_only: bool = field(
        default=False,
        metadata={
            "help": "with --criterion head_importance: go through the data once (or until --max-epoch or --max-update)"
            " in evaluation mode and leave the weights as they are"
        },
    )


class EstimateOnly:
    """Mixed in before a pruning task: with ``--importance-only`` steps estimate importance and train nothing.

    Attributes:
        estimated_model: fingerprint of the weights that stand still, None in training.
    """

    estimated_model: str | None = None
    _scale: float | None = None

    def _pruned_parent(self) -> Parent:
        return self._remembered(super()._pruned_parent())

    def _resumed_child(self, file: str) -> Parent:
        return self._remembered(super()._resumed_child(file))

    def _remembered(self, loaded: Parent) -> Parent:
        """*loaded*, the checkpoint whose weights are to be scored, before anything casts them to half precision."""
        if self._options.importance_only:
            root = self._options._get_parent()
            if not root.optimization.max_epoch and not root.optimization.max_update:
                root.optimization.max_epoch = 1
            self.estimated_model = loaded.fingerprint
        return loaded

    def build_criterion(self, cfg: DictConfig | Namespace, *others) -> FairseqCriterion:
        """As fairseq's, whose older tasks take fewer arguments.

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
        """As fairseq's; with ``--importance-only`` the gates alone are differentiated."""
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
        """As fairseq's; with ``--importance-only`` nothing."""
        if not self._options.importance_only:
            super().optimizer_step(optimizer, model, update_num)
        elif isinstance(optimizer, AMPOptimizer):
            optimizer.scaler.update()  # or it refuses the next update

    def _estimate(self, sample, model, criterion, amp: bool, ignore_grad=False):
        with frozen(model):
            with torch.autocast("cuda", enabled=amp):
                loss, sample_size, logging_output = criterion(model, sample)
            (loss * (0.0 if ignore_grad else self._scale)).backward()
        return loss.detach(), sample_size, logging_output

    def _overflowed(self, criterion) -> bool:
        """Whether the latest batch's gradients were not finite and might be with less scaling."""
        return self._scale > LAST_SCALE and self._scale != 1.0 and not criterion.estimate.counted


def _give_a_gradient(optimizer: AMPOptimizer, loss: Tensor) -> None:
    """Torch's gradient scaler insists on having scaled a loss and on seeing a gradient."""
    optimizer.scaler.scale(loss)
    weight = next(iter(optimizer.fp32_optimizer.params))
    weight.grad = torch.zeros_like(weight)
