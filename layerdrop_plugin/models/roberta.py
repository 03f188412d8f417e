"""``layerdrop_roberta``: fairseq's RoBERTa with LayerDrop that trains anywhere and children that load anywhere."""

import hashlib
from argparse import Namespace

from fairseq.models import register_model, register_model_architecture
from fairseq.models.roberta import RobertaEncoder, RobertaModel
from fairseq.models.roberta.model import base_architecture as stock_base_architecture
from fairseq.models.roberta.model import roberta_large_architecture as stock_large_architecture
from fairseq.modules.transformer_sentence_encoder import init_bert_params
from fairseq.utils import safe_getattr, safe_hasattr
from omegaconf import OmegaConf

from ..errors import LayerdropError
from ..modules.drop_rates import SCHEDULES, drop_rate
from ..modules.tie_in import tie_in
from ..modules.transformer_encoder import LayerDropTransformerEncoder
from .options import add_layerdrop_args, parse_layers_to_keep, refuse_unfinished_pruning


class LayerDropRobertaEncoder(RobertaEncoder):
    """fairseq's RoBERTa encoder around our Transformer encoder."""

    def build_encoder(self, args, dictionary, embed_tokens):
        encoder = LayerDropTransformerEncoder(args, dictionary, embed_tokens)
        encoder.apply(init_bert_params)
        return encoder


@register_model("layerdrop_roberta")
class LayerDropRobertaModel(RobertaModel):
    """RoBERTa with LayerDrop (Fan et al. 2019). Stock ``roberta`` checkpoints load here, and the other way round.

    With every rate 0 its outputs are fairseq's own. In training every parameter takes part in the autograd graph,
    also those of dropped layers and of heads that the task leaves idle, so DistributedDataParallel works as it is.
    """

    layers_to_keep = None  # fairseq's --encoder-layers-to-keep, while its pruning is still to be done

    @staticmethod
    def add_args(parser):
        """Add fairseq's RoBERTa options and ours."""
        RobertaModel.add_args(parser)
        add_layerdrop_args(parser, "encoder")

    @classmethod
    def build_model(cls, args, task):
        """Build the model that *args* describe.

        Raises:
            LayerdropError: a drop rate, schedule or list of layers that cannot be, fairseq's unfinished pruning
                options, or a dictionary other than the one the model was trained with.
        """
        if OmegaConf.is_config(args):
            OmegaConf.set_struct(args, False)
        base_architecture(args)
        refuse_unfinished_pruning(args)
        drop_rate(args.encoder_layerdrop)
        if args.encoder_layerdrop > 0 and safe_getattr(args, "ddp_backend", None) == "fully_sharded":
            raise LayerdropError("LayerDrop hangs under --ddp-backend fully_sharded: use pytorch_ddp or legacy_ddp")
        layers_to_keep = parse_layers_to_keep(args.encoder_layers_to_keep, args.encoder_layers, "encoder")
        if not safe_hasattr(args, "max_positions"):
            args.max_positions = safe_getattr(args, "tokens_per_sample") or task.max_positions()
        _check_dictionary(args, task.source_dictionary)
        model = cls(args, LayerDropRobertaEncoder(args, task.source_dictionary))
        # What is saved is the model's own shape: nobody has to prune it a second time.
        model.layers_to_keep, args.encoder_layers_to_keep = layers_to_keep, None
        if OmegaConf.is_config(args):
            OmegaConf.set_struct(args, True)
        return model

    def forward(
        self, src_tokens, features_only=False, return_all_hiddens=False, classification_head_name=None, **kwargs
    ):
        """As fairseq's: *src_tokens* (batch, length) -> logits or features (batch, length, ...) and extras."""
        x, extra = super().forward(src_tokens, features_only, return_all_hiddens, classification_head_name, **kwargs)
        return tie_in(x, self._idle_parameters(features_only, classification_head_name)), extra

    def _idle_parameters(self, features_only, used_head):
        idle = [head for name, head in self.classification_heads.items() if name != used_head]
        if features_only or used_head is not None:
            idle.append(self.encoder.lm_head)
        shared = self.encoder.sentence_encoder.embed_tokens.weight  # the LM head's, unless untied: in use already
        return [parameter for module in idle for parameter in module.parameters() if parameter is not shared]

    def load_state_dict(self, state_dict, strict=True, model_cfg=None, args=None):
        """As fairseq's, pruning by ``--encoder-layers-to-keep`` only what has not been pruned yet (so runs resume).

        Raises:
            LayerdropError: a layer to keep that *state_dict* does not have.
        """
        pruning = None
        layers = len({key.split(".layers.")[1].split(".")[0] for key in state_dict if ".layers." in key})
        if self.layers_to_keep and layers != len(self.encoder.sentence_encoder.layers):
            parse_layers_to_keep(self.layers_to_keep, layers, "encoder")
            pruning = Namespace(arch="layerdrop_roberta", encoder_layers_to_keep=self.layers_to_keep)
        return super().load_state_dict(state_dict, strict=strict, model_cfg=pruning)


def dictionary_sha256(dictionary) -> str:
    """A fingerprint of a fairseq dictionary: its symbols in order."""
    return hashlib.sha256("\n".join(dictionary.symbols).encode()).hexdigest()


def _check_dictionary(args, dictionary) -> None:
    """Remember the dictionary's fingerprint in *args*; refuse a model that was trained with another one."""
    expected, found = safe_getattr(args, "dictionary_sha256"), dictionary_sha256(dictionary)
    if expected and expected != found:
        raise LayerdropError(
            f"the model was trained with another dictionary than the data's ({len(dictionary)} types, different"
            " symbols): binarise the data with the model's dict.txt (fairseq-preprocess --srcdict)"
        )
    args.dictionary_sha256 = found


@register_model_architecture("layerdrop_roberta", "layerdrop_roberta")
def base_architecture(args):
    """RoBERTa's base shape: 12 layers x 768, 12 heads."""
    args.encoder_layerdrop_schedule = safe_getattr(args, "encoder_layerdrop_schedule", next(iter(SCHEDULES)))
    args.layerdrop_warmup_updates = safe_getattr(args, "layerdrop_warmup_updates", 0)
    stock_base_architecture(args)


@register_model_architecture("layerdrop_roberta", "layerdrop_roberta_base")
def base_preset(args):
    """RoBERTa-base, the family's default shape under the name that the presets share."""
    base_architecture(args)


@register_model_architecture("layerdrop_roberta", "layerdrop_roberta_large")
def large_preset(args):
    """RoBERTa-large: 24 layers x 1024, 16 heads."""
    stock_large_architecture(args)
    base_architecture(args)


@register_model_architecture("layerdrop_roberta", "layerdrop_roberta_tiny")
def tiny_preset(args):
    """6 layers x 128, 4 heads: trains on two CPU cores within minutes."""
    args.encoder_layers = safe_getattr(args, "encoder_layers", 6)
    args.encoder_embed_dim = safe_getattr(args, "encoder_embed_dim", 128)
    args.encoder_ffn_embed_dim = safe_getattr(args, "encoder_ffn_embed_dim", 512)
    args.encoder_attention_heads = safe_getattr(args, "encoder_attention_heads", 4)
    base_architecture(args)
