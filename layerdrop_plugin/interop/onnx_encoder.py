"""What torch traces for ONNX: the encoder on the tokenizer's ids, its layers as ONNX Runtime's optimizer knows them.

The modules are those of the model; only their order of operations is written out, batch first, with attention as
products and a softmax. As fairseq's encoder does, tokens that the mask leaves out are ``<pad>``.
"""

from collections.abc import Callable, Sequence

import torch
from fairseq.models import BaseFairseqModel
from torch import Tensor, nn

_HIDDEN = -10000.0  # added to the scores of keys that the mask leaves out
PADDING = 1  # row of <pad>


class OnnxLayer(nn.Module):
    """A post-norm layer of fairseq's encoder, any of whose parts may be absent or empty.

    Args:
        layer: this plugin's encoder layer.
    """

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Map *x* (batch, length, width) to the same shape; *hidden* (batch, 1, 1, length) is added to the scores."""
        layer = self.layer
        if getattr(layer, "self_attn", None) is not None:
            x = layer.self_attn_layer_norm(x + self._attend(layer.self_attn, x, hidden))
        if getattr(layer, "fc2", None) is not None:
            x = layer.final_layer_norm(x + self._feed(x))
        return x

    def _attend(self, attention: nn.Module, x: Tensor, hidden: Tensor) -> Tensor:
        if not attention.num_heads:
            return attention.out_proj.bias
        shape = (x.shape[0], x.shape[1], attention.num_heads, attention.head_dim)
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        q, k, v = (projection(x).view(*shape).transpose(1, 2) for projection in projections)
        scores = torch.matmul(q, k.transpose(-1, -2)) / attention.head_dim**0.5 + hidden
        values = torch.matmul(torch.softmax(scores, -1), v).transpose(1, 2).contiguous()
        return attention.out_proj(values.view(x.shape[0], x.shape[1], attention.num_heads * attention.head_dim))

    def _feed(self, x: Tensor) -> Tensor:
        layer = self.layer
        return layer.fc2.bias if layer.fc1 is None else layer.fc2(layer.activation_fn(layer.fc1(x)))


class OnnxEncoder(nn.Module):
    """The graph: ids and mask to class scores, or to hidden states.

    Args:
        model: this plugin's RoBERTa, in evaluation mode.
        rows: the tokenizer's id -> row of the embeddings.
        head: name of the classification head, or None.
    """

    def __init__(self, model: BaseFairseqModel, rows: Sequence[int], head: str | None):
        super().__init__()
        self.encoder = model.encoder.sentence_encoder
        self.head = None if head is None else model.classification_heads[head]
        self.layers = nn.ModuleList(OnnxLayer(layer) for layer in self.encoder.layers)
        self.register_buffer("rows", torch.tensor(rows))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map both inputs (batch, length), whole numbers, to (batch, classes) or (batch, length, width)."""
        visible = attention_mask.ne(0)
        rows = self.rows[input_ids].masked_fill(~visible, PADDING)
        x = self.encoder.embed_scale * self.encoder.embed_tokens(rows) + self.encoder.embed_positions(rows)
        x = self.encoder.layernorm_embedding(x)
        # as transformers has it, which the optimizer knows
        hidden = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * _HIDDEN
        for layer in self.layers:
            x = layer(x, hidden)
        return x if self.head is None else self._classes(self.head, x[:, 0])

    @staticmethod
    def _classes(head: nn.Module, x: Tensor) -> Tensor:
        activate: Callable[[Tensor], Tensor] = head.activation_fn
        return head.out_proj(activate(head.dense(x)))
