"""Options for what BERT has and fairseq's RoBERTa has not: another epsilon in LayerNorm, and segments."""

from argparse import ArgumentParser

from fairseq.utils import safe_getattr
from torch import nn

from ..errors import LayerdropError
from ..modules.segments import PositionsAndSegments
from ..modules.transformer_encoder import LayerDropTransformerEncoder
from .options import Args

EPS = 1e-5  # fairseq's and torch's


def add_bert_args(parser: ArgumentParser) -> None:
    """Add ``--layernorm-eps`` and ``--segment-embeddings``, which are off by default."""
    parser.add_argument(
        "--layernorm-eps",
        type=float,
        metavar="E",
        help=f"epsilon of every LayerNorm, the LM head's too; BERT's is 1e-12 (default: fairseq's {EPS:g})",
    )
    parser.add_argument(
        "--segment-embeddings",
        type=int,
        metavar="N",
        help="embeddings of N segments, which separators part: <s> a </s> b </s> is 0 0 0 1 1 (default: none)",
    )


def check_bert_options(args: Args) -> None:
    """Raise LayerdropError for values of the options that no model can have."""
    eps, segments = safe_getattr(args, "layernorm_eps"), safe_getattr(args, "segment_embeddings")
    if eps is not None and not 0 < eps < 1:
        raise LayerdropError(f"--layernorm-eps {eps:g}: want a small number above 0")
    if segments is not None and segments < 0:
        raise LayerdropError(f"--segment-embeddings {segments}: want a number from 1")


def set_layernorm_eps(model: nn.Module, args: Args) -> None:
    """Give every LayerNorm of *model* the epsilon in *args*, if there is one."""
    eps = safe_getattr(args, "layernorm_eps")
    for module in model.modules() if eps else ():
        if hasattr(module, "normalized_shape"):  # torch's, or Apex's
            module.eps = eps


def add_segments(encoder: LayerDropTransformerEncoder, args: Args, separator: int) -> None:
    """Give *encoder* the segments that *args* ask for, parted by the token *separator*.

    Raises:
        LayerdropError: it has no learned positions, which they are added to.
    """
    segments = safe_getattr(args, "segment_embeddings")
    if not segments:
        return
    if not isinstance(encoder.embed_positions, nn.Embedding):
        raise LayerdropError("--segment-embeddings needs learned positions, which this model does not have")
    encoder.embed_positions = PositionsAndSegments(encoder.embed_positions, segments, separator)
