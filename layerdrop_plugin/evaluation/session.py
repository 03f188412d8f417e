"""A checkpoint on our classes, its task on a data folder, and that folder's examples in batches: none is left out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from .. import checkpoint
from ..data_folder import CLASSIFICATION, LANGUAGE_MODEL, TRANSLATION, Split, find_split
from ..errors import LayerdropError
from ..provenance import made_with, quiet
from ..pruning.families import family_of
from ..pruning.parent import current_weights
from ..pruning.scores import fingerprint

# fairseq's task -> what it does, and the kind of data folder that it reads.
TASKS = {
    "sentence_prediction": ("classification", CLASSIFICATION),
    "masked_lm": ("masked_lm", LANGUAGE_MODEL),
    "translation": ("translation", TRANSLATION),
    "language_modeling": ("language_modeling", LANGUAGE_MODEL),
}
ANSWERS = ("classification", "regression")  # kinds of models that give one answer for an example
BATCH_SIZE = 32


@dataclass(frozen=True)
class Session:
    """What :func:`load` gives.

    Attributes:
        path, data: the checkpoint's file and the data folder.
        model: the model, of our classes, in eval mode and single precision.
        task: fairseq's task of the checkpoint, on the data folder.
        cfg: the checkpoint's configuration, plain dicts and lists.
        kind: ``classification``, ``regression``, ``masked_lm``, ``translation`` or ``language_modeling``.
        sha256: of the checkpoint's file.
        fingerprint: of the weights of the model's layers.
        batch_size, max_tokens: most examples and most tokens (padding included) of a batch.
        seed: of samples of examples and of the masks of masked LM.
    """

    path: str
    data: str
    model: torch.nn.Module = field(repr=False)
    task: object = field(repr=False)
    cfg: dict = field(repr=False)
    kind: str
    sha256: str
    fingerprint: str
    batch_size: int | None = BATCH_SIZE
    max_tokens: int | None = None
    seed: int = 1

    @property
    def device(self) -> torch.device:
        """Where the model is, and where :meth:`batches` puts the examples."""
        return next(self.model.parameters()).device

    @property
    def per_token(self) -> bool:
        """Whether losses are compared per target token, rather than per example."""
        return self.kind not in ANSWERS

    def split(self, subset: str) -> Split:
        """The files of *subset*.

        Raises:
            LayerdropError: the data folder has no such subset, or one for another kind of model.
        """
        found = find_split(self.data, subset)
        wanted = TASKS[self.cfg["task"]["_name"]][1]
        if found.kind != wanted:
            raise LayerdropError(f"{self.path} needs data for {wanted}: {self.data} holds data for {found.kind}")
        return found

    def dataset(self, subset: str):
        """fairseq's dataset of *subset*, loaded once.

        Raises:
            LayerdropError: as :meth:`split`, or it cannot be read or is empty.
        """
        split = self.split(subset)
        if subset not in self.task.datasets:
            split.sizes()  # says so if it is empty or broken
            try:
                with quiet():
                    self.task.load_dataset(subset)
            except Exception as error:  # a foreign or truncated file fails in many ways
                raise LayerdropError(f"cannot read the split '{subset}' of {self.data}: {_line(error)}") from error
        dataset = self.task.dataset(subset)
        if len(dataset) == 0:
            raise LayerdropError(f"the split '{subset}' in {self.data} has no examples")
        dataset.set_epoch(1)
        return dataset

    def examples(self, subset: str, max_examples: int | None = None) -> np.ndarray:
        """Numbers of all examples of *subset*, ascending, or of *max_examples* of them drawn with the seed.

        Raises:
            LayerdropError: as :meth:`dataset`, or *max_examples* is not positive.
        """
        count = len(self.dataset(subset))
        if max_examples is not None and max_examples < 1:
            raise LayerdropError(f"at most {max_examples} examples are none: ask for at least 1")
        if max_examples is None or max_examples >= count:
            return np.arange(count)
        return np.sort(np.random.default_rng(self.seed).choice(count, size=max_examples, replace=False))

    def batches(self, subset: str, max_examples: int | None = None) -> list[dict]:
        """The examples of *subset* as fairseq collates them, on the model's device, shortest first.

        ``sample["id"]`` has the numbers of the examples; what they are is in :meth:`examples`.

        Raises:
            LayerdropError: as :meth:`examples`, or an example is too long for the model, or has no label, or one that
                the model does not know.
        """
        from fairseq import utils

        dataset, chosen = self.dataset(subset), self.examples(subset, max_examples)
        self._refuse_too_long(dataset, chosen, subset)
        sizes = np.array([dataset.num_tokens(index) for index in chosen])
        with quiet():
            numbers = dataset.batch_by_size(
                chosen[np.argsort(sizes, kind="stable")],
                max_tokens=self.max_tokens,
                max_sentences=self.batch_size,
                required_batch_size_multiple=1,
            )
            samples = [dataset.collater([dataset[index] for index in batch]) for batch in numbers]
        if self.kind in ANSWERS:
            self._check_labels(samples, subset)
        return [utils.move_to_cuda(sample, self.device) if self.device.type == "cuda" else sample for sample in samples]

    def signature(self, subset: str, command: str | None = None) -> dict:
        """What a number was measured with, for reports: model, data, software, seed."""
        return {
            "checkpoint": {"path": str(self.path), "sha256": self.sha256, "model": self.fingerprint},
            "data_sha256": self.split(subset).sha256(),
            "split": subset,
            "seed": self.seed,
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            **made_with(command),
        }

    def _refuse_too_long(self, dataset, chosen: Sequence[int], subset: str) -> None:
        from fairseq import utils

        longest = utils.resolve_max_positions(self.task.max_positions(), self.model.max_positions())
        with quiet():
            fitting = self.task.filter_indices_by_size(np.array(chosen), dataset, longest, ignore_invalid_inputs=True)
        too_long = sorted(set(map(int, chosen)) - set(map(int, fitting)))
        if too_long:
            raise LayerdropError(
                f"{len(too_long)} examples of '{subset}' in {self.data} are longer than the model can read ({longest}"
                f" tokens), example {too_long[0]} is the first: leave them out when binarising the data"
            )

    def _check_labels(self, samples: list[dict], subset: str) -> None:
        if "target" not in samples[0]:
            raise LayerdropError(f"the split '{subset}' in {self.data} has no labels")
        classes = self.cfg["task"]["num_classes"]
        found = {int(label) for sample in samples for label in sample["target"].view(-1)}
        if self.kind == "classification" and not found <= set(range(classes)):
            raise LayerdropError(f"the data in {self.data} has other labels than the model's {classes} classes")


def load(
    path,
    data,
    *,
    batch_size: int | None = BATCH_SIZE,
    max_tokens: int | None = None,
    seed: int = 1,
    cpu: bool = False,
) -> Session:
    """Load the checkpoint *path* on our classes, whatever it calls itself, with its task on the folder *data*.

    Args:
        cpu: use the CPU even where there is a GPU.

    Raises:
        LayerdropError: the checkpoint or the data cannot be read or do not go together, or the checkpoint is of a model
            or a task that is not ours.
    """
    from fairseq import checkpoint_utils
    from omegaconf import OmegaConf

    if not Path(data).is_dir():
        raise LayerdropError(f"the data folder {data} does not exist: check the path")
    state = checkpoint.read(path)
    cfg = _on_our_classes(state["cfg"], path, data, seed)
    kind = _kind(cfg, state["model"], path)
    ours = state | {"args": None, "cfg": OmegaConf.create(cfg, flags={"allow_objects": True})}
    try:
        with quiet():
            (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(path)], state=ours)
    except LayerdropError:
        raise
    except Exception as error:  # fairseq raises whatever its parts raise: a wrong dictionary, a missing file, ...
        raise LayerdropError(f"cannot load {path} with the data in {data}: {_line(error)}") from error
    device = torch.device("cpu" if cpu or not torch.cuda.is_available() else "cuda")
    return Session(
        path=str(path),
        data=str(data),
        model=model.float().eval().to(device),
        task=task,
        cfg=cfg,
        kind=kind,
        sha256=checkpoint.sha256(path),
        fingerprint=fingerprint(current_weights(state)),
        batch_size=batch_size,
        max_tokens=max_tokens,
        seed=seed,
    )


def _on_our_classes(cfg: dict, path, data, seed: int) -> dict:
    """A checkpoint's *cfg* that names our model of its family and the folder *data*."""
    from fairseq.models import MODEL_REGISTRY

    ours = f"layerdrop_{family_of(cfg['model']).stock}"
    if ours not in MODEL_REGISTRY:
        raise LayerdropError(f"{path} is a {family_of(cfg['model']).stock}, whose parts cannot be gated")
    name = str((cfg.get("task") or {}).get("_name")).removeprefix("pruning_")
    if name not in TASKS:
        raise LayerdropError(f"{path} was trained for the task {name!r}: it must be one of {', '.join(TASKS)}")
    task = cfg["task"] | {"_name": name, "data": str(data), "seed": seed}
    if "eval_bleu" in task:
        task["eval_bleu"] = False  # would ask for tokenizers that only its own training needs
    rates = {key: 0.0 for key in cfg["model"] if key.endswith(("layerdrop", "headdrop", "ffndrop", "sublayerdrop"))}
    return cfg | {"model": cfg["model"] | {"_name": ours, "arch": ours} | rates, "task": task}


def _kind(cfg: dict, weights: dict, path) -> str:
    kind = TASKS[cfg["task"]["_name"]][0]
    if kind != "classification":
        return kind
    head = cfg["task"].get("classification_head_name", "sentence_classification_head")
    if f"classification_heads.{head}.out_proj.weight" not in weights:  # fairseq would load it with a random one
        raise LayerdropError(f"{path} has no classification head '{head}': fine-tune it first")
    return "regression" if cfg["task"].get("regression_target") else "classification"


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
