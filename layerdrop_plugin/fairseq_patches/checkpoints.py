"""Changes to the loading of checkpoints in fairseq and PyTorch, and to the building of their models."""

import contextlib
import copy
import logging
import os
from argparse import Namespace
from collections.abc import Iterator

from ..errors import LayerdropError, first_line
from .replace import replaces

logger = logging.getLogger(__name__)
WORKERS = "workers"  # key in a checkpoint's ``train_iterator``: number of workers of the run that wrote it


def patch_safe_classes() -> None:
    """Add the classes in fairseq's checkpoints to those that ``torch.load(weights_only=True)`` accepts.

    They are listed in :func:`layerdrop_plugin.checkpoint.safe_classes`. Can be removed when fairseq does so itself.
    """
    import fairseq  # noqa: F401 (raises an error before torch is imported if it is not installed)
    import torch

    from ..checkpoint import safe_classes

    torch.serialization.add_safe_globals(safe_classes())


def patch_checkpoint_loading() -> None:
    """Make ``load_checkpoint_to_cpu`` execute no code in a file, raise one-line errors and note the number of workers.

    Files that a configuration names are not read (``encoder_embed_path``). While it runs, the environment variable
    TORCH_FORCE_WEIGHTS_ONLY_LOAD is set, which overrides ``weights_only=False`` of newer fairseq. Can be removed when
    fairseq loads with ``weights_only=True``, and :func:`patch_iterator_position` is removed.
    """
    from fairseq import checkpoint_utils

    from ..checkpoint import loading_errors
    from ..pruning.option_values import check_state

    checkpoint_utils.torch = _Torch(checkpoint_utils.torch)

    @replaces(checkpoint_utils, "load_checkpoint_to_cpu")
    def load_checkpoint_to_cpu(original, path, *args, **kwargs):
        with loading_errors(path), _weights_only():
            state = original(path, *args, **kwargs)
            check_state(state)
        _forget_embedding_files(state)
        position = (state.get("extra_state") or {}).get("train_iterator")
        if position and state.get("cfg") is not None:
            training = state["cfg"].get("distributed_training") or {}
            position[WORKERS] = training.get("distributed_world_size") or 1
        for task in _loading_for:
            _check_task(path, state, task)
        return state


class _Torch:
    """torch, except that ``load`` is :func:`layerdrop_plugin.checkpoint.load`."""

    def __init__(self, torch):
        self._torch = torch

    def __getattr__(self, name):
        return getattr(self._torch, name)

    def load(self, file, *args, **kwargs):
        """Return the contents of *file*, an open file."""
        from ..checkpoint import load

        state = load(file.name)
        if isinstance(state, dict):
            _check_registered(state.get("args"))
        return state


def _check_registered(args) -> None:
    """Raise LayerdropError if the options *args* of an old checkpoint name what its upgrade would not find."""
    from fairseq.models import ARCH_MODEL_REGISTRY
    from fairseq.tasks import TASK_REGISTRY

    for option, what, registry in (("arch", "architecture", ARCH_MODEL_REGISTRY), ("task", "task", TASK_REGISTRY)):
        name = getattr(args, option, None)
        if name is not None and name not in registry:
            raise LayerdropError(f"it names the {what} {str(name)[:60]!r}, which this fairseq does not have")


def _forget_embedding_files(state: dict) -> None:
    """Remove the paths of pre-trained embeddings, which fairseq would read only to replace them by the weights."""
    from omegaconf import OmegaConf, open_dict

    model = (state.get("cfg") or {}).get("model") or state.get("args")
    for name in ("encoder_embed_path", "decoder_embed_path"):
        if isinstance(model, Namespace) and getattr(model, name, None):
            setattr(model, name, None)
        elif OmegaConf.is_config(model) and model.get(name):
            with open_dict(model):
                model[name] = None


def _check_task(path, state, task) -> None:
    from ..checkpoint import plain
    from ..models.dictionaries import check_dictionaries

    options = plain(state["cfg"]["model"] if state.get("cfg") is not None else state.get("args"))
    try:
        check_dictionaries(Namespace(**(options or {})), task)
    except LayerdropError as error:
        raise LayerdropError(f"{path}: {error}") from None


@contextlib.contextmanager
def _weights_only() -> Iterator[None]:
    """Make every ``torch.load`` in this block use ``weights_only=True``."""
    force = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = {name: os.environ.pop(name, None) for name in (force, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")}
    os.environ[force] = "1"
    try:
        yield
    finally:
        del os.environ[force]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def patch_ensemble_loading() -> None:
    """Make ``load_model_ensemble_and_task`` name the file that does not fit the data or the other files, in one line.

    Can be removed when fairseq's messages name the file and the cause.
    """
    from fairseq import checkpoint_utils

    @replaces(checkpoint_utils, "load_model_ensemble_and_task")
    def load_model_ensemble_and_task(original, filenames, arg_overrides=None, task=None, *args, **kwargs):
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
                raise _unloadable(filename, error) from error
            except Exception as error:  # fairseq raises whatever a configuration makes it hit upon
                raise _unloadable(filename, error) from error
            ensemble.extend(loaded)
        return ensemble, cfg, task


def _unloadable(filename: str, error: Exception) -> LayerdropError:
    """The error to raise for *filename*, from which fairseq could not build a model."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[1] if len(lines) > 1 and "state_dict" in lines[0] else first_line(error)  # of its list the first
    return LayerdropError(f"cannot load {filename}: {reason[:300]} ({type(error).__name__})")


_loading_for: list = []  # tasks of the trainers that are loading a checkpoint


def patch_trainer_loading() -> None:
    """Let ``Trainer.load_checkpoint`` refuse a checkpoint that does not fit the run in one line.

    That is a checkpoint of another dictionary than the data's, as ``build_model`` does not check what training begins
    with (``--finetune-from-model``, ``--restore-file``), and one whose weights or progress cannot be used. Can be
    removed when :func:`patch_dictionary_check` is and fairseq reports such files itself.
    """
    from fairseq.trainer import Trainer

    @replaces(Trainer, "load_checkpoint")
    def load_checkpoint(original, self, filename, *args, **kwargs):
        _loading_for.append(self.task)
        try:
            return original(self, filename, *args, **kwargs)
        except (LayerdropError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise _unloadable(filename, error) from error
        finally:
            _loading_for.pop()


def patch_child_classes() -> None:
    """Make ``build_model`` use this plugin's classes for children, whose checkpoints name fairseq's model.

    Children are recognised by the option ``dictionary_sha256``. Weights and outputs are the same, and inference is as
    fast as the parents'. Can be removed when fairseq's beam search keeps one copy of each sentence's encoder output and
    its layers pack their weights.
    """
    from fairseq import models

    from ..models.options import changeable
    from ..pruning.families import model_named

    @replaces(models, "build_model")
    def build_model(original, cfg, task, from_checkpoint=False):
        child = from_checkpoint and getattr(cfg, "dictionary_sha256", None)
        ours = f"layerdrop_{model_named(str(cfg._name))}" if child else None
        if ours in models.MODEL_REGISTRY:
            cfg = copy.copy(cfg)  # the caller's configuration is not changed
            with changeable(cfg):
                cfg._name = cfg.arch = ours
        return original(cfg, task, from_checkpoint)


def patch_namespace_models() -> None:
    """Let ``build_model`` build models that find their options in a ``Namespace`` only, if it gets a ``DictConfig``.

    BART does: of a ``DictConfig`` it loses the options that the Transformer does not have. Can be removed when
    ``TransformerConfig.from_namespace`` copies them.
    """
    from fairseq import models
    from omegaconf import OmegaConf

    from ..pruning.families import FAMILIES

    @replaces(models, "build_model")
    def build_model(original, cfg, task, *args, **kwargs):
        family = FAMILIES.get(models.ARCH_MODEL_NAME_REGISTRY.get(getattr(cfg, "_name", None)))
        if family and family.as_namespace and OmegaConf.is_config(cfg):
            cfg = Namespace(**OmegaConf.to_container(cfg, resolve=True))
        return original(cfg, task, *args, **kwargs)


def patch_dictionary_check() -> None:
    """Make ``build_model`` raise an error if the data has another dictionary than the model was trained with.

    Children whose checkpoints name fairseq's model are included. Can be removed when fairseq's checkpoints contain
    their dictionaries.
    """
    from fairseq import models

    @replaces(models, "build_model")
    def build_model(original, cfg, task, *args, **kwargs):
        from ..models.dictionaries import check_dictionaries

        check_dictionaries(cfg, task)
        return original(cfg, task, *args, **kwargs)


def patch_iterator_position() -> None:
    """Let a run resume at its position in the data with another number of workers, or raise an error if it cannot.

    fairseq stores the number of batches of each worker, so ``EpochBatchIterator.load_state_dict`` would repeat or leave
    out some data. Can be removed when fairseq stores the number of batches of all workers.
    """
    from fairseq.data.iterators import EpochBatchIterator

    @replaces(EpochBatchIterator, "load_state_dict")
    def load_state_dict(original, self, state_dict):
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
