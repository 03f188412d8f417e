"""Rearrange a plan by the gradients of a loaded model, in one pass over examples."""

from typing import TYPE_CHECKING

from tqdm import tqdm

from ..errors import LayerdropError
from ..pruning.gates import model_shape
from ..pruning.plan import Plan
from ..pruning.rearrange import Exchange, Place, rearrange, sublayers
from .estimation import criterion_of_session, sum_gradients, summed_loss
from .gram import GramMatrices
from .recorder import Recorder

if TYPE_CHECKING:
    from ..evaluation.session import Session


def rearrange_on_data(
    session: "Session", plan: Plan, subset: str = "train", max_examples: int | None = None
) -> tuple[Plan, dict[Place, Exchange]]:
    """Exchange parts that *plan* keeps and removes, see :func:`layerdrop_plugin.pruning.rearrange.rearrange`.

    The gradients are those of the whole model, with the criterion of the checkpoint.

    Args:
        session: the model and its data.
        plan: a plan for the model.
        subset: name of the split to draw examples from.
        max_examples: maximum number of examples, drawn with the session's seed; all by default.

    Raises:
        LayerdropError: the plan has nothing to exchange, the loss is no sum over independent examples, or the subset is
            missing or empty.
    """
    shape = model_shape(session.model)
    plan.validate(shape)
    sizes, places = Recorder(session.model).sizes, sublayers(plan, shape)
    fixed = next((f"{key} layer {layer}" for key, layer in places if not sizes[key][layer]), None)
    if fixed:
        raise LayerdropError(f"the parts of {fixed} cannot be gated, so that nothing can be exchanged there")
    grams = GramMatrices(sizes, places)
    samples = session.batches(subset, max_examples)
    loss_fn = summed_loss(session, criterion_of_session(session), samples)
    progress = tqdm(samples, desc="rearrange", unit="batch")
    sum_gradients(session.model, loss_fn, progress, per_example=grams.add)
    return rearrange(plan, shape, {place: matrix.cpu() for place, matrix in grams.matrices.items()})
