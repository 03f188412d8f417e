"""Score the parts of a loaded model in one pass over examples, without changing its weights."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from tqdm import tqdm

from ..base_criterion import BaseCriterion, base_criterion, saved_criterion
from ..errors import LayerdropError, first_line
from ..pruning.gates import of_open_parts
from ..pruning.scores import Scores
from .additivity import check_additivity
from .methods import GRADIENTS, METHODS
from .recorder import GradientSums, Recorder

if TYPE_CHECKING:
    from ..evaluation.session import Session


@contextlib.contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Put *model* into evaluation mode and let none of its weights require a gradient, in this block.

    If the gates have probes, a backward pass computes only the gradients that the probes need. Modes and
    ``requires_grad`` are restored when the block is left.
    """
    training = {module: module.training for module in model.modules()}
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    # Activation checkpointing runs a layer again in the backward pass only if its input requires a gradient.
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


def sum_gradients(
    model: nn.Module,
    loss_fn: Callable[[dict], Tensor],
    samples: Iterable[dict],
    per_token: bool = False,
    per_example: Callable[[Tensor], None] | None = None,
) -> GradientSums:
    """Sum the gradients of the gates of *model* over *samples*.

    Args:
        model: a model whose layers have gates.
        loss_fn: computes the loss (a scalar) of a fairseq batch, which must be a sum over independent examples.
        samples: fairseq batches.
        per_token: see :class:`GradientSums`.
        per_example: called for each batch with the gradients (examples, parts) of each example.

    Raises:
        LayerdropError: the model has no gates, or no batch gave finite gradients.
    """
    recorder = Recorder(model, per_token)
    sums = recorder.sums()
    try:
        with frozen(model), torch.enable_grad():
            for sample in samples:
                batch = recorder.start_batch(sample, sums.add, per_example)
                batch.attach(loss_fn(sample)).backward()
    finally:
        recorder.remove_probes()
    if sums.examples == 0:
        raise LayerdropError("there are no examples, or none with finite gradients: nothing can be estimated")
    return sums


def estimate(
    session: "Session",
    subset: str = "train",
    *,
    method: str = "importance",
    per: str = "example",
    max_examples: int | None = None,
    criterion: str | None = None,
    criterion_args: str | None = None,
    command: str | None = None,
) -> Scores:
    """Score the parts of the session's model with its current gates; the scores of closed parts are 0.

    Args:
        session: the model and its data.
        subset: name of the split to draw examples from.
        method: a key of ``methods.METHODS``.
        per: ``example`` or ``token``: whether absolute values and squares are taken of the gradient of each example or
            of each token.
        max_examples: maximum number of examples, drawn with the session's seed; all by default.
        criterion: name of the criterion, by default that of the checkpoint. Its options are those in the checkpoint.
        criterion_args: further options of the criterion, as a JSON object.
        command: the command line, for the file's signature.

    Raises:
        LayerdropError: an unknown criterion or option, a loss that is no sum over independent examples, or a missing
            or empty subset.
    """
    signature = session.signature(subset, command)
    if method not in GRADIENTS:
        scores, errors = METHODS[method](session.model, None, session.seed)
        no_data = {"data": None, "examples": 0, "loss": None, "per": None}
        return Scores.of(scores, errors, method=method, model=session.fingerprint, **no_data, signature=signature)
    base = criterion_of_session(session, criterion, criterion_args)
    samples = session.batches(subset, max_examples)
    loss_fn = summed_loss(session, base, samples)
    sums = sum_gradients(session.model, loss_fn, tqdm(samples, desc=method, unit="batch"), per == "token")
    scores, errors = (of_open_parts(session.model, rows) for rows in METHODS[method](session.model, sums))
    source = {"model": session.fingerprint, "data": signature["data_sha256"], "examples": sums.examples}
    signature |= {"criterion": base.plain(), "left_out": samples.left_out}
    return Scores.of(scores, errors, method=method, **source, loss=sums.loss, per=per, signature=signature)


def summed_loss(session: "Session", base: BaseCriterion, samples: Iterable[dict]) -> Callable[[dict], Tensor]:
    """The function that computes the loss (a scalar) of the criterion *base* for a batch of the session's data.

    Args:
        session: the model.
        base: the criterion.
        samples: the batches; the first one shows whether the loss is a sum over independent examples.

    Raises:
        LayerdropError: it is not, or the criterion does not fit the model or the data.
    """
    built = base.build(session.task).to(session.device).eval()

    def loss_fn(sample):
        return built(session.model, sample)[0]

    try:
        check_additivity(loss_fn, next(iter(samples)), (session.model, built), session.task.source_dictionary.pad())
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError, AssertionError) as error:
        name = base.cfg._name
        raise LayerdropError(
            f"the criterion {name} cannot compute a loss of this model and data: {first_line(error)}"
        ) from error
    return loss_fn


def criterion_of_session(session: "Session", name: str | None = None, arguments: str | None = None) -> BaseCriterion:
    """The criterion for the session's model.

    Args:
        session: the model.
        name: name of the criterion, by default that of the checkpoint.
        arguments: options as a JSON object; they override those in the checkpoint.

    Raises:
        LayerdropError: the checkpoint names no criterion, or there is no such criterion or option.
    """
    saved = session.cfg.get("criterion") or {}
    if name is None:
        saved = saved_criterion(session.cfg, session.path)
        name = saved["_name"]
    root = OmegaConf.create(session.cfg, flags={"allow_objects": True})
    return base_criterion(name, saved, arguments, root)
