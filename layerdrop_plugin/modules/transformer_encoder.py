"""fairseq's Transformer encoder on a :class:`~layerdrop_plugin.modules.layer_stack.LayerStack`."""

from fairseq.models.transformer import TransformerEncoder
from torch import nn

from .drop_rates import layer_rates
from .layer_stack import LayerStack
from .tie_in import tie_in


class LayerDropTransformerEncoder(TransformerEncoder):
    """Same weights, state-dict keys and outputs as fairseq's; LayerDrop that skips layers under any data parallelism.

    Reads from *args*, beside what fairseq reads: ``encoder_layerdrop``, ``encoder_layerdrop_schedule``,
    ``layerdrop_warmup_updates`` and ``seed``.
    """

    def __init__(self, args, dictionary, embed_tokens, return_fc=False):
        super().__init__(args, dictionary, embed_tokens, return_fc=return_fc)
        layers = list(nn.ModuleList.__iter__(self.layers))  # fairseq's LayerDrop list draws in its own __iter__
        self.layers = LayerStack(
            layers,
            layer_rates(args.encoder_layerdrop, len(layers), args.encoder_layerdrop_schedule),
            seed=getattr(args, "seed", 1),
            stack="encoder",
            warmup_updates=args.layerdrop_warmup_updates,
        )

    def forward_scriptable(self, *args, **kwargs):
        """fairseq's forward (same arguments and result), running only the layers kept in this draw."""
        with self.layers.forward_pass() as left_out:
            result = super().forward_scriptable(*args, **kwargs)
        result["encoder_out"] = [tie_in(result["encoder_out"][0], left_out)]
        return result
