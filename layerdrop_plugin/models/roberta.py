"""``layerdrop_roberta``: fairseq's RoBERTa with LayerDrop, structured dropout, prunable layers, BERT's details."""

from argparse import ArgumentParser

from fairseq.data import Dictionary
from fairseq.models import register_model, register_model_architecture
from fairseq.models.roberta import RobertaEncoder, RobertaModel
from fairseq.models.roberta.model import base_architecture as stock_base_architecture
from fairseq.models.roberta.model import roberta_large_architecture as stock_large_architecture
from fairseq.models.transformer import TransformerEncoder
from fairseq.modules.transformer_sentence_encoder import init_bert_params
from fairseq.tasks import FairseqTask
from fairseq.utils import safe_getattr, safe_hasattr
from omegaconf import OmegaConf
from torch import Tensor, nn

from ..modules.convert import layerdrop_encoder
from ..modules.inference import ReadyForInference
from ..modules.scriptable import Scriptable
from ..modules.transformer_encoder import LayerDropTransformerEncoder
from ..modules.zero_gradients import with_zero_gradients
from .bert import add_bert_args, add_segments, check_bert_options, set_layernorm_eps
from .dictionaries import remember_dictionaries
from .layers_to_keep import LayersToKeep
from .options import Args, add_layerdrop_args, check_layerdrop, refuse_unfinished_pruning, set_layerdrop_defaults


class LayerDropRobertaEncoder(Scriptable, RobertaEncoder):
    """fairseq's RoBERTa encoder on :class:`LayerDropTransformerEncoder`."""

    def build_encoder(
        self, args: Args, dictionary: Dictionary, embed_tokens: nn.Embedding
    ) -> LayerDropTransformerEncoder:
        """fairseq's hook: build the Transformer encoder, with BERT's initialisation."""
        encoder = layerdrop_encoder(TransformerEncoder(args, dictionary, embed_tokens), args)
        add_segments(encoder, args, dictionary.eos())
        encoder.apply(init_bert_params)
        return encoder


@register_model("layerdrop_roberta")
class LayerDropRobertaModel(ReadyForInference, LayersToKeep, RobertaModel):
    """RoBERTa with LayerDrop (Fan et al. 2019).

    With every rate 0 it is fairseq's ``roberta``: checkpoints load in both directions (law 2, nothing dropped), unless
    ``--layernorm-eps`` or ``--segment-embeddings`` make it a BERT. In training, dropped layers and unused heads get
    zero gradients (law 5, dropped layers).
    """

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        """Add fairseq's RoBERTa options and this plugin's."""
        RobertaModel.add_args(parser)
        add_layerdrop_args(parser, "encoder")
        add_bert_args(parser)

    @classmethod
    def build_model(cls, args: Args, task: FairseqTask) -> "LayerDropRobertaModel":
        """Build the model that *args* describe.

        Raises:
            LayerdropError: an invalid drop rate, schedule or list of layers, fairseq's unfinished pruning options, or
                a dictionary other than the one the model was trained with.
        """
        if OmegaConf.is_config(args):
            OmegaConf.set_struct(args, False)
        base_architecture(args)
        refuse_unfinished_pruning(args)
        layers_to_keep = cls.take_layers_to_keep(args, ["encoder"])
        if not safe_hasattr(args, "max_positions"):
            args.max_positions = safe_getattr(args, "tokens_per_sample") or task.max_positions()
        remember_dictionaries(args, task, ["dictionary_sha256"])
        model = cls(args, LayerDropRobertaEncoder(args, task.source_dictionary))
        set_layernorm_eps(model, args)
        model.layers_to_keep = layers_to_keep
        if OmegaConf.is_config(args):
            OmegaConf.set_struct(args, True)
        return model

    def forward(
        self,
        src_tokens: Tensor,
        features_only: bool = False,
        return_all_hiddens: bool = False,
        classification_head_name: str | None = None,
        **kwargs,
    ) -> tuple[Tensor, dict]:
        """As fairseq's: map *src_tokens* (batch, length) to logits or features (batch, length, ...) and extras."""
        x, extra = super().forward(src_tokens, features_only, return_all_hiddens, classification_head_name, **kwargs)
        return with_zero_gradients(x, self._idle_parameters(features_only, classification_head_name)), extra

    def _idle_parameters(self, features_only, used_head):
        idle = [head for name, head in self.classification_heads.items() if name != used_head]
        if features_only or used_head is not None:
            idle.append(self.encoder.lm_head)
        shared = self.encoder.sentence_encoder.embed_tokens.weight  # tied to the LM head: in use in any case
        return [parameter for module in idle for parameter in module.parameters() if parameter is not shared]


@register_model_architecture("layerdrop_roberta", "layerdrop_roberta")
def base_architecture(args: Args) -> None:
    """RoBERTa-base: 12 layers x 768, 12 heads."""
    set_layerdrop_defaults(args, "encoder")
    stock_base_architecture(args)
    check_layerdrop(args, "encoder")
    check_bert_options(args)


@register_model_architecture("layerdrop_roberta", "layerdrop_roberta_base")
def base_preset(args: Args) -> None:
    """RoBERTa-base, as :func:`base_architecture`, under a name like those of the other presets."""
    base_architecture(args)


@register_model_architecture("layerdrop_roberta", "layerdrop_roberta_large")
def large_preset(args: Args) -> None:
    """RoBERTa-large: 24 layers x 1024, 16 heads."""
    stock_large_architecture(args)
    base_architecture(args)


@register_model_architecture("layerdrop_roberta", "layerdrop_roberta_tiny")
def tiny_preset(args: Args) -> None:
    """6 layers x 128, 4 heads: trains on two CPU cores within minutes."""
    args.encoder_layers = safe_getattr(args, "encoder_layers", 6)
    args.encoder_embed_dim = safe_getattr(args, "encoder_embed_dim", 128)
    args.encoder_ffn_embed_dim = safe_getattr(args, "encoder_ffn_embed_dim", 512)
    args.encoder_attention_heads = safe_getattr(args, "encoder_attention_heads", 4)
    base_architecture(args)
