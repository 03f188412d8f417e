"""fairseq's Transformer encoder on a :class:`~layerdrop_plugin.modules.layer_stack.LayerStack`."""

from fairseq.models.transformer import TransformerEncoder

from .layer_stack import LayerStack
from .scriptable import Scriptable
from .zero_gradients import with_zero_gradients

BEAMS = "beams"  # in an encoder's output: how many hypotheses share one copy of each sentence


class LayerDropTransformerEncoder(Scriptable, TransformerEncoder):
    """Same weights, state-dict keys and outputs as fairseq's; LayerDrop that skips layers under any data parallelism.

    Reads from *args*, beside what fairseq reads: ``encoder_layerdrop``, ``encoder_layerdrop_schedule``,
    ``layerdrop_warmup_updates`` and ``seed``.
    """

    beam_size = 1  # of the next search; set by the model's set_beam_size

    def __init__(self, args, dictionary, embed_tokens, return_fc=False):
        super().__init__(args, dictionary, embed_tokens, return_fc=return_fc)
        self.dropout_module.module_name = TransformerEncoder.__name__  # what --retain-dropout-modules knows
        self.layers = LayerStack.of(self.layers, args, "encoder")

    def forward_scriptable(self, *args, **kwargs):
        """fairseq's forward (same arguments and result), running only the layers kept in this draw."""
        with self.layers.forward_pass() as left_out:
            result = super().forward_scriptable(*args, **kwargs)
        result["encoder_out"] = [with_zero_gradients(result["encoder_out"][0], left_out)]
        return result

    def reorder_encoder_out(self, encoder_out, new_order):
        """As fairseq's, except that a beam's hypotheses go on sharing one copy of their sentence.

        fairseq's search asks once for ``beam_size`` copies of each sentence (*new_order* is then 0 0 0 1 1 1 ...);
        later orders exchange hypotheses within sentences and leave out sentences that are done.
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
    """Whether *order* names every row *times* times in a row."""
    if order.numel() % times:
        return False
    rows = order.view(-1, times)
    return bool((rows == rows[:, :1]).all())
