"""fairseq's Transformer decoder on a :class:`~layerdrop_plugin.modules.layer_stack.LayerStack`."""

import contextlib
from collections.abc import Iterator

from fairseq.models.transformer import TransformerDecoder
from torch import nn

from .layer_stack import LayerStack
from .scriptable import Scriptable
from .zero_gradients import with_zero_gradients


class LayerDropTransformerDecoder(Scriptable, TransformerDecoder):
    """Same weights, state-dict keys and outputs as fairseq's; LayerDrop that skips layers under any data parallelism.

    Reads from *args*, beside what fairseq reads: ``decoder_layerdrop``, ``decoder_layerdrop_schedule``,
    ``layerdrop_warmup_updates`` and ``seed``.
    """

    def __init__(self, args, dictionary, embed_tokens, no_encoder_attn=False, output_projection=None):
        super().__init__(args, dictionary, embed_tokens, no_encoder_attn, output_projection)
        self.dropout_module.module_name = TransformerDecoder.__name__  # what --retain-dropout-modules knows
        self._on_layer_stack(args)

    @classmethod
    def of(cls, decoder: TransformerDecoder, args) -> "LayerDropTransformerDecoder":
        """Make a stock *decoder* one of ours, its weights staying where they are.

        For models whose ``build_model`` names fairseq's class: building a second decoder would double the time and
        draw other random numbers.
        """
        decoder.__class__ = cls
        decoder._on_layer_stack(args)
        return decoder

    def _on_layer_stack(self, args) -> None:
        self.layers = LayerStack.of(self.layers, args, "decoder")
        self._beams = 1
        self._need_attention = True

    def make_generation_fast_(self, need_attn=False, **kwargs):
        """fairseq's hook before a search: unless it is to print alignments, nobody will ask for attention weights."""
        self._need_attention = need_attn

    def extract_features_scriptable(
        self,
        prev_output_tokens,
        encoder_out,
        incremental_state=None,
        full_context_alignment=False,
        alignment_layer=None,
        alignment_heads=None,
    ):
        """fairseq's (same arguments and result), running only the layers kept in this draw.

        ``alignment_layer`` is a number of the whole stack; by default it is the last layer, of a gated stack the last
        one that the gate lets through. Attention weights cost time: by default there are none in a search that is not
        to print them, nor in training with LayerDrop, whose draws may leave that layer out. A layer that is named
        gives them if it runs.
        """
        encoded = encoder_out["encoder_out"] if encoder_out is not None else []
        unasked = alignment_layer is None and self._nobody_asks(incremental_state)
        self._share_beams(prev_output_tokens, encoded, incremental_state)
        with self.layers.forward_pass() as left_out:
            x, extra = super().extract_features_scriptable(
                prev_output_tokens,
                encoder_out,
                incremental_state,
                full_context_alignment,
                -1 if unasked else self.layers.position(alignment_layer),
                alignment_heads,
            )
        # Were the whole decoder dropped, nothing else would connect the encoder to the loss.
        return with_zero_gradients(x, [*left_out, *encoded] if left_out else []), extra

    def _nobody_asks(self, incremental_state) -> bool:
        """Whether nobody will look at attention weights in this call."""
        if incremental_state is not None:
            return not self._need_attention
        return self.training and any(self.layers.rates)

    def _share_beams(self, prev_output_tokens, encoded, incremental_state) -> None:
        """Tell the attention over the encoder how many hypotheses share a sentence in this very call.

        fairseq's attention keeps the number that a search once told it, which breaks the next training step or search.
        """
        beams = 1
        if incremental_state is not None and encoded:
            beams = prev_output_tokens.size(0) // encoded[0].size(1)
        if beams != self._beams:
            for layer in self.layers:
                if layer.encoder_attn is not None:
                    layer.encoder_attn.set_beam_size(beams)
            self._beams = beams


@contextlib.contextmanager
def attention_wanted(model: nn.Module) -> Iterator[None]:
    """Within this block the decoders in *model* give attention weights in a search, whatever they were prepared for."""
    decoders = [module for module in model.modules() if isinstance(module, LayerDropTransformerDecoder)]
    before = [decoder._need_attention for decoder in decoders]
    for decoder in decoders:
        decoder._need_attention = True
    try:
        yield
    finally:
        for decoder, needed in zip(decoders, before, strict=True):
            decoder._need_attention = needed
