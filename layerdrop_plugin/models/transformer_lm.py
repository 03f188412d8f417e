"""``layerdrop_transformer_lm``: fairseq's Transformer language model with LayerDrop."""

from dataclasses import dataclass, field
from typing import Optional

from fairseq.dataclass import ChoiceEnum
from fairseq.models import (
    ARCH_CONFIG_REGISTRY,
    ARCH_MODEL_NAME_REGISTRY,
    register_model,
    register_model_architecture,
)
from fairseq.models.transformer_lm import TransformerLanguageModel, TransformerLanguageModelConfig
from omegaconf import II

from ..modules.drop_rates import SCHEDULES
from ..modules.structured_dropout import CHUNKS
from ..modules.transformer_decoder import LayerDropTransformerDecoder
from ..modules.zero_gradients import with_zero_gradients
from .dictionaries import remember_dictionaries
from .layers_to_keep import LayersToKeep
from .options import (
    changeable,
    check_layerdrop,
    chunks_help,
    drop_help,
    refine_layerdrop_arg,
    refuse_base_layers,
    size_help,
)


@dataclass
class LayerDropTransformerLanguageModelConfig(TransformerLanguageModelConfig):
    """Options of ``--arch layerdrop_transformer_lm``: fairseq's and ours."""

    decoder_layerdrop_schedule: ChoiceEnum(list(SCHEDULES)) = field(
        default=next(iter(SCHEDULES)),
        metadata={"help": "drop rates over the decoder's depth, their mean being --decoder-layerdrop"},
    )
    decoder_self_attn_heads: Optional[str] = field(default=None, metadata={"help": size_help("decoder", "self_attn")})
    decoder_ffn_units: Optional[str] = field(default=None, metadata={"help": size_help("decoder", "ffn")})
    decoder_headdrop: float = field(default=0.0, metadata={"help": drop_help("decoder", "headdrop")})
    decoder_ffndrop: float = field(default=0.0, metadata={"help": drop_help("decoder", "ffndrop")})
    decoder_sublayerdrop: float = field(default=0.0, metadata={"help": drop_help("decoder", "sublayerdrop")})
    decoder_ffndrop_chunks: int = field(default=CHUNKS, metadata={"help": chunks_help("decoder")})
    layerdrop_warmup_updates: int = field(
        default=0, metadata={"help": "updates over which the drop rates rise from 0 (0: no warm-up)"}
    )
    dictionary_sha256: Optional[str] = field(
        default=None, metadata={"help": "fingerprint of the dictionary; filled in and checked by itself"}
    )
    seed: int = II("common.seed")
    ddp_backend: str = II("distributed_training.ddp_backend")


@register_model("layerdrop_transformer_lm", dataclass=LayerDropTransformerLanguageModelConfig)
class LayerDropTransformerLanguageModel(LayersToKeep, TransformerLanguageModel):
    """Language model with LayerDrop (Fan et al. 2019). Stock ``transformer_lm`` checkpoints load here."""

    @classmethod
    def add_args(cls, parser):
        """Add fairseq's options and ours."""
        super().add_args(parser)
        refine_layerdrop_arg(parser, "decoder")

    @classmethod
    def build_model(cls, args, task):
        """Build the model that *args* describe.

        Raises:
            LayerdropError: a drop rate, schedule or list of layers that cannot be, or another dictionary than the one
                that the model was trained with.
        """
        with changeable(args):
            refuse_base_layers(args)
            check_layerdrop(args, "decoder")
            layers_to_keep = cls.take_layers_to_keep(args, ["decoder"])
            remember_dictionaries(args, task, ["dictionary_sha256"])
            model = super().build_model(args, task)
        model.decoder = LayerDropTransformerDecoder.of(model.decoder, args)
        model.layers_to_keep = layers_to_keep
        return model

    def forward(self, src_tokens, **kwargs):
        """As fairseq's: *src_tokens* (batch, length) -> logits or features (batch, length, ...) and extras.

        A batch without rare words leaves the adaptive tables of rare words idle: they are tied in.
        """
        x, extra = super().forward(src_tokens, **kwargs)
        return with_zero_gradients(x, self._rare_words() if self.training else []), extra

    def _rare_words(self):
        tables = []
        if self.decoder.adaptive_softmax is not None:
            tables.append(self.decoder.adaptive_softmax.tail)
        if hasattr(self.decoder.embed_tokens, "embeddings"):
            tables.append(self.decoder.embed_tokens.embeddings[1:])
        return {id(p): p for table in tables for p in table.parameters()}.values()


def _checked(preset):
    """A stock *preset* that also checks our options, as soon as fairseq has read the command line."""

    def architecture(args):
        preset(args)
        check_layerdrop(args, "decoder")

    return architecture


for _name, _model in list(ARCH_MODEL_NAME_REGISTRY.items()):
    if _model == "transformer_lm" and _name != _model:
        register_model_architecture("layerdrop_transformer_lm", f"layerdrop_{_name}")(
            _checked(ARCH_CONFIG_REGISTRY[_name])
        )
