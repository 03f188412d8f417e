"""``layerdrop_transformer``: fairseq's encoder-decoder Transformer with LayerDrop on both sides."""

from argparse import ArgumentParser, Namespace

from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, register_model, register_model_architecture
from fairseq.models.transformer import TransformerDecoder, TransformerEncoder, TransformerModel
from fairseq.tasks import FairseqTask
from fairseq.utils import safe_getattr
from omegaconf import OmegaConf
from torch import nn

from ..anatomy import STACKS
from ..modules.convert import layerdrop_decoder, layerdrop_encoder
from ..modules.inference import ReadyForInference
from ..modules.transformer_decoder import LayerDropTransformerDecoder
from ..modules.transformer_encoder import LayerDropTransformerEncoder
from .dictionaries import remember_dictionaries
from .layers_to_keep import LayersToKeep
from .options import Args, add_layerdrop_args, check_layerdrop, refuse_base_layers, set_layerdrop_defaults


@register_model("layerdrop_transformer")
class LayerDropTransformerModel(ReadyForInference, LayersToKeep, TransformerModel):
    """Transformer with LayerDrop (Fan et al. 2019).

    With every rate 0 it is fairseq's ``transformer``, whose checkpoints load here (law 2, nothing dropped). In
    training, dropped layers get zero gradients (law 5, dropped layers). Beam search keeps one copy of each sentence's
    encoder output for all hypotheses.
    """

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        """Add fairseq's Transformer options and this plugin's."""
        super().add_args(parser)
        add_layerdrop_args(parser, *STACKS)

    @classmethod
    def build_model(cls, args: Args, task: FairseqTask) -> "LayerDropTransformerModel":
        """Build the model that *args* describe.

        Raises:
            LayerdropError: an invalid drop rate, schedule or list of layers, or dictionaries other than those that the
                model was trained with.
        """
        if OmegaConf.is_config(args):
            args = Namespace(**OmegaConf.to_container(args, resolve=True))
        base_architecture(args)
        refuse_base_layers(args)
        layers_to_keep = cls.take_layers_to_keep(args, STACKS)
        remember_dictionaries(args, task)
        model = super().build_model(args, task)
        model.layers_to_keep = layers_to_keep
        return model

    @classmethod
    def build_encoder(cls, args: Args, src_dict: Dictionary, embed_tokens: nn.Embedding) -> LayerDropTransformerEncoder:
        """fairseq's hook: build this plugin's encoder."""
        return layerdrop_encoder(TransformerEncoder(args, src_dict, embed_tokens), args)

    @classmethod
    def build_decoder(cls, args: Args, tgt_dict: Dictionary, embed_tokens: nn.Embedding) -> LayerDropTransformerDecoder:
        """fairseq's hook: build this plugin's decoder."""
        decoder = TransformerDecoder(args, tgt_dict, embed_tokens, no_encoder_attn=args.no_cross_attention)
        return layerdrop_decoder(decoder, args)

    def set_beam_size(self, beam: int) -> None:
        """fairseq's hook before a beam search: let the *beam* hypotheses of a sentence share its encoder output.

        They cannot share it with ``cross_self_attention``, which concatenates it with each hypothesis' states.
        """
        if not self.decoder.cross_self_attention:
            self.encoder.beam_size = beam


@register_model_architecture("layerdrop_transformer", "layerdrop_transformer")
def base_architecture(args: Args) -> None:
    """Transformer base: 6 + 6 layers x 512, 8 heads."""
    set_layerdrop_defaults(args, *STACKS)
    ARCH_CONFIG_REGISTRY["transformer"](args)
    check_layerdrop(args, *STACKS)


@register_model_architecture("layerdrop_transformer", "layerdrop_transformer_tiny")
def tiny_preset(args: Args) -> None:
    """6 + 3 layers x 128, 4 heads, LayerNorm first: trains on two CPU cores within minutes."""
    for stack, layers in (("encoder", 6), ("decoder", 3)):
        sizes = {"layers": layers, "embed_dim": 128, "ffn_embed_dim": 512, "attention_heads": 4}
        for name, size in ({"normalize_before": True} | sizes).items():
            setattr(args, f"{stack}_{name}", safe_getattr(args, f"{stack}_{name}", size))
    base_architecture(args)


@register_model_architecture("layerdrop_transformer", "layerdrop_transformer_iwslt_de_en")
def iwslt_de_en_preset(args: Args) -> None:
    """fairseq's transformer_iwslt_de_en: 6 + 6 layers x 512, FFN 1024, 4 heads."""
    ARCH_CONFIG_REGISTRY["transformer_iwslt_de_en"](args)
    base_architecture(args)


@register_model_architecture("layerdrop_transformer", "layerdrop_transformer_wmt_en_de")
def wmt_en_de_preset(args: Args) -> None:
    """fairseq's transformer_wmt_en_de, as :func:`base_architecture`."""
    ARCH_CONFIG_REGISTRY["transformer_wmt_en_de"](args)
    base_architecture(args)


@register_model_architecture("layerdrop_transformer", "layerdrop_transformer_wmt_en_de_big_12_6")
def wmt_en_de_big_12_6_preset(args: Args) -> None:
    """fairseq's transformer_wmt_en_de_big with 12 encoder and 6 decoder layers (Fan et al. 2019, section 4.1)."""
    args.encoder_layers = safe_getattr(args, "encoder_layers", 12)
    ARCH_CONFIG_REGISTRY["transformer_wmt_en_de_big"](args)
    base_architecture(args)
