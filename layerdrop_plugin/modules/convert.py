"""fairseq's layers become ours where they stand: no second model is built, no random number drawn."""

from fairseq.modules.checkpoint_activations import checkpoint_wrapper, unwrap_checkpoint
from fairseq.modules.transformer_layer import (
    TransformerDecoderLayer,
    TransformerDecoderLayerBase,
    TransformerEncoderLayer,
    TransformerEncoderLayerBase,
)
from torch import nn

from ..errors import LayerdropError
from .decoder_layer import PrunableDecoderLayer
from .encoder_layer import PrunableEncoderLayer
from .sublayers import with_sublayers

CLASSES = {
    TransformerEncoderLayerBase: PrunableEncoderLayer,
    TransformerEncoderLayer: PrunableEncoderLayer,
    TransformerDecoderLayerBase: PrunableDecoderLayer,
    TransformerDecoderLayer: PrunableDecoderLayer,
}


def prunable_layer(layer: nn.Module, sizes: dict[str, int | None]) -> nn.Module:
    """*layer* as one of ours with *sizes* (see :func:`~.sublayers.with_sublayers`); others' layers stay as they are.

    Raises:
        LayerdropError: *sizes* ask for a smaller layer, and this one cannot be one of ours.
    """
    kind = CLASSES.get(type(layer))
    if kind is None:
        if sizes:
            raise LayerdropError(f"a {type(layer).__name__} cannot have another number of heads or units")
        return layer
    checkpointed = layer.forward.args[-1] if hasattr(layer, "precheckpoint_forward") else None
    if checkpointed is not None:  # the wrapper holds the old class's forward
        unwrap_checkpoint(layer)
        del layer.__dict__["forward"]
    with_sublayers(layer, kind, sizes)
    return layer if checkpointed is None else checkpoint_wrapper(layer, offload_to_cpu=checkpointed)
