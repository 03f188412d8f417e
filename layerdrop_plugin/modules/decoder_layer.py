"""fairseq's Transformer decoder layer with gates and with parts that may be absent."""

import torch
from fairseq.modules.transformer_layer import TransformerDecoderLayerBase
from torch import Tensor

from .batch_first import batch_first
from .sublayers import Sublayers
from .zero_gradients import with_zero_gradients


class PrunableDecoderLayer(Sublayers, TransformerDecoderLayerBase):
    """fairseq's layer (law 2, nothing dropped), except that attention weights are computed only with ``need_attn``."""

    def forward(
        self,
        x: Tensor,
        encoder_out: Tensor | None = None,
        encoder_padding_mask: Tensor | None = None,
        incremental_state: dict | None = None,
        self_attn_mask: Tensor | None = None,
        self_attn_padding_mask: Tensor | None = None,
        need_attn: bool = False,
        need_head_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None, None]:
        """Compute the layer; the arguments are fairseq's, without those of its ONNX export.

        Args:
            x: (length, batch, width).

        Returns:
            the output (same shape), the attention weights over the encoder's output or None, and None.
        """
        residual, weights = x, []

        def attend(x):
            keys, mask, padding = x, self_attn_mask, self_attn_padding_mask
            if self.cross_self_attention and not self._has_keys(incremental_state):
                keys, mask, padding = _with_encoder(x, mask, padding, encoder_out, encoder_padding_mask)
            options = {"key_padding_mask": padding, "attn_mask": mask, "incremental_state": incremental_state}
            return self._scaled(self.self_attn(query=x, key=keys, value=keys, need_weights=False, **options)[0])

        def attend_to_encoder(x):
            options = {"key_padding_mask": encoder_padding_mask, "incremental_state": incremental_state}
            options |= {"need_weights": need_attn or need_head_weights, "need_head_weights": need_head_weights}
            x, attn = self.encoder_attn(query=x, key=encoder_out, value=encoder_out, static_kv=True, **options)
            weights.append(attn)
            return x

        x = self.run_sublayer("self_attn", x, attend)
        if encoder_out is not None:
            if self.training and not self.runs("encoder_attn"):
                x = with_zero_gradients(x, [encoder_out])  # law 5, dropped layers
            x = self.run_sublayer("encoder_attn", x, attend_to_encoder)
        x = self.gate(self.run_sublayer("ffn", x, self.feed_forward), residual)
        return x, weights[0] if weights else None, None

    def _has_keys(self, incremental_state) -> bool:
        return incremental_state is not None and "prev_key" in self.self_attn._get_input_buffer(incremental_state)

    def _scaled(self, x: Tensor) -> Tensor:
        """Self-attention's output *x* after NormFormer's head scales and LayerNorm, where fairseq has them."""
        if self.c_attn is not None:
            x = (x.unflatten(2, (self.nh, self.head_dim)) * self.c_attn[:, None]).flatten(2)
        return x if self.attn_ln is None else batch_first(self.attn_ln, x)


def _with_encoder(x, mask, padding, encoder_out, encoder_padding_mask):
    """Keys, mask and padding of self-attention over the encoder's output and *x* (``cross_self_attention``)."""
    if mask is not None:
        mask = torch.cat((mask.new_zeros(x.size(0), encoder_out.size(0)), mask), dim=1)
    if padding is not None:
        unpadded = padding.new_zeros(encoder_out.size(1), encoder_out.size(0))
        padding = torch.cat((unpadded if encoder_padding_mask is None else encoder_padding_mask, padding), dim=1)
    return torch.cat((encoder_out, x), dim=0), mask, padding
