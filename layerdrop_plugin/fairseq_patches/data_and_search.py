"""Changes to fairseq's data sets and searches: options that today's numpy or fairseq itself broke, alignments."""

import types

from .replace import replaces


class _NumpyOfOld:
    """numpy, with ``np.compat.long`` and ``np.percentile(interpolation=)`` of numpy 1."""

    compat = types.SimpleNamespace(long=int)

    def __init__(self, numpy):
        self._numpy = numpy

    def __getattr__(self, name):
        return getattr(self._numpy, name)

    def percentile(self, values, percents, interpolation="linear"):
        """numpy's, whose *interpolation* is called ``method`` now."""
        return self._numpy.percentile(values, percents, method=interpolation)


def patch_numpy_names() -> None:
    """Give fairseq's data sets the names of numpy 1 that they use: ``np.compat.long``, ``percentile(interpolation=)``.

    For ``--sample-break-mode eos``, ``--num-batch-buckets`` and generating with language models. It can go when fairseq
    says ``int`` and ``method=``.
    """
    import numpy
    from fairseq.data import data_utils, language_pair_dataset, token_block_dataset

    for module in (data_utils, language_pair_dataset, token_block_dataset):
        module.np = _NumpyOfOld(numpy)


def patch_whole_words() -> None:
    """Let ``MaskedLMTask.load_dataset`` find the run's ``--bpe``, which ``--mask-whole-words`` asks for.

    It looks into ``self.args``, which the task lost when it got a configuration; it can go when fairseq no longer does.
    """
    from fairseq.tasks.masked_lm import MaskedLMTask
    from omegaconf import OmegaConf

    @replaces(MaskedLMTask, "load_dataset")
    def load_dataset(original, self, *args, **kwargs):
        if not hasattr(self, "args"):
            root = self.cfg._get_parent() if OmegaConf.is_config(self.cfg) else None
            self.args = None if root is None else root.get("bpe")
        return original(self, *args, **kwargs)


def patch_diverse_beams() -> None:
    """Let ``DiverseBeamSearch`` look up a sentence's overlaps at its place in the batch, where it keeps them.

    ``--diverse-beam-groups`` fails because sentences come with their numbers in the data set. It can go when fairseq
    does this itself.
    """
    import torch
    from fairseq.search import DiverseBeamSearch

    @replaces(DiverseBeamSearch, "step")
    def step(original, self, step, lprobs, scores, prev_output_tokens=None, original_batch_idxs=None):
        places = torch.arange(len(lprobs), device=lprobs.device)
        return original(self, step, lprobs, scores, prev_output_tokens, places)

    @replaces(DiverseBeamSearch, "prune_sentences")
    def prune_sentences(original, self, batch_idxs):
        self.group_overlap = self.group_overlap[batch_idxs]  # of the sentences that go on


def patch_attention_in_search() -> None:
    """Let searches return attention weights where their caller asks for alignments, and skip them elsewhere.

    Hub interfaces tell models that nobody wants the weights, and then read them. It can go when they no longer do.
    """
    from fairseq.hub_utils import GeneratorHubInterface
    from fairseq.sequence_generator import SequenceGeneratorWithAlignment

    for search in (SequenceGeneratorWithAlignment, GeneratorHubInterface):

        @replaces(search, "generate")
        def generate(original, self, *args, **kwargs):
            from ..modules.transformer_decoder import attention_wanted

            with attention_wanted(self):
                return original(self, *args, **kwargs)


def patch_hard_alignment() -> None:
    """Make alignments hard where ``--print-alignment`` is neither ``hard`` nor ``soft``, as fairseq's ``--help`` says.

    Without this, it is an AttributeError of ``SequenceGeneratorWithAlignment``. It can go when fairseq has a default.
    """
    from fairseq.sequence_generator import SequenceGeneratorWithAlignment
    from fairseq.utils import extract_hard_alignment

    SequenceGeneratorWithAlignment.extract_alignment = staticmethod(extract_hard_alignment)
