"""``layerdrop_bart``: fairseq's BART and mBART with LayerDrop on both sides."""

from collections.abc import Callable, Iterator

from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_NAME_REGISTRY, register_model, register_model_architecture
from fairseq.models.bart import BARTModel
from fairseq.utils import safe_getattr
from torch import Tensor, nn

from ..anatomy import STACKS
from ..errors import LayerdropError
from ..modules.zero_gradients import with_zero_gradients
from .options import Args, check_layerdrop, set_layerdrop_defaults
from .transformer import LayerDropTransformerModel


@register_model("layerdrop_bart")
class LayerDropBARTModel(LayerDropTransformerModel, BARTModel):
    """BART (Lewis et al. 2019, arXiv 1910.13461) with LayerDrop (Fan et al. 2019), classification heads included.

    With every rate 0 it is fairseq's ``bart``, whose checkpoints load here (law 2, nothing dropped). In training,
    dropped layers and unused heads get zero gradients (law 5, dropped layers).
    """

    def forward(
        self,
        src_tokens: Tensor,
        src_lengths: Tensor | None = None,
        prev_output_tokens: Tensor | None = None,
        features_only: bool = False,
        classification_head_name: str | None = None,
        **kwargs,
    ) -> tuple[Tensor, dict]:
        """As fairseq's: logits or features (batch, length, ...) and extras; of a head, logits (batch, classes).

        Args:
            src_tokens: (batch, source length).
            src_lengths: (batch,), or None.
            prev_output_tokens: (batch, target length); with a head, *src_tokens* rotated right by one place.
            features_only: leave out the output projection.
            classification_head_name: apply this head to the state of the last ``</s>``.

        Raises:
            LayerdropError: the data has no *prev_output_tokens*.
        """
        if prev_output_tokens is None:
            raise LayerdropError("BART's decoder reads the sentence, too: give --add-prev-output-tokens")
        x, extra = super().forward(
            src_tokens, src_lengths, prev_output_tokens, features_only, classification_head_name, **kwargs
        )
        idle = self._idle_parameters(features_only, classification_head_name) if self.training else []
        return with_zero_gradients(x, list(idle)), extra

    def _idle_parameters(self, features_only: bool, used_head: str | None) -> Iterator[nn.Parameter]:
        """Parameters of the heads and of the output projection that this forward does not use."""
        for name, head in self.classification_heads.items():
            if name != used_head:
                yield from head.parameters()
        if features_only or used_head is not None:
            embeddings = {self.encoder.embed_tokens.weight, self.decoder.embed_tokens.weight}
            yield from (weight for weight in self.decoder.output_projection.parameters() if weight not in embeddings)


def _preset(stock: str) -> Callable[[Args], None]:
    """fairseq's architecture *stock*, and the checks of this plugin's options."""

    def architecture(args: Args) -> None:
        ARCH_CONFIG_REGISTRY[stock](args)
        set_layerdrop_defaults(args, *STACKS)
        args.encoder_layerdrop = safe_getattr(args, "encoder_layerdrop") or 0
        args.decoder_layerdrop = safe_getattr(args, "decoder_layerdrop") or 0
        check_layerdrop(args, *STACKS)

    return architecture


base_architecture = register_model_architecture("layerdrop_bart", "layerdrop_bart")(_preset("bart_large"))
for _name in [name for name, model in ARCH_MODEL_NAME_REGISTRY.items() if model == "bart"]:
    register_model_architecture("layerdrop_bart", f"layerdrop_bart_{_name.removeprefix('bart_')}")(_preset(_name))


@register_model_architecture("layerdrop_bart", "layerdrop_bart_tiny")
def tiny_preset(args: Args) -> None:
    """4 + 4 layers x 128, 4 heads: trains on two CPU cores within minutes."""
    for stack in STACKS:
        for name, size in {"layers": 4, "embed_dim": 128, "ffn_embed_dim": 512, "attention_heads": 4}.items():
            setattr(args, f"{stack}_{name}", safe_getattr(args, f"{stack}_{name}", size))
    base_architecture(args)
