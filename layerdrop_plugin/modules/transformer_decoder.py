"""fairseq's Transformer decoder on a :class:`~layerdrop_plugin.modules.layer_stack.LayerStack`."""

import contextlib
from collections.abc import Iterator

from fairseq.models.transformer import TransformerDecoder
from torch import Tensor, nn

from .learned_rates import LearnedRates, fit_weights
from .scriptable import Scriptable
from .zero_gradients import with_zero_gradients


class LayerDropTransformerDecoder(Scriptable, TransformerDecoder):
    """fairseq's decoder (law 2, nothing dropped) with LayerDrop that does not compute dropped layers (laws 4 and 5).

    Instances are made from fairseq's by ``modules.convert``; their ``layers`` are a ``LayerStack``.
    """

    learned_rates: LearnedRates | None  # of its layers, if --learn-layerdrop asks for them
    __jit_ignored_attributes__ = ["learned_rates"]
    _beams = 1  # number of hypotheses that share a sentence's encoder output in the current search
    _need_attention = True  # whether the current search needs attention weights

    def make_generation_fast_(self, need_attn: bool = False, **kwargs) -> None:
        """fairseq's hook before beam search; *need_attn*: the search needs attention weights (to print alignments)."""
        self._need_attention = need_attn

    def extract_features_scriptable(
        self,
        prev_output_tokens: Tensor,
        encoder_out: dict[str, list[Tensor]] | None,
        incremental_state: dict | None = None,
        full_context_alignment: bool = False,
        alignment_layer: int | None = None,
        alignment_heads: int | None = None,
    ) -> tuple[Tensor, dict]:
        """As fairseq's (same arguments and result), running only the layers that this forward keeps.

        ``alignment_layer`` is the index of a layer in the whole stack, by default the last one that the gates keep. By
        default no attention weights are computed in a search that does not need them, to save time, and in training
        with LayerDrop, which may skip the layer. With ``alignment_layer`` they are computed whenever that layer runs.
        """
        encoded = encoder_out["encoder_out"] if encoder_out is not None else []
        no_weights = alignment_layer is None and self._skips_attention_weights(incremental_state)
        self._share_beams(prev_output_tokens, encoded, incremental_state)
        with self.layers.forward_pass() as skipped:
            x, extra = super().extract_features_scriptable(
                prev_output_tokens,
                encoder_out,
                incremental_state,
                full_context_alignment,
                -1 if no_weights else self.layers.position(alignment_layer),
                alignment_heads,
            )
        # If the whole decoder is dropped, this is the encoder's only connection to the loss (law 5, dropped layers).
        return with_zero_gradients(x, [*skipped, *encoded] if skipped else []), extra

    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> dict[str, Tensor]:
        """As fairseq's, which is called before weights are loaded; see :func:`fit_weights`."""
        fit_weights(state_dict, name, self.learned_rates)
        return super().upgrade_state_dict_named(state_dict, name)

    def _skips_attention_weights(self, incremental_state) -> bool:
        """Whether this call computes no attention weights by default."""
        if incremental_state is not None:
            return not self._need_attention
        return self.training and any(self.layers.rates)

    def _share_beams(self, prev_output_tokens, encoded, incremental_state) -> None:
        """Set in every ``encoder_attn`` how many hypotheses share a sentence's encoder output in this call.

        In fairseq the number set by a search stays set, which breaks the next training step or search.
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
    """Let the decoders in *model* compute attention weights in a search, in this block, as for printing alignments."""
    decoders = [module for module in model.modules() if isinstance(module, LayerDropTransformerDecoder)]
    before = [decoder._need_attention for decoder in decoders]
    for decoder in decoders:
        decoder._need_attention = True
    try:
        yield
    finally:
        for decoder, needed in zip(decoders, before, strict=True):
            decoder._need_attention = needed
