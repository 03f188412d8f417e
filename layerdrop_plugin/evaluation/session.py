"""A checkpoint loaded with this plugin's model classes, together with a data folder to evaluate it on."""

import contextlib
import functools
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..data_folder import Split, find_split, folders
from ..errors import LayerdropError, first_line
from ..model_loading import load_model
from ..modules.inference import optimize_for_inference
from ..modules.onednn_linear import check_dtype
from ..provenance import made_with, quiet
from ..pruning.parent import Parent
from .batches import Batches
from .gateable import TASKS, loadable, model_kind, with_plugin_classes
from .shards import load_dataset

if TYPE_CHECKING:
    from fairseq.data import FairseqDataset

ANSWERS = ("classification", "regression")  # kinds of models with one output for each example
BATCH_SIZE = 32
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """A checkpoint and a data folder, made by :func:`load`.

    Attributes:
        path: path of the checkpoint.
        data: path of the data folder, or of several folders joined with colons.
        model: the model in this plugin's classes, in evaluation mode and single precision.
        task: the checkpoint's fairseq task, set to the data folder.
        cfg: the checkpoint's configuration, plain dicts and lists.
        kind: ``classification``, ``regression``, ``masked_lm``, ``translation`` or ``language_modeling``.
        sha256: SHA-256 of the checkpoint's file; None for a child that has not been saved.
        fingerprint: hash of the weights of the model's layers, see :class:`~layerdrop_plugin.pruning.parent.Parent`.
        batch_size, max_tokens: maximum number of examples and of tokens (padding included) in a batch.
        seed: seed of the draw of examples and of the masks of masked language models.
        dtype: precision of the products after :meth:`optimize`.
    """

    path: str
    data: str
    model: torch.nn.Module = field(repr=False)
    task: object = field(repr=False)
    cfg: dict = field(repr=False)
    kind: str
    sha256: str | None
    fingerprint: str
    batch_size: int | None = BATCH_SIZE
    max_tokens: int | None = None
    seed: int = 1
    dtype: torch.dtype = torch.float32

    def with_child(self, child: Parent) -> "Session":
        """This session with a *child* of the checkpoint that has not been saved, for the same data.

        Args:
            child: the child; its dictionaries must be its parent's.

        Raises:
            LayerdropError: it cannot be loaded.
        """
        cfg = with_plugin_classes(child, self.data, self.seed)
        model, _ = load_model(self.path, self.data, state=loadable(child.state, cfg), task=self.task)
        model = model.float().eval().to(self.device)
        return replace(self, model=model, cfg=cfg, sha256=None, fingerprint=child.fingerprint)

    def optimize(self) -> None:
        """Prepare the model for answers without gradients, see :func:`optimize_for_inference`.

        To be called before each pass: where gradients were asked for meanwhile, weights have been unpacked.
        """
        optimize_for_inference(self.model, self.dtype)

    @property
    def device(self) -> torch.device:
        """Device of the model and of the batches."""
        return next(self.model.parameters()).device

    @property
    def per_token(self) -> bool:
        """Whether losses are reported per target token rather than per example."""
        return self.kind not in ANSWERS

    @property
    def train_subset(self) -> str:
        """Name of the subset that the model was trained on, which fairseq may read from several files and folders."""
        sources = (self.task.cfg or {}), (self.cfg.get("dataset") or {})  # the translation task has such an option, too
        return next((subset for options in sources if (subset := options.get("train_subset"))), "train")

    def split(self, subset: str) -> Split:
        """The files of *subset*; for translation, with the languages in the task's direction.

        Raises:
            LayerdropError: the data folder has no such subset, or one for another kind of model.
        """
        cfg = self.task.cfg
        languages = (cfg.source_lang, cfg.target_lang) if self.kind == "translation" else None
        split = find_split(self.data, subset, languages, training=subset == self.train_subset)
        wanted = TASKS[self.cfg["task"]["_name"]][1]
        if split.kind != wanted:
            raise LayerdropError(f"{self.path} needs data for {wanted}: {self.data} holds data for {split.kind}")
        return split

    def dataset(self, subset: str) -> "FairseqDataset":
        """fairseq's dataset of *subset*, which is loaded at the first call.

        The training subset includes all files and folders that fairseq-train reads.

        Raises:
            LayerdropError: as :meth:`split`, or the subset cannot be read or is empty.
        """
        split = self.split(subset)
        if subset not in self.task.datasets:
            split.sizes()  # raises LayerdropError if it is empty or broken
            self._warn_of_ignored_folders(split)
            try:
                with quiet():
                    self.task.datasets[subset] = load_dataset(self.task, split)
            except Exception as error:  # a foreign or truncated file fails in many ways
                self.task.datasets.pop(subset, None)
                reason = first_line(error)
                raise LayerdropError(f"cannot read the split '{subset}' of {self.data}: {reason}") from error
            self._warn_of_long_examples(subset)
        dataset = self.task.dataset(subset)
        if len(dataset) == 0:
            raise LayerdropError(f"the split '{subset}' in {self.data} has no examples")
        dataset.set_epoch(1)
        return dataset

    def limits(self) -> int | tuple[int, int]:
        """Maximum number of tokens of an example, as in fairseq-train; (source, target) for translation."""
        from fairseq import utils

        return utils.resolve_max_positions(self.task.max_positions(), self.model.max_positions(), self.max_tokens)

    def fitting(self, subset: str) -> np.ndarray:
        """Indices of the examples of *subset* within :meth:`limits`, ascending.

        Raises:
            LayerdropError: as :meth:`dataset`, or all are too long.
        """
        dataset = self.dataset(subset)
        fitting, _ = dataset.filter_indices_by_size(np.arange(len(dataset)), self.limits())
        if len(fitting) == 0:
            raise LayerdropError(
                f"all {len(dataset)} examples of '{subset}' in {self.data} are too long: at most {self.limits()} tokens"
                " can be read (by the model, and with --max-tokens)"
            )
        return fitting

    def left_out(self, subset: str) -> int:
        """Number of examples of *subset* that are too long.

        Raises:
            LayerdropError: as :meth:`fitting`.
        """
        return len(self.dataset(subset)) - len(self.fitting(subset))

    def examples(self, subset: str, max_examples: int | None = None) -> np.ndarray:
        """The indices of :meth:`fitting`, or *max_examples* of them chosen with the seed.

        Raises:
            LayerdropError: as :meth:`fitting`, or *max_examples* is not positive.
        """
        if max_examples is not None and max_examples < 1:
            raise LayerdropError(f"at most {max_examples} examples are none: ask for at least 1")
        return self.draw(self.fitting(subset), max_examples)

    def draw(self, numbers: np.ndarray, most: int | None) -> np.ndarray:
        """At most *most* of *numbers* (examples,), drawn with the seed; returned in ascending order.

        Args:
            numbers: indices of examples, ascending.
            most: maximum number of examples; None is all.
        """
        if most is None or most >= len(numbers):
            return numbers
        return np.sort(np.random.default_rng(self.seed).choice(numbers, size=most, replace=False))

    def batches(self, subset: str, max_examples: int | None = None) -> Batches:
        """Batches of :meth:`examples` on the model's device, shortest examples first.

        Raises:
            LayerdropError: as :meth:`examples`; or during iteration, an example has no label or one that is not among
                the model's classes.
        """
        return self.batches_of(subset, self.examples(subset, max_examples))

    def batches_of(self, subset: str, examples: np.ndarray) -> Batches:
        """As :meth:`batches`, for the examples with the ascending indices *examples* (examples,)."""
        dataset = self.dataset(subset)
        with quiet():
            batches = Batches(
                dataset,
                examples,
                max_sentences=self.batch_size,
                max_tokens=self.max_tokens,
                device=self.device,
                check=functools.partial(self._check_labels, subset),
                left_out=self.left_out(subset),
            )
        next(iter(batches))  # raise errors that concern all batches now
        return batches

    def signature(self, subset: str, command: str | None = None) -> dict:
        """Provenance of a measurement on *subset*: checkpoint, data, seed, device, versions of the software.

        Args:
            subset: name of the split.
            command: the command line.

        Raises:
            LayerdropError: as :meth:`split`.
        """
        return {
            "checkpoint": {"path": str(self.path), "sha256": self.sha256, "model": self.fingerprint},
            "data_sha256": self.split(subset).sha256(),
            "split": subset,
            "seed": self.seed,
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            **({} if self.dtype == torch.float32 else {"inference_dtype": str(self.dtype)}),
            **made_with(command),
        }

    def _warn_of_ignored_folders(self, split: Split) -> None:
        others = [str(folder) for folder in folders(self.data) if folder not in split.roots]
        others = [folder for folder in others if _has(folder, split)]
        if others:
            left_out = ", ".join(others)
            logger.warning(f"fairseq reads '{split.name}' of {split.root} only: left out is that of {left_out}")

    def _warn_of_long_examples(self, subset: str) -> None:
        if left_out := self.left_out(subset):
            logger.warning(
                f"{left_out} of {len(self.dataset(subset))} examples of '{subset}' in {self.data} are too long and left"
                f" out: at most {self.limits()} tokens can be read"
            )

    def _check_labels(self, subset: str, sample: dict) -> None:
        if self.kind not in ANSWERS:
            return
        if "target" not in sample:
            raise LayerdropError(f"the split '{subset}' in {self.data} has no labels")
        classes, labels = self.cfg["task"]["num_classes"], sample["target"]
        if self.kind == "classification" and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise LayerdropError(f"the data in {self.data} has other labels than the model's {classes} classes")


def load(
    path: str | Path | Parent,
    data: str | Path,
    *,
    batch_size: int | None = BATCH_SIZE,
    max_tokens: int | None = None,
    seed: int = 1,
    cpu: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Session:
    """Load a checkpoint and its task.

    Args:
        path: path of the checkpoint, of fairseq's or this plugin's architecture; or what was read from it.
        data: path of the data folder, or of several folders joined with colons.
        batch_size, max_tokens: maximum number of examples and of tokens (padding included) in a batch.
        seed: seed of the draw of examples and of the masks of masked language models.
        cpu: use the CPU even if there is a GPU.
        dtype: precision of the products of answers without gradients, float32 or bfloat16.

    Raises:
        LayerdropError: the checkpoint or the data cannot be read or do not fit together, or the architecture or the
            task is not supported.
    """
    for folder in folders(data):
        if not folder.is_dir():
            raise LayerdropError(f"the data folder {folder} does not exist: check the path")
    parent = path if isinstance(path, Parent) else Parent.load(path)
    path = parent.path
    cfg = with_plugin_classes(parent, data, seed)
    kind = model_kind(cfg, parent.state["model"], path)
    model, task = load_model(path, data, state=loadable(parent.state, cfg))
    check_dtype(dtype)
    device = torch.device("cpu" if cpu or not torch.cuda.is_available() else "cuda")
    return Session(
        path=str(path),
        data=str(data),
        model=model.float().eval().to(device),
        task=task,
        cfg=cfg,
        kind=kind,
        sha256=parent.sha256,
        fingerprint=parent.fingerprint,
        batch_size=batch_size,
        max_tokens=max_tokens,
        seed=seed,
        dtype=dtype,
    )


def _has(folder: str, split: Split) -> bool:
    with contextlib.suppress(LayerdropError):
        return bool(find_split(folder, split.name, split.languages))
    return False
