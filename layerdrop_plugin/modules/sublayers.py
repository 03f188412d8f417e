"""A Transformer layer as a sequence of sublayers, each of which may be gated, dropped or absent."""

from collections.abc import Callable, Iterable

import torch
from fairseq.utils import get_activation_fn
from torch import Tensor, nn

from ..anatomy import SUBLAYERS
from .attention import AttentionWithoutHeads, OnlyBias, PrunableAttention
from .batch_first import batch_first
from .gate import Gate
from .onednn_linear import is_recorded
from .packed_linear import packed_linear
from .scriptable import Scriptable, refuse_to_script
from .zero_gradients import with_zero_gradients

NAMES = {get_activation_fn(name): name for name in ("gelu", "relu")}  # fairseq's activation functions
IN_PLACE = {"gelu": torch._C._nn.gelu_, "relu": torch.relu_}


class Sublayers(Scriptable):
    """Common part of the encoder and decoder layers; a mixin for fairseq's classes, see ``modules.convert``.

    Attributes:
        gate: gate over the whole layer.
        ffn_gate: gate over the FFN's units; None if they cannot be gated separately.
        absent: kinds of sublayers that this layer does not have.
        closed: kinds that a plan removes; set by ``pruning.gates``.
        dropped: kinds that structured dropout skips in this forward; set by ``modules.structured_dropout``.
        observer: called in every forward with each kind that runs and the sum (length, batch, width) of its output and
            its residual, before a post-norm LayerNorm, or None; set by ``evaluation.observed``.
    """

    gate: Gate
    ffn_gate: Gate | None
    absent: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    observer: Callable[[str, Tensor], None] | None = None
    # not compiled by torch.jit.trace:
    __jit_ignored_attributes__ = ["gate", "ffn_gate", "absent", "closed", "dropped", "observer"]

    def stock_attributes(self) -> dict:
        """As :meth:`Scriptable.stock_attributes`: raise LayerdropError for gates and absent sublayers."""
        if self.absent:
            refuse_to_script("layers without " + " or ".join(sorted(self.absent)))
        if self.closed or any(gate is not None and gate.value is not None for gate in (self.gate, self.ffn_gate)):
            refuse_to_script("gates")
        return {}

    def sublayer(self, kind: str) -> nn.Module | None:
        """The module with a sublayer's output projection: an attention, the FFN's ``fc2``; None if absent."""
        return self.fc2 if kind == "ffn" else getattr(self, kind, None)

    def runs(self, kind: str) -> bool:
        """Whether this forward runs a sublayer; one that does not run is the identity, LayerNorm included."""
        return self.sublayer(kind) is not None and kind not in self.closed and kind not in self.dropped

    def head_gate(self, kind: str) -> Gate | None:
        """The gate over the heads of an attention; None if it is absent or cannot be gated."""
        attention = self.sublayer(kind)
        return attention.gate if isinstance(attention, (PrunableAttention, AttentionWithoutHeads)) else None

    def parameters_of(self, kind: str) -> Iterable[nn.Parameter]:
        """Parameters of a sublayer, its LayerNorm's included."""
        for name in (*SUBLAYERS[kind].weights, SUBLAYERS[kind].norm):
            part = getattr(self, name, None)
            if isinstance(part, nn.Module):
                yield from part.parameters()
            elif part is not None:
                yield part

    def run_sublayer(self, kind: str, x: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Run the sublayer *kind* with LayerNorm, dropout and residual connection.

        Args:
            kind: ``self_attn``, ``encoder_attn`` or ``ffn``.
            x: tensor (length, batch, width).
            compute: the attention or FFN itself, from and to tensors of this shape.

        Returns:
            Tensor of the same shape; *x* itself if the sublayer does not run.
        """
        if not self.runs(kind):
            return with_zero_gradients(x, self.parameters_of(kind)) if self.training else x
        norm, residual = getattr(self, SUBLAYERS[kind].norm), x
        if self.normalize_before and isinstance(self.sublayer(kind), (AttentionWithoutHeads, OnlyBias)):
            x = with_zero_gradients(compute(x), norm.parameters())  # the bias: the LayerNorm's output is not used
        else:
            x = compute(batch_first(norm, x) if self.normalize_before else x)
        x = self.dropout_module(x)
        if kind == "ffn" and getattr(self, "w_resid", None) is not None:
            residual = self.w_resid * residual
        x = self.residual_connection(x, residual)
        if self.observer is not None:
            self.observer(kind, x)
        return x if self.normalize_before else batch_first(norm, x)

    def feed_forward(self, x: Tensor) -> Tensor:
        """Apply the FFN to *x* (length, batch, width), without LayerNorm and residual connection."""
        if self.fc1 is None:
            return with_zero_gradients(self.fc2.bias.expand_as(x), [x] if self.training else [])
        input_needed = torch.is_grad_enabled() or self.fc1._forward_hooks or is_recorded()
        name = None if input_needed else NAMES.get(self.activation_fn)
        activated = name and packed_linear(x, self.fc1, activation=name)
        activate = IN_PLACE.get(name, self.activation_fn)
        x = batch_first(activated, x) if activated else activate(batch_first(self.fc1, x))
        x = self.activation_dropout_module(x)
        if getattr(self, "ffn_layernorm", None) is not None:
            x = batch_first(self.ffn_layernorm, x)
        x = x if self.ffn_gate is None else self.ffn_gate(x)
        return batch_first(packed_linear(x, self.fc2) or self.fc2, x)
