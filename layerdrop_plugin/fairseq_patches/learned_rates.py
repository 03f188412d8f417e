"""Changes to fairseq's training that ``--learn-layerdrop`` needs."""

import statistics

from .replace import replaces


def patch_learned_rates() -> None:
    """Let ``Trainer`` tell a model with learned drop rates the losses of its draws, and log the rates.

    A model does not see the loss, and criterions and stock tasks do not know of the rates. ``Trainer`` is where they
    meet, whatever the task and criterion. Of a trainer whose model has such rates, and of no other, two methods are
    wrapped: the task's ``train_step``, which returns each micro-batch's loss before fp16's scaling and says with
    ``ignore_grad`` whether it is a dummy; and the trainer's ``train_step``, after which the number of updates tells
    whether the update succeeded. Can be removed when fairseq has a hook that is called with each micro-batch's loss.
    """
    from fairseq.trainer import Trainer

    @replaces(Trainer, "__init__")
    def __init__(original, self, cfg, task, model, *args, **kwargs):
        original(self, cfg, task, model, *args, **kwargs)
        from ..modules.learned_rates import LearnedRates

        learned = [module for module in model.modules() if isinstance(module, LearnedRates)]
        if learned:
            _tell_losses(task, learned)
            _learn_after_updates(self, learned)


def _tell_losses(task, learned) -> None:
    @replaces(task, "train_step")
    def train_step(original, *args, ignore_grad=False, **kwargs):
        for rates in learned:
            rates.discard_forward()  # of forwards outside training steps, or of a step that failed
        loss, sample_size, logging_output = original(*args, ignore_grad=ignore_grad, **kwargs)
        for rates in learned:
            if ignore_grad:
                rates.discard_forward()
            else:
                rates.add_loss(loss, sample_size)
        return loss, sample_size, logging_output


def _learn_after_updates(trainer, learned) -> None:
    from fairseq.distributed.utils import all_reduce_dict
    from fairseq.logging import metrics

    @replaces(trainer, "train_step")
    def train_step(original, *args, **kwargs):
        for rates in learned:
            rates.discard_update()
        before = trainer.get_num_updates()
        logging_output = original(*args, **kwargs)
        if trainer.get_num_updates() == before:  # gradients overflowed
            return logging_output
        with metrics.aggregate("train"):  # as in the original
            for rates in learned:
                sums = rates.take_sums()
                if trainer.data_parallel_world_size > 1:
                    sums = all_reduce_dict(sums, trainer.device, trainer.data_parallel_process_group)
                rates.update(sums)
                for name, of in (("mean", statistics.fmean), ("min", min), ("max", max)):
                    value = of(rates.current())
                    metrics.log_scalar(f"{rates.stack}_layerdrop_{name}", value, weight=0, priority=710, round=3)
        return logging_output
