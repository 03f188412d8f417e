"""Floating-point operations of a forward pass, in closed form.

A product of matrices m x k and k x n counts as 2 m k n operations, as torch's FlopCounterMode counts; additions of
biases, activations, softmax, LayerNorm and looking up embeddings are not counted. With B sentences of T tokens (S
source and T target tokens in an encoder-decoder, both the given length), width d, heads of width w:

    a head of self-attention              8 B T d w      queries, keys, values and output
                                        + 4 B T² w       scores and weighted sum
    a head of encoder-decoder attention   4 B T d w      queries and output
                                        + 4 B S e w      keys and values, e being the encoder's width
                                        + 4 B T S w
    an FFN unit                           4 B T d
    a linear layer outside the layers     2 n r c        a weight of r x c on n tokens

A classifier's head reads the first token of each sentence; output layers and projections of embeddings read all tokens.
Causal attention counts as if all positions were visible, which is what is computed.
"""

import re
from collections.abc import Iterator

from ..errors import LayerdropError
from .costs import Costs, linear
from .parent import Parent
from .shape import ModelShape

_ADAPTIVE = ("adaptive_input", "adaptive_softmax_cutoff", "character_embeddings", "cross_self_attention")
_HEAD = "sentence_classification_head"  # fairseq's default name


def flop_costs(parent: Parent, batch: int, length: int) -> Costs:
    """The operations of a forward pass of *parent* over *batch* sentences of *length* tokens.

    Raises:
        LayerdropError: the model has embeddings or attention whose operations depend on the words.
    """
    found = next((name for name in _ADAPTIVE if parent.options.get(name)), None)
    if found:
        raise LayerdropError(
            f"the parent was trained with --{found.replace('_', '-')}, which the formula of FLOPs does not cover: use a"
            " budget of params"
        )
    shape = parent.shape
    parts = {
        f"{stack}.{kind}": [flops_of_part(shape, stack, kind, batch, length)] * of.layers
        for stack, of in shape.items()
        for kind in of.sizes
    }
    zeros = {key: [0] * len(row) for key, row in parts.items()}
    return Costs(
        unit="FLOPs",
        outside=sum(2 * tokens * rows * columns for tokens, rows, columns in _outside(parent, batch, length)),
        layers={stack: (0,) * of.layers for stack, of in shape.items()},
        sublayers=linear(shape, zeros, parts),
    )


def flops_of_part(shape: ModelShape, stack: str, kind: str, batch: int, length: int) -> int:
    """The operations of one head or FFN unit of a sublayer of *kind*."""
    of = shape.get(stack)
    tokens, width = batch * length, of.width(kind)
    if kind == "ffn":
        return 4 * tokens * of.embed_dim
    attended = 4 * tokens * length * width
    if kind == "self_attn":
        return 8 * tokens * of.embed_dim * width + attended
    return 4 * tokens * (of.embed_dim + shape.encoder.embed_dim) * width + attended


def _outside(parent: Parent, batch: int, length: int) -> Iterator[tuple[int, int, int]]:
    """Yield (tokens, rows, columns) of the linear layers outside the layers that a forward pass runs."""
    tokens = batch * length
    if parent.family.stock == "roberta" and is_classifier(parent):
        name = (parent.cfg.get("task") or {}).get("classification_head_name") or _HEAD
        yield from ((batch, *shape) for shape in _shapes(parent, rf"classification_heads\.{re.escape(name)}\..*"))
    elif parent.family.stock == "roberta":
        yield from ((tokens, *shape) for shape in _shapes(parent, r"encoder\.lm_head\.dense\.weight"))
        yield tokens, parent.vocabulary_size(), parent.shape.encoder.embed_dim
    else:
        yield from ((tokens, *shape) for shape in _shapes(parent, r"decoder\.project_(in|out)_dim\.weight"))
        # In early checkpoints an output layer that shares the embedding's weights has none of its own.
        names = ("decoder.output_projection.weight", "decoder.embed_out", "decoder.embed_tokens.weight")
        yield tokens, *next(parent.weights[name].shape for name in names if name in parent.weights)


def is_classifier(parent: Parent) -> bool:
    """Whether the task of *parent* is sentence prediction: classification or regression."""
    return str((parent.cfg.get("task") or {}).get("_name")).endswith("sentence_prediction")


def _shapes(parent: Parent, pattern: str) -> Iterator[tuple[int, int]]:
    for name, weight in parent.weights.items():
        if re.fullmatch(pattern, name) and weight.dim() == 2:
            yield weight.shape[0], weight.shape[1]
