"""fairseq's Transformer encoder layer with gates and with parts that may be absent."""

import torch
from fairseq.modules.transformer_layer import TransformerEncoderLayerBase
from torch import Tensor

from .sublayers import Sublayers


class PrunableEncoderLayer(Sublayers, TransformerEncoderLayerBase):
    """fairseq's layer: same weights, state-dict keys, arguments and outputs (law 2, nothing dropped)."""

    def forward(
        self, x: Tensor, encoder_padding_mask: Tensor | None, attn_mask: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor | None]:
        """Map *x* (length, batch, width) to the same shape; with ``return_fc`` also return the FFN's output."""
        if attn_mask is not None:
            attn_mask = attn_mask.masked_fill(attn_mask.to(torch.bool), -1e8 if x.dtype == torch.float32 else -1e4)
        residual, feed_forward = x, []

        def attend(x):
            options = {"key_padding_mask": encoder_padding_mask, "attn_mask": attn_mask, "need_weights": False}
            return self.self_attn(query=x, key=x, value=x, **options)[0]

        def feed(x):
            feed_forward.append(self.feed_forward(x))
            return feed_forward[-1]

        x = self.run_sublayer("self_attn", x, attend)
        x = self.gate(self.run_sublayer("ffn", x, feed), residual)
        return (x, feed_forward[0] if feed_forward else None) if self.return_fc else x
