"""What we mend in fairseq on today's Python and torch; everything else of fairseq is used as it is.

- its checkpoints load again with torch >= 2.6, by an allow-list instead of by trusting every file;
- a refused or broken checkpoint, or one of another dictionary than the data's, ends in one line;
- a run that goes on with another number of workers goes on where it was in its data;
- children, stock by name, run on our classes: the same outputs, and beam search as fast as their parents';
- ``--sample-break-mode eos``, ``--num-batch-buckets``, generating with language models, ``--mask-whole-words`` and
  ``--diverse-beam-groups`` run again;
- a search whose caller looks at attention weights has them, and any other is faster without;
- ``--user-dir`` accepts any path that reaches the files already imported.
"""

import copy
import functools
import logging
import os
import types

from .errors import LayerdropError, MissingFairseqError

# It says at every import that an optional package is missing, which concerns speech models only.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)

try:
    import fairseq  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "fairseq":
        raise
    raise MissingFairseqError(
        "fairseq is not installed: run  pip install 'layerdrop_plugin[fairseq]'  (from a checkout:"
        "  pip install -c constraints.txt '.[fairseq]')"
    ) from None

import numpy  # noqa: E402
import torch  # noqa: E402
from fairseq import checkpoint_utils, models, utils  # noqa: E402
from fairseq.data import data_utils, language_pair_dataset, token_block_dataset  # noqa: E402
from fairseq.data.iterators import EpochBatchIterator  # noqa: E402
from fairseq.hub_utils import GeneratorHubInterface  # noqa: E402
from fairseq.search import DiverseBeamSearch  # noqa: E402
from fairseq.sequence_generator import SequenceGeneratorWithAlignment  # noqa: E402
from fairseq.tasks.masked_lm import MaskedLMTask  # noqa: E402
from omegaconf import OmegaConf, open_dict  # noqa: E402

from . import checkpoint  # noqa: E402

logger = logging.getLogger(__name__)
WORKERS = "workers"  # in a checkpoint's place in its data: by how many workers it was written


class _SameFolder(list):
    """A package's ``__path__`` for which ``in`` asks for the same folder, not for the same string.

    ``fairseq.utils.import_user_module`` tests ``path in module.__path__`` to see whether ``--user-dir`` is loaded.
    """

    def __contains__(self, path):
        if any(os.path.exists(path) and os.path.samefile(path, mine) for mine in self):
            return True
        raise LayerdropError(
            f"--user-dir {path} is another copy of layerdrop_plugin than the one already imported:"
            f" use --user-dir {self[0]}"
        )


def install(package) -> None:
    """Apply all of it; *package* is the layerdrop_plugin module. Safe to call once per process."""
    package.__path__ = _SameFolder(package.__path__)
    checkpoint.allow_fairseq_classes()
    checkpoint_utils.load_checkpoint_to_cpu = _safely(checkpoint_utils.load_checkpoint_to_cpu)
    checkpoint_utils.load_model_ensemble_and_task = _one_by_one(checkpoint_utils.load_model_ensemble_and_task)
    models.build_model = _with_its_dictionaries(_on_our_classes(models.build_model))
    EpochBatchIterator.load_state_dict = _at_its_place(EpochBatchIterator.load_state_dict)
    for module in (data_utils, language_pair_dataset, token_block_dataset):
        module.np = _NumpyOfOld()
    MaskedLMTask.load_dataset = _knowing_its_bpe(MaskedLMTask.load_dataset)
    DiverseBeamSearch.step = _by_place_in_the_batch(DiverseBeamSearch.step)
    DiverseBeamSearch.prune_sentences = _prune_overlaps
    for search in (SequenceGeneratorWithAlignment, GeneratorHubInterface):
        search.generate = _with_attention(search.generate)
    # As --help says: what is neither "hard" nor "soft" is hard; without this, it is an AttributeError.
    SequenceGeneratorWithAlignment.extract_alignment = staticmethod(utils.extract_hard_alignment)


def _safely(original):
    """``load_checkpoint_to_cpu`` that executes nothing of the file and notes how many workers wrote it."""

    @functools.wraps(original)
    def load_checkpoint_to_cpu(path, *args, **kwargs):
        with checkpoint.safe_loading(path):
            state = original(path, *args, **kwargs)
        position = (state.get("extra_state") or {}).get("train_iterator")
        if position and state.get("cfg") is not None:
            training = state["cfg"].get("distributed_training") or {}
            position[WORKERS] = training.get("distributed_world_size") or 1
        return state

    return load_checkpoint_to_cpu


def _one_by_one(original):
    """``load_model_ensemble_and_task`` that says in one line which file does not go with the data or the others."""

    @functools.wraps(original)
    def load_model_ensemble_and_task(filenames, arg_overrides=None, task=None, *args, **kwargs):
        ensemble, cfg = [], None
        for filename in filenames:
            try:
                loaded, cfg, task = original([filename], arg_overrides, task, *args, **kwargs)
            except LayerdropError as error:
                raise LayerdropError(str(error) if filename in str(error) else f"{filename}: {error}") from None
            except RuntimeError as error:
                if "size mismatch" in str(error) and "embed_tokens" in str(error):
                    raise LayerdropError(
                        f"{filename} was trained with a vocabulary of another size than the data's: binarise the data"
                        " with the model's dict.txt (fairseq-preprocess --srcdict, --tgtdict)"
                    ) from None
                raise
            ensemble.extend(loaded)
        return ensemble, cfg, task

    return load_model_ensemble_and_task


def _with_its_dictionaries(original):
    """``build_model`` that refuses data of another dictionary than the model's, stock children included."""

    @functools.wraps(original)
    def build_model(cfg, task, *args, **kwargs):
        from .models.dictionaries import check_dictionaries

        check_dictionaries(cfg, task)
        return original(cfg, task, *args, **kwargs)

    return build_model


def _on_our_classes(original):
    """``build_model`` that builds a loaded child as what its parent was, known by the dictionary that it remembers."""

    @functools.wraps(original)
    def build_model(cfg, task, from_checkpoint=False):
        child = from_checkpoint and OmegaConf.is_config(cfg) and cfg.get("dictionary_sha256")
        if child and cfg.get("_name") == "transformer":
            cfg = copy.copy(cfg)  # the caller's goes on saying what is in the file
            with open_dict(cfg):
                cfg._name = cfg.arch = "layerdrop_transformer"
        return original(cfg, task, from_checkpoint)

    return build_model


def _with_attention(original):
    """``generate`` of a module around models, whose hypotheses tell the attention that they were written with."""

    @functools.wraps(original)
    def generate(self, *args, **kwargs):
        from .modules.transformer_decoder import attention_wanted

        with attention_wanted(self):
            return original(self, *args, **kwargs)

    return generate


def _at_its_place(original):
    """An iterator's ``load_state_dict`` after which a run goes on at its place, whatever the number of workers.

    fairseq counts the batches that each worker took, so with another number of workers it would repeat some data, or
    leave some out.
    """

    @functools.wraps(original)
    def load_state_dict(self, state_dict):
        before, now = state_dict.get(WORKERS, self.num_shards), self.num_shards
        if before != now:
            taken = state_dict.get("iterations_in_epoch", 0) * before
            if taken % now:
                raise LayerdropError(
                    f"{before} workers have begun this run and took {taken} batches of an epoch, which {now} cannot"
                    f" share: go on with {before} workers, or begin the epoch again with --reset-dataloader"
                )
            state_dict = state_dict | {"iterations_in_epoch": taken // now}
            logger.warning(f"{before} workers have begun this run, {now} go on: LayerDrop's draws will be other ones")
        return original(self, state_dict)

    return load_state_dict


class _NumpyOfOld:
    """numpy, with what fairseq's data sets use of numpy 1: ``np.compat.long`` and ``np.percentile(interpolation=)``.

    For ``--sample-break-mode eos``, ``--num-batch-buckets`` and generating with language models. It can go when fairseq
    says ``int`` and ``method=``.
    """

    compat = types.SimpleNamespace(long=int)

    def __getattr__(self, name):
        return getattr(numpy, name)

    @staticmethod
    def percentile(values, percents, interpolation="linear"):
        """numpy's, whose *interpolation* is called ``method`` now."""
        return numpy.percentile(values, percents, method=interpolation)


def _knowing_its_bpe(original):
    """``MaskedLMTask.load_dataset`` that finds the run's ``--bpe``, which ``--mask-whole-words`` asks for.

    It looks into ``self.args``, which the task lost when it got a configuration; it can go when fairseq no longer does.
    """

    @functools.wraps(original)
    def load_dataset(self, *args, **kwargs):
        if not hasattr(self, "args"):
            root = self.cfg._get_parent() if OmegaConf.is_config(self.cfg) else None
            self.args = None if root is None else root.get("bpe")
        return original(self, *args, **kwargs)

    return load_dataset


def _by_place_in_the_batch(original):
    """``DiverseBeamSearch.step`` that looks up a sentence's overlaps at its place in the batch, as it keeps them.

    ``--diverse-beam-groups`` fails because sentences come with their numbers in the data set. With
    :func:`_prune_overlaps` it can go when fairseq does this itself.
    """

    @functools.wraps(original)
    def step(self, step, lprobs, scores, prev_output_tokens=None, original_batch_idxs=None):
        return original(self, step, lprobs, scores, prev_output_tokens, torch.arange(len(lprobs), device=lprobs.device))

    return step


def _prune_overlaps(self, batch_idxs):
    """``DiverseBeamSearch.prune_sentences``: of the sentences *batch_idxs*, which go on, keep the overlaps."""
    self.group_overlap = self.group_overlap[batch_idxs]
