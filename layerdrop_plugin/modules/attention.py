"""Multi-head attention whose heads can be gated or removed, on torch's scaled_dot_product_attention.

Source: Michel, Levy, Neubig 2019, "Are Sixteen Heads Really Better than One?", section 2: with a gate ξ_h on each head,
the output is Σ_h ξ_h W_h Att_h(x) + b, where W_h are the columns of the output projection that read head h.
"""

from collections.abc import Sequence

import torch
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn
from torch.nn import functional as F

from .batch_first import batch_first
from .gate import HEADS, Gate
from .packed_linear import pack, packed_linear
from .scriptable import Scriptable, refuse_to_script
from .zero_gradients import with_zero_gradients


class AttentionWithoutHeads(Scriptable, nn.Module):
    """Attention without heads: its output is the output projection's bias, for any input.

    Its only parameter is ``out_proj.bias``.
    """

    num_heads = 0
    __jit_ignored_attributes__ = ["gate"]  # not compiled by torch.jit.trace

    def __init__(self, embed_dim: int, head_dim: int):
        super().__init__()
        self.embed_dim, self.head_dim = embed_dim, head_dim
        self.out_proj = OnlyBias(embed_dim)
        self.gate = Gate(0, HEADS)

    def forward(
        self, query: Tensor, key: Tensor | None = None, value: Tensor | None = None, **_unused
    ) -> tuple[Tensor, None]:
        """Return the bias at every position of *query* (target length, batch, width), and None as attention weights."""
        inputs = [x for x in (query, key) if x is not None and self.training]
        return with_zero_gradients(self.out_proj.bias.expand_as(query), inputs), None

    def stock_attributes(self) -> dict:
        """Raise LayerdropError."""
        refuse_to_script("attention without heads")

    def set_beam_size(self, beam_size: int) -> None:
        """fairseq's hook before beam search; does nothing, as there are no keys to share."""

    def _get_input_buffer(self, incremental_state) -> dict:
        return {}


class OnlyBias(Scriptable, nn.Module):
    """The bias (features,) of a linear layer without input features."""

    def __init__(self, features: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(features))

    def stock_attributes(self) -> dict:
        """Raise LayerdropError."""
        refuse_to_script("FFN without units")


class PrunableAttention(Scriptable, MultiheadAttention):
    """fairseq's attention with ``num_heads`` heads of width ``head_dim``, whose product need not be ``embed_dim``.

    Weights, state-dict keys, arguments, incremental state and outputs are fairseq's (law 2, nothing dropped). Attention
    weights are computed only with ``need_weights`` or ``need_head_weights``. A query whose keys are all masked gives
    zeros, where fairseq's gives NaN. Instances are made from fairseq's by ``modules.convert``.
    """

    gate: Gate
    __jit_ignored_attributes__ = AttentionWithoutHeads.__jit_ignored_attributes__

    def forward(
        self,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        key_padding_mask: Tensor | None = None,
        incremental_state: dict | None = None,
        need_weights: bool = True,
        static_kv: bool = False,
        attn_mask: Tensor | None = None,
        before_softmax: bool = False,
        need_head_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend with fairseq's arguments.

        Args:
            query: tensor (target length, batch, width).
            key, value: tensors (source length, batch, width of the key or value).

        Returns:
            The output (target length, batch, width), and the attention weights: (batch, target length, source length),
            or (heads, batch, target length, source length) with ``need_head_weights``, or None if not requested. With
            ``before_softmax``, the scores (batch x heads, target length, source length) and the values
            (batch x heads, source length, head's width) instead.
        """
        q, k, v, padding = self._project(query, key, value, key_padding_mask, incremental_state, static_kv)
        beams = q.size(0) // k.size(0)
        if beams > 1:  # a sentence's hypotheses share its keys: treat them as further queries of one batch row
            q = q.reshape(k.size(0), beams, *q.shape[1:]).transpose(1, 2).flatten(2, 3)
            attn_mask = None if attn_mask is None else attn_mask.repeat(beams, 1)
        mask = _visible(padding, attn_mask, q)
        weights = None
        if before_softmax:
            return _by_row(_scores(q, k, mask, self.scaling), beams).flatten(0, 1), v.flatten(0, 1)
        if need_weights or need_head_weights:
            weights = _softmax(_scores(q, k, mask, self.scaling))
            x = torch.matmul(self.dropout_module(weights.to(q)), v)
            weights = self._returned_weights(_by_row(weights, beams), need_head_weights)
        else:
            drops = self.training or self.dropout_module.apply_during_inference
            dropout = self.dropout_module.p if drops else 0.0
            x = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout, scale=self.scaling)
        x = self.gate(_by_row(x, beams))
        return batch_first(packed_linear(x, self.out_proj) or self.out_proj, x.permute(2, 0, 1, 3).flatten(2)), weights

    def stock_attributes(self) -> dict:
        """As :meth:`Scriptable.stock_attributes`: fairseq's attention needs ``embed_dim`` = heads x head's width."""
        if self.gate.value is not None:
            refuse_to_script("gates")
        width = self.num_heads * self.head_dim
        return {"beam_size": 1, "embed_dim": width, "skip_embed_dim_check": width != self.embed_dim}

    def _heads(self, x: Tensor, *projections: nn.Module) -> Sequence[Tensor]:
        """Apply each of *projections* to *x* (length, batch, width): tensors (batch, heads, length, head's width)."""
        parts = (self.num_heads, self.head_dim)
        packed = packed_linear(x, *projections)
        if packed is None:
            projected = (batch_first(projection, x) for projection in projections)
            return [x.unflatten(2, parts).permute(1, 2, 0, 3) for x in projected]
        return batch_first(packed, x).unflatten(2, (-1, *parts)).permute(2, 1, 3, 0, 4).unbind()

    def _project(self, query, key, value, padding, incremental_state, static_kv):
        """Queries, keys and values (batch, heads, length, head's width), and the keys' padding mask.

        With *incremental_state*, keys and values include those of earlier steps.
        """
        saved = None if incremental_state is None else self._get_input_buffer(incremental_state)
        before = saved.get("prev_key") if saved is not None else None
        if static_kv and before is not None:
            return *self._heads(query, self.q_proj), before, saved["prev_value"], saved["prev_key_padding_mask"]
        if self.self_attention:
            q, k, v = self._heads(query, self.q_proj, self.k_proj, self.v_proj)
        elif self.encoder_decoder_attention:
            if self.beam_size > 1 and query.size(1) == key.size(1):  # repeated for each hypothesis
                key = key[:, :: self.beam_size]
                padding = None if padding is None else padding[:: self.beam_size]
            q, k, v = *self._heads(query, self.q_proj), *self._heads(key, self.k_proj, self.v_proj)
        else:
            q, k, v = *self._heads(query, self.q_proj), *self._heads(key, self.k_proj), *self._heads(value, self.v_proj)
        if padding is not None and padding.dim() == 0:
            padding = None
        if saved is not None:
            if before is not None:
                k, v = torch.cat([before, k], 2), torch.cat([saved["prev_value"], v], 2)
            padding = self._append_prev_key_padding_mask(
                padding, saved.get("prev_key_padding_mask"), k.size(0), k.size(2), static_kv
            )
            saved |= {"prev_key": k, "prev_value": v, "prev_key_padding_mask": padding}
            self._set_input_buffer(incremental_state, saved)
        return q, k, v, padding

    def packed_together(self) -> list[tuple[nn.Module, ...]]:
        """The projections, in groups that one forward applies to the same input."""
        if self.self_attention:
            return [(self.q_proj, self.k_proj, self.v_proj)]
        if self.encoder_decoder_attention and self.k_proj.in_features == self.v_proj.in_features:
            return [(self.q_proj,), (self.k_proj, self.v_proj)]
        return [(self.q_proj,), (self.k_proj,), (self.v_proj,)]

    def pack(self) -> None:
        """Make the weights of the projections with the same input contiguous (see :func:`packed_linear`)."""
        one_input = [p for p in (self.q_proj, self.k_proj, self.v_proj) if p.in_features == self.v_proj.in_features]
        pack(*one_input)

    def _apply(self, *args, **kwargs):
        """As ``nn.Module._apply``; pack the weights again, as it converts (device, precision) each one separately."""
        result = super()._apply(*args, **kwargs)
        self.pack()
        return result

    def _returned_weights(self, weights: Tensor, need_head_weights: bool) -> Tensor | None:
        """The attention *weights* (batch, heads, ...) to return, of the heads that the gate keeps.

        Returns:
            (heads, batch, ...) with *need_head_weights*, else their mean (batch, ...); None if no head is kept.
        """
        kept = self.gate.kept()
        if kept is not None:
            weights = weights[:, list(kept)]
        if weights.size(1) == 0:
            return None
        return weights.transpose(0, 1) if need_head_weights else weights.mean(1)


def _visible(padding: Tensor | None, attn_mask: Tensor | None, q: Tensor) -> Tensor | None:
    """Combine both masks into one for ``scaled_dot_product_attention``.

    Returns:
        Booleans (batch, 1, 1, source), True at visible keys; numbers (..., target, source) to add to the scores if
        there is an *attn_mask*; None if nothing is masked.
    """
    if padding is not None:
        padding = padding.to(torch.bool)[:, None, None, :]
    if attn_mask is None:
        return None if padding is None else ~padding
    attn_mask = attn_mask.to(q)
    return attn_mask if padding is None else attn_mask.masked_fill(padding, float("-inf"))


def _scores(q: Tensor, k: Tensor, mask: Tensor | None, scaling: float) -> Tensor:
    scores = torch.matmul(q * scaling, k.transpose(2, 3))
    if mask is None:
        return scores
    return scores.masked_fill(~mask, float("-inf")) if mask.dtype is torch.bool else scores + mask


def _softmax(scores: Tensor) -> Tensor:
    """Attention weights in at least single precision; zeros, with finite gradients, where all keys are masked."""
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    hidden = scores.eq(float("-inf"))
    weights = F.softmax(scores.masked_fill(hidden, torch.finfo(scores.dtype).min), dim=-1)
    return weights.masked_fill(hidden, 0.0)


def _by_row(x: Tensor, beams: int) -> Tensor:
    """Reshape *x* from (sentences, heads, beams x length, ...) to (sentences x beams, heads, length, ...)."""
    return x if beams == 1 else x.unflatten(2, (beams, -1)).transpose(1, 2).flatten(0, 1)
