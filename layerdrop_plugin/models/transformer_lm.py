"""``layerdrop_transformer_lm``: fairseq's Transformer language model with LayerDrop."""

from argparse import ArgumentParser
from collections.abc import Callable
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
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import Tensor

from ..modules.convert import layerdrop_decoder
from ..modules.drop_rates import SCHEDULES
from ..modules.inference import ReadyForInference
from ..modules.structured_dropout import CHUNKS
from ..modules.zero_gradients import with_zero_gradients
from .dictionaries import remember_dictionaries
from .layers_to_keep import LayersToKeep
from .options import (
    LEARN_HELP,
    LEARN_LR_HELP,
    Args,
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
    """Options of ``--arch layerdrop_transformer_lm``: fairseq's and this plugin's."""

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
    learn_layerdrop: bool = field(default=False, metadata={"help": LEARN_HELP})
    learn_layerdrop_lr: Optional[float] = field(default=None, metadata={"help": LEARN_LR_HELP})
    dictionary_sha256: Optional[str] = field(
        default=None, metadata={"help": "fingerprint of the dictionary; filled in and checked by itself"}
    )
    seed: int = II("common.seed")
    ddp_backend: str = II("distributed_training.ddp_backend")


@register_model("layerdrop_transformer_lm", dataclass=LayerDropTransformerLanguageModelConfig)
class LayerDropTransformerLanguageModel(ReadyForInference, LayersToKeep, TransformerLanguageModel):
    """Language model with LayerDrop (Fan et al. 2019); stock ``transformer_lm`` checkpoints load here (law 2)."""

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        """Add fairseq's options and this plugin's."""
        super().add_args(parser)
        refine_layerdrop_arg(parser, "decoder")

    @classmethod
    def build_model(cls, args: Args, task: FairseqTask) -> "LayerDropTransformerLanguageModel":
        """Build the model that *args* describe.

        Raises:
            LayerdropError: an invalid drop rate, schedule or list of layers, or another dictionary than the one that
                the model was trained with.
        """
        with changeable(args):
            refuse_base_layers(args)
            check_layerdrop(args, "decoder")
            layers_to_keep = cls.take_layers_to_keep(args, ["decoder"])
            remember_dictionaries(args, task, ["dictionary_sha256"])
            model = super().build_model(args, task)
        model.decoder = layerdrop_decoder(model.decoder, args)
        model.layers_to_keep = layers_to_keep
        return model

    def forward(self, src_tokens: Tensor, **kwargs) -> tuple[Tensor, dict]:
        """As fairseq's: map *src_tokens* (batch, length) to logits or features (batch, length, ...) and extras.

        A batch without rare words does not use the adaptive tables of rare words: they get zero gradients (law 5).
        """
        x, extra = super().forward(src_tokens, **kwargs)
        return with_zero_gradients(x, self._rare_words() if self.training else []), extra

    def _rare_words(self):
        """Parameters of the adaptive softmax's tails and of the adaptive embeddings beyond the first."""
        tables = []
        if self.decoder.adaptive_softmax is not None:
            tables.append(self.decoder.adaptive_softmax.tail)
        if hasattr(self.decoder.embed_tokens, "embeddings"):
            tables.append(self.decoder.embed_tokens.embeddings[1:])
        return {id(p): p for table in tables for p in table.parameters()}.values()


def _checked(preset: Callable[[Args], None]) -> Callable[[Args], None]:
    """A stock architecture function that also checks this plugin's options (see :func:`check_layerdrop`)."""

    def architecture(args):
        preset(args)
        check_layerdrop(args, "decoder")

    return architecture


for _name, _model in list(ARCH_MODEL_NAME_REGISTRY.items()):
    if _model == "transformer_lm" and _name != _model:
        register_model_architecture("layerdrop_transformer_lm", f"layerdrop_{_name}")(
            _checked(ARCH_CONFIG_REGISTRY[_name])
        )
