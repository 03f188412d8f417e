"""Changes to fairseq's data sets and searches: options that fail with numpy 2 or in fairseq itself, and alignments."""

import os
import struct
import types

from ..errors import LayerdropError
from .replace import replaces


class _NumpyOfOld:
    """numpy with ``np.compat.long`` and ``np.percentile(interpolation=)``, which only numpy 1 has."""

    compat = types.SimpleNamespace(long=int)

    def __init__(self, numpy):
        self._numpy = numpy

    def __getattr__(self, name):
        return getattr(self._numpy, name)

    def percentile(self, values, percents, interpolation="linear"):
        """``numpy.percentile`` with *interpolation* as its ``method``."""
        return self._numpy.percentile(values, percents, method=interpolation)


def patch_numpy_names() -> None:
    """Give fairseq's data sets the names of numpy 1 that they use: ``np.compat.long``, ``percentile(interpolation=)``.

    Needed for ``--sample-break-mode eos``, ``--num-batch-buckets`` and generation with language models. Can be removed
    when fairseq uses ``int`` and ``method=``.
    """
    import numpy
    from fairseq.data import data_utils, language_pair_dataset, token_block_dataset

    for module in (data_utils, language_pair_dataset, token_block_dataset):
        module.np = _NumpyOfOld(numpy)


_MAGIC = b"MMIDIDX\x00\x00"  # an index file: this, version (8 bytes), type (1), number of rows (8); lengths, offsets
_HEADER = struct.Struct("<9sQBQ")


def patch_binarised_data() -> None:
    """Make ``indexed_dataset.make_dataset`` raise a one-line error if a data file is shorter than its index says.

    fairseq finds out in the middle of a training, with a traceback. Can be removed when fairseq compares the two.
    """
    from fairseq.data import indexed_dataset

    @replaces(indexed_dataset, "make_dataset")
    def make_dataset(original, path, *args, **kwargs):
        index, content = indexed_dataset.index_file_path(path), indexed_dataset.data_file_path(path)
        if os.path.isfile(index) and os.path.isfile(content) and not _is_complete(index, content):
            raise LayerdropError(f"{content} or its index is damaged or cut short: copy both again, or binarise again")
        return original(path, *args, **kwargs)


def _is_complete(index: str, content: str) -> bool:
    """Whether the file *content* has all the rows that *index* says; True for formats that are not known here."""
    import numpy
    from fairseq.data.indexed_dataset import _code_to_dtype

    with open(index, "rb") as file:
        header = file.read(_HEADER.size)
    if not header.startswith(_MAGIC):
        return len(header) == _HEADER.size
    if len(header) < _HEADER.size:
        return False
    _, _, code, rows = _HEADER.unpack(header)
    if code not in _code_to_dtype or os.path.getsize(index) != _HEADER.size + 12 * rows:
        return False
    lengths = numpy.fromfile(index, numpy.int32, rows, offset=_HEADER.size).astype(numpy.int64)
    offsets = numpy.fromfile(index, numpy.int64, rows, offset=_HEADER.size + 4 * rows)
    ends = offsets + lengths * numpy.dtype(_code_to_dtype[code]).itemsize
    return not rows or (min(lengths.min(), offsets.min()) >= 0 and ends.max() <= os.path.getsize(content))


def patch_whole_words() -> None:
    """Let ``MaskedLMTask.load_dataset`` find the run's ``--bpe``, which ``--mask-whole-words`` needs.

    fairseq reads it from ``self.args``, which tasks with a configuration do not have. Can be removed when fairseq reads
    it from the configuration.
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
    """Make ``DiverseBeamSearch`` index its overlaps by the sentences' positions in the batch.

    fairseq indexes them by the sentences' indices in the data set, with which ``--diverse-beam-groups`` fails. Can be
    removed when fairseq uses positions.
    """
    import torch
    from fairseq.search import DiverseBeamSearch

    @replaces(DiverseBeamSearch, "step")
    def step(original, self, step, lprobs, scores, prev_output_tokens=None, original_batch_idxs=None):
        places = torch.arange(len(lprobs), device=lprobs.device)
        return original(self, step, lprobs, scores, prev_output_tokens, places)

    @replaces(DiverseBeamSearch, "prune_sentences")
    def prune_sentences(original, self, batch_idxs):
        self.group_overlap = self.group_overlap[batch_idxs]  # keep those of unfinished sentences


def patch_attention_in_search() -> None:
    """Make searches return attention weights if their caller needs them for alignments.

    fairseq's hub interfaces tell models to omit the weights, and read them nevertheless. Can be removed when they no
    longer do.
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
    """Make alignments hard if ``--print-alignment`` is neither ``hard`` nor ``soft``, as fairseq's ``--help`` says.

    fairseq raises an AttributeError in ``SequenceGeneratorWithAlignment``. Can be removed when fairseq has a default.
    """
    from fairseq.sequence_generator import SequenceGeneratorWithAlignment
    from fairseq.utils import extract_hard_alignment

    SequenceGeneratorWithAlignment.extract_alignment = staticmethod(extract_hard_alignment)
