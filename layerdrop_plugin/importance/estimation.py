"""Scores of a loaded model's parts in one pass over some examples, its weights standing still."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from tqdm import tqdm

from ..errors import LayerdropError
from ..pruning.gates import of_open_parts
from ..pruning.scores import Importance
from .additivity import check_additivity
from .base_criterion import base_criterion, saved_criterion
from .methods import GRADIENTS, METHODS
from .recorder import Recorder, Sums


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Within this block *model* is in evaluation mode and no weight of it takes a gradient.

    With gates that are probed only the gradients that they need are computed.
    """
    training = {module: module.training for module in model.modules()}
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    # Activation checkpointing runs a layer again in the backward pass only if its input takes a gradient.
    checkpointed = [module for module in model.modules() if hasattr(module, "precheckpoint_forward")]
    hooks = [module.register_forward_pre_hook(_with_gradient) for module in checkpointed]
    try:
        model.eval()
        for weight in weights:
            weight.requires_grad_(False)
        yield model
    finally:
        for hook in hooks:
            hook.remove()
        for weight in weights:
            weight.requires_grad_(True)
        for module, before in training.items():
            module.training = before


def _with_gradient(module: nn.Module, inputs: tuple) -> tuple:
    x, *others = inputs
    return (x if x.requires_grad or not torch.is_grad_enabled() else x.detach().requires_grad_(), *others)


def record(model: nn.Module, loss_of: Callable[[dict], Tensor], samples: Iterable[dict], per_token=False) -> Sums:
    """Sums of the gradients of the gates of *model* over *samples*, batches of fairseq's.

    Args:
        loss_of: the loss of a batch, a sum over independent examples.

    Raises:
        LayerdropError: the model has no gates, or no batch gave finite gradients.
    """
    recorder = Recorder(model, per_token)
    sums = recorder.sums()
    try:
        with frozen(model), torch.enable_grad():
            for sample in samples:
                batch = recorder.begin(sample, sums.add)
                batch.watch(loss_of(sample)).backward()
    finally:
        recorder.stop()
    if sums.examples == 0:
        raise LayerdropError("there are no examples, or none with finite gradients: nothing can be estimated")
    return sums


def estimate(
    session,
    subset: str = "train",
    *,
    method: str = "importance",
    per: str = "example",
    max_examples: int | None = None,
    criterion: str | None = None,
    criterion_args: str | None = None,
    command: str | None = None,
) -> Importance:
    """Scores of the parts of a session's model (see ``evaluation.session``), as it is gated now: zero for closed ones.

    Args:
        subset: where the examples are from.
        method: one of ``methods.METHODS``.
        per: ``example`` or ``token``: what absolute values and squares are taken of.
        max_examples: take only so many, drawn with the session's seed.
        criterion: name of the criterion, by default the checkpoint's with the options that it had there.
        criterion_args: further options of the criterion, as a JSON object.
        command: for the file's signature.

    Raises:
        LayerdropError: an unknown criterion or option, a loss that is no sum over independent examples, or a session's
            errors: no such subset, or an empty one.
    """
    signature = session.signature(subset, command)
    if method not in GRADIENTS:
        scores, errors = METHODS[method](session.model, None, session.seed)
        found = {"model": session.fingerprint, "data": None, "examples": 0, "loss": None, "per": None}
        return Importance.of(scores, errors, method=method, **found, signature=signature)
    base = criterion_of_session(session, criterion, criterion_args)
    built = base.build(session.task).to(session.device).eval()

    def loss_of(sample):
        return built(session.model, sample)[0]

    samples = session.batches(subset, max_examples)
    check_additivity(loss_of, next(iter(samples)), (session.model, built), session.task.source_dictionary.pad())
    sums = record(session.model, loss_of, tqdm(samples, desc=method, unit="batch"), per == "token")
    scores, errors = (of_open_parts(session.model, rows) for rows in METHODS[method](session.model, sums))
    found = {"model": session.fingerprint, "data": signature["data_sha256"], "examples": sums.examples}
    signature |= {"criterion": base.plain(), "left_out": samples.left_out}
    return Importance.of(scores, errors, method=method, **found, loss=sums.loss, per=per, signature=signature)


def criterion_of_session(session, name: str | None = None, arguments: str | None = None):
    """The criterion *name* for a session's model, by default the checkpoint's own.

    Raises:
        LayerdropError: the checkpoint names none, or there is no such criterion or option.
    """
    saved = session.cfg.get("criterion") or {}
    if name is None:
        saved = saved_criterion(session.cfg, session.path)
        name = saved["_name"]
    root = OmegaConf.create(session.cfg, flags={"allow_objects": True})
    return base_criterion(name, saved, arguments, root)
