"""``--criterion pruning_distillation``: any criterion, while the model also learns from a teacher.

The loss is (1 - w) · base + w · T² · KL(teacher ‖ model) + h · mean squared difference of hidden states, each times the
sample size. Sources: Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network"; for hidden states Jiao
et al. 2019, "TinyBERT", section 3.1.
"""

import logging
import math
from dataclasses import dataclass, field
from typing import Optional  # fairseq turns these annotations into option types; it does not know "str | None"

import torch
from fairseq.criterions import register_criterion
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig
from torch import Tensor

from ..base_criterion import BaseCriterion, Wrapper, WrapperConfig, options_of, unwrapped
from ..distillation.hidden_states import Call, recorded
from ..distillation.losses import HiddenPair, divergence, hidden_difference, squared_difference
from ..distillation.teacher import Teacher, load_teacher
from ..errors import LayerdropError

logger = logging.getLogger(__name__)
LOGGED = ("distill_loss", "distill_hidden")


@dataclass
class PruningDistillationConfig(WrapperConfig):
    """Options of ``--criterion pruning_distillation``."""

    teacher: Optional[str] = field(
        default=None,
        metadata={"help": "checkpoint of the model to learn from, such as the fine-tuned parent; required"},
    )
    distill_weight: float = field(
        default=0.7,
        metadata={"help": "w in [0, 1]: (1 - w) of the base criterion's loss, w of the difference of outputs"},
    )
    distill_temperature: float = field(
        default=2.0, metadata={"help": "T that both models' logits are divided by; regression does without"}
    )
    distill_hidden: float = field(
        default=0.0,
        metadata={"help": "h, the weight of the hidden states' mean squared difference; needs equal widths"},
    )

    def check(self) -> None:
        """Raise LayerdropError for a value that is missing or out of range."""
        if not self.teacher:
            raise LayerdropError(
                "--criterion pruning_distillation needs --teacher PARENT, the checkpoint to learn from"
            )
        if not 0 <= self.distill_weight <= 1:
            raise LayerdropError(f"--distill-weight {self.distill_weight:g} must be between 0 and 1")
        if not 0 < self.distill_temperature < math.inf:
            raise LayerdropError(f"--distill-temperature {self.distill_temperature:g} must be greater than 0")
        if not 0 <= self.distill_hidden < math.inf:
            raise LayerdropError(f"--distill-hidden {self.distill_hidden:g} must be at least 0")
        if not (self.distill_weight or self.distill_hidden):
            raise LayerdropError("--distill-weight 0 without --distill-hidden learns nothing from the teacher")


class Distilling:
    """Mixin for a subclass of the base criterion, whose loss in training also holds the model against a teacher.

    Attributes:
        teacher: no module, so that it is neither trained nor saved.
        options: how the parts of the loss are weighted.
    """

    teacher: Teacher
    options: PruningDistillationConfig

    def forward(self, model: torch.nn.Module, sample: dict, reduce: bool = True) -> tuple[Tensor, int | Tensor, dict]:
        """As the base criterion's, and in training the loss of this module's docstring."""
        if not torch.is_grad_enabled():  # validation
            return super().forward(model, sample, reduce=reduce)
        child, options = unwrapped(model), self.options
        with recorded(child, bool(options.distill_hidden)) as calls:
            loss, sample_size, logging_output = super().forward(model, sample, reduce=reduce)
        if len(calls) != 1:
            raise LayerdropError(f"the base criterion calls the model {len(calls)} times a batch: distil with another")
        teacher = self.teacher.answer(calls[0], child)
        loss, logged = (1 - options.distill_weight) * loss.float(), {}
        if options.distill_weight:
            outputs = self._outputs(child, calls[0], teacher, sample)
            loss = loss + options.distill_weight * outputs
            logged["distill_loss"] = outputs.detach()
        if options.distill_hidden:
            hidden = hidden_difference(self._pairs(calls[0], teacher), self._sizes(sample, sample_size))
            loss = loss + options.distill_hidden * hidden
            logged["distill_hidden"] = hidden.detach()
        return loss, sample_size, logging_output | logged

    @property
    def _answers(self) -> bool:
        """Whether an example has one output, not one for each of its tokens."""
        return options_of(self.task)._name.endswith("sentence_prediction")

    def _outputs(self, child, call: Call, teacher: Call, sample: dict) -> Tensor:
        """Difference of the outputs that the base criterion's loss is of, summed over these."""
        mine, theirs = (_scores(model, of.output) for model, of in ((child, call), (self.teacher.model, teacher)))
        if self._answers and getattr(self, "regression_target", False):
            return squared_difference(theirs, mine)
        if not self._answers:
            counted = self._counted(call, sample)
            mine, theirs = mine[counted], self.teacher.of_kept(theirs[counted])
        return self.options.distill_temperature**2 * divergence(theirs, mine, self.options.distill_temperature)

    def _counted(self, call: Call, sample: dict) -> Tensor:
        """Which tokens the base criterion's loss is of: booleans of the outputs' shape without the last dimension."""
        counted = sample["target"].ne(self.padding_idx)
        counted[:, : getattr(self, "ignore_prefix_size", 0)] = False
        masked = call.inputs.get("masked_tokens")
        return counted if masked is None else counted[masked]

    def _pairs(self, call: Call, teacher: Call) -> list[HiddenPair]:
        padding, pairs = self.task.source_dictionary.pad(), []
        for stack, numbers in self.teacher.counterparts.items():
            read = call.inputs.get("prev_output_tokens") if stack == "decoder" else None
            places = (call.inputs["src_tokens"] if read is None else read).ne(padding)
            mine, theirs = call.hidden.get(stack, {}), teacher.hidden[stack]
            pairs += [HiddenPair(state, theirs[numbers[number]], places) for number, state in mine.items()]
        return pairs

    def _sizes(self, sample: dict, sample_size: int | Tensor) -> Tensor:
        """What each example adds to the sample size: (batch,)."""
        target = sample["target"]
        if self._answers or getattr(self, "sentence_avg", False):
            sizes = torch.ones(len(target), device=target.device)
        else:
            sizes = target.ne(self.padding_idx).sum(1).float()
        return sizes * (sample_size / sizes.sum().clamp(min=1))

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict]) -> None:
        """As the base criterion's; beside its loss the differences of outputs (in bits like that) and hidden states."""
        super().reduce_metrics(logging_outputs)
        size = sum(log.get("sample_size", 0) for log in logging_outputs)
        for name, unit in zip(LOGGED, (math.log(2), 1.0), strict=True):
            if any(name in log for log in logging_outputs):
                total = sum(log.get(name, 0) for log in logging_outputs)
                metrics.log_scalar(name, total / size / unit, size, round=3)


def _scores(model, output) -> Tensor:
    """The logits in a model's *output*, or log-probabilities where it has an adaptive softmax."""
    adaptive = getattr(getattr(model, "decoder", None), "adaptive_softmax", None)
    return output[0] if adaptive is None else model.get_normalized_probs(output, log_probs=True)


@register_criterion("pruning_distillation", dataclass=PruningDistillationConfig)
class PruningDistillationCriterion(Wrapper):
    """The name on the command line."""

    @classmethod
    def mixin(cls, cfg: DictConfig, task: FairseqTask, root: DictConfig, base: BaseCriterion) -> type:
        """:class:`Distilling` with this run's teacher.

        Raises:
            LayerdropError: an option that is missing or wrong, or a teacher that does not go with the run.
        """
        names = ("teacher", "distill_weight", "distill_temperature", "distill_hidden")
        options = PruningDistillationConfig(**{name: cfg[name] for name in names})
        options.check()
        teacher = load_teacher(
            options.teacher, task, root, cfg.classification_head_name, with_hidden=bool(options.distill_hidden)
        )
        return type("Distilling", (Distilling,), {"teacher": teacher, "options": options})
