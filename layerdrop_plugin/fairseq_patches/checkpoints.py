"""Changes to how fairseq and PyTorch load checkpoints and build the models in them."""

import contextlib
import copy
import logging
import os
from collections.abc import Iterator

from ..errors import LayerdropError, first_line
from .replace import replaces

logger = logging.getLogger(__name__)
WORKERS = "workers"  # in a checkpoint's place in its data: by how many workers it was written


def patch_safe_classes() -> None:
    """Add the classes in fairseq's checkpoints to those that ``torch.load(weights_only=True)`` accepts.

    They are listed in :func:`layerdrop_plugin.checkpoint.safe_classes`. It can go when fairseq does so.
    """
    import fairseq  # noqa: F401 (where it is missing, say so before torch is imported)
    import torch

    from ..checkpoint import safe_classes

    torch.serialization.add_safe_globals(safe_classes())


def patch_checkpoint_loading() -> None:
    """Let ``load_checkpoint_to_cpu`` execute nothing of a file, fail in one line, and note how many workers wrote it.

    While it runs, the environment has torch's TORCH_FORCE_WEIGHTS_ONLY_LOAD, which overrules ``weights_only=False`` of
    newer fairseq. It can go when fairseq loads with ``weights_only=True``, and with :func:`patch_iterator_position`.
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
        position = (state.get("extra_state") or {}).get("train_iterator")
        if position and state.get("cfg") is not None:
            training = state["cfg"].get("distributed_training") or {}
            position[WORKERS] = training.get("distributed_world_size") or 1
        return state


class _Torch:
    """torch, whose ``load`` is :func:`layerdrop_plugin.checkpoint.load`."""

    def __init__(self, torch):
        self._torch = torch

    def __getattr__(self, name):
        return getattr(self._torch, name)

    def load(self, file, *args, **kwargs):
        """What *file*, an open one, holds."""
        from ..checkpoint import load

        return load(file.name)


@contextlib.contextmanager
def _weights_only() -> Iterator[None]:
    """Within this block every ``torch.load`` is one with ``weights_only=True``."""
    force = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = {name: os.environ.pop(name, None) for name in (force, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")}
    os.environ[force] = "1"
    try:
        yield
    finally:
        del os.environ[force]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def patch_ensemble_loading() -> None:
    """Let ``load_model_ensemble_and_task`` say in one line which file does not go with the data or the others.

    It can go when fairseq's messages name the file and the cause.
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
    """What to say of the file *filename*, of which fairseq could not make a model."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[1] if len(lines) > 1 and "state_dict" in lines[0] else first_line(error)  # of its list the first
    return LayerdropError(f"cannot load {filename}: {reason[:300]} ({type(error).__name__})")


def patch_trainer_loading() -> None:
    """Let ``Trainer.load_checkpoint`` say in one line that a checkpoint's weights or its progress cannot be used.

    It can go when fairseq has errors of its own for files that do not go with a run.
    """
    from fairseq.trainer import Trainer

    @replaces(Trainer, "load_checkpoint")
    def load_checkpoint(original, self, filename, *args, **kwargs):
        try:
            return original(self, filename, *args, **kwargs)
        except (LayerdropError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise _unloadable(filename, error) from error


def patch_child_classes() -> None:
    """Let ``build_model`` build translation children, which have a stock name, of this plugin's classes.

    They are known by the dictionary that they remember. Same weights and outputs, and beam search as fast as their
    parents'. It can go when fairseq's beam search keeps one copy of each sentence's encoder output.
    """
    from fairseq import models
    from omegaconf import OmegaConf, open_dict

    @replaces(models, "build_model")
    def build_model(original, cfg, task, from_checkpoint=False):
        child = from_checkpoint and OmegaConf.is_config(cfg) and cfg.get("dictionary_sha256")
        if child and cfg.get("_name") == "transformer":
            cfg = copy.copy(cfg)  # the caller's goes on saying what is in the file
            with open_dict(cfg):
                cfg._name = cfg.arch = "layerdrop_transformer"
        return original(cfg, task, from_checkpoint)


def patch_dictionary_check() -> None:
    """Let ``build_model`` refuse data of another dictionary than the model's, also for children with a stock name.

    It can go when fairseq's checkpoints hold their dictionaries.
    """
    from fairseq import models

    @replaces(models, "build_model")
    def build_model(original, cfg, task, *args, **kwargs):
        from ..models.dictionaries import check_dictionaries

        check_dictionaries(cfg, task)
        return original(cfg, task, *args, **kwargs)


def patch_iterator_position() -> None:
    """Let a run go on at its place in the data with another number of workers, or refuse where that cannot be.

    fairseq counts the batches that each worker took, so ``EpochBatchIterator.load_state_dict`` would repeat some data,
    or leave some out. It can go when fairseq counts the batches of all workers.
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
