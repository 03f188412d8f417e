"""fairseq's Transformer encoder on a :class:`~layerdrop_plugin.modules.layer_stack.LayerStack`."""

from fairseq.models.transformer import TransformerEncoder
from torch import Tensor

from .learned_rates import LearnedRates, fit_weights
from .scriptable import Scriptable
from .zero_gradients import with_zero_gradients

BEAMS = "beams"  # key in the encoder's output: number of hypotheses that share one copy of each sentence


class LayerDropTransformerEncoder(Scriptable, TransformerEncoder):
    """fairseq's encoder (law 2, nothing dropped) with LayerDrop that does not compute dropped layers (laws 4 and 5).

    Instances are made from fairseq's by ``modules.convert``; their ``layers`` are a ``LayerStack``.
    """

    learned_rates: LearnedRates | None  # of its layers, if --learn-layerdrop asks for them
    __jit_ignored_attributes__ = ["learned_rates"]
    beam_size = 1  # beam size of the next search; set by the model's set_beam_size()

    def forward_scriptable(self, *args, **kwargs) -> dict[str, list[Tensor]]:
        """As fairseq's (same arguments and result), running only the layers that this forward keeps."""
        with self.layers.forward_pass() as skipped:
            result = super().forward_scriptable(*args, **kwargs)
        result["encoder_out"] = [with_zero_gradients(result["encoder_out"][0], skipped)]
        return result

    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> dict[str, Tensor]:
        """As fairseq's, which is called before weights are loaded; see :func:`fit_weights`."""
        fit_weights(state_dict, name, self.learned_rates)
        return super().upgrade_state_dict_named(state_dict, name)

    def reorder_encoder_out(self, encoder_out: dict[str, list[Tensor]], new_order: Tensor) -> dict[str, list[Tensor]]:
        """As fairseq's, except that the hypotheses of a sentence share one copy of its encoder output.

        fairseq's search first asks for ``beam_size`` copies of each sentence (*new_order* is 0 0 0 1 1 1 ...); later
        orders permute hypotheses within sentences and leave out finished sentences.
        """
        beams = encoder_out.get(BEAMS, 1)
        if beams > 1:
            sentences = new_order.view(-1, beams)[:, 0] // beams
        elif self.beam_size > 1 and _repeats(new_order, self.beam_size):
            beams = self.beam_size
            sentences = new_order.view(-1, beams)[:, 0]
        else:
            return super().reorder_encoder_out(encoder_out, new_order)
        return super().reorder_encoder_out(encoder_out, sentences) | {BEAMS: beams}


def _repeats(order, times: int) -> bool:
    """Whether *order* contains every index *times* times in succession."""
    if order.numel() % times:
        return False
    rows = order.view(-1, times)
    return bool((rows == rows[:, :1]).all())
