"""The teacher: a model from a file of its own, in evaluation mode, that is no part of what is trained or saved."""

import logging
import os

import torch
from fairseq import models
from fairseq.data import Dictionary
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor, nn

from .. import checkpoint
from ..base_criterion import first_checkpoint, options_of
from ..errors import LayerdropError
from ..models.dictionaries import FINGERPRINTS, check_vocabulary
from ..pruning import surgery
from ..pruning.parent import Parent
from ..pruning.plan import Plan
from .hidden_states import Call, counterparts, recorded

KINDS = ("sentence_prediction", "masked_lm", "translation", "language_modeling")  # tasks, as fairseq calls them
logger = logging.getLogger(__name__)


class Teacher:
    """A model that a child learns from. It is no ``nn.Module``, or a criterion that holds it would train and save it.

    Args:
        model: as its file has it, on the CPU.
        counterparts: as :func:`counterparts` gives them; None if hidden states are not compared.
        rows: side -> the teacher's rows of the embeddings that the child's are; without a side where they are the same.
        path: its file, for messages.
    """

    def __init__(
        self, model: nn.Module, counterparts: dict[str, tuple[int, ...]] | None, rows: dict[str, Tensor], path: str
    ):
        self.model = model.eval().requires_grad_(False)
        self.counterparts, self.path = counterparts, path
        self.rows = {"src_tokens": rows.get("source"), "prev_output_tokens": rows.get("target", rows.get("source"))}

    @torch.no_grad()
    def answer(self, call: Call, child: nn.Module) -> Call:
        """The teacher's forward with the inputs of a *call* of the *child*, on its device and in its precision.

        Raises:
            LayerdropError: the inputs are longer than the teacher can read.
        """
        weight = next(child.parameters())
        mine = next(self.model.parameters())
        if (mine.device, mine.dtype) != (weight.device, weight.dtype):
            self.model.to(device=weight.device, dtype=weight.dtype)
            self.rows = {name: rows if rows is None else rows.to(weight.device) for name, rows in self.rows.items()}
        self._check_length(call.inputs["src_tokens"].size(1))
        mapped = {name: rows for name, rows in self.rows.items() if rows is not None and name in call.inputs}
        inputs = call.inputs | {name: rows[call.inputs[name]] for name, rows in mapped.items()}
        with recorded(self.model, self.counterparts is not None) as calls:
            self.model(**inputs)
        return calls[0]

    def of_kept(self, scores: Tensor) -> Tensor:
        """The *scores* (..., symbols) of the symbols that the child has, too."""
        rows = self.rows["prev_output_tokens"]
        return scores if rows is None else scores.index_select(-1, rows)

    def _check_length(self, length: int) -> None:
        longest = self.model.max_positions()
        longest = longest[0] if isinstance(longest, tuple) else longest
        if longest is not None and length > longest:
            raise LayerdropError(
                f"the teacher {self.path} reads at most {longest} tokens, and an example has {length}: leave out longer"
                " examples, or name another teacher"
            )


def load_teacher(path: str, task: FairseqTask, root: DictConfig, head: str, with_hidden: bool) -> Teacher:
    """Load the teacher *path* for a run of *task*.

    Args:
        root: the run's configuration.
        head: name of the classification head.
        with_hidden: hidden states are compared, too.

    Raises:
        LayerdropError: the file cannot be read, or is a teacher of another task, dictionary, number of classes, width
            or, where that matters, of other layers than the child's.
    """
    parent = Parent.load(path)
    _check_task(parent, task, head)
    sizes = {side: len(dictionary) for side, dictionary in _dictionaries(parent, task).items()}
    pruned = any(parent.vocabulary_size(side) != size for side, size in sizes.items())
    origin = _provenance(root, task) if with_hidden or pruned else {}
    found = plan_of_child(parent, origin, sizes)
    rows = {} if found is None or found.vocabulary is None else dict(found.vocabulary.items())
    if not rows:
        check_vocabulary(parent, task, f"the teacher {path}")
    states = counterparts_of(parent, found, root) if with_hidden else None
    return Teacher(_build(parent, task, rows), states, {side: torch.tensor(of) for side, of in rows.items()}, path)


def _dictionaries(parent: Parent, task) -> dict[str, Dictionary]:
    """Side -> dictionary of *task*; one vocabulary is the source's."""
    sides = {"source": task.source_dictionary, "target": task.target_dictionary}
    return {"source": sides["source"]} if parent.family.one_vocabulary else sides


def _check_task(parent: Parent, task, head: str) -> None:
    of_teacher, of_run = parent.cfg.get("task") or {}, options_of(task)
    theirs, mine = (str(options.get("_name")).removeprefix("pruning_") for options in (of_teacher, of_run))
    if mine not in KINDS:
        raise LayerdropError(f"--task {mine} cannot be distilled: it must be one of {', '.join(KINDS)}")
    if theirs != mine:
        raise LayerdropError(
            f"the teacher {parent.path} was trained for the task {theirs}, not for {mine}: name another"
        )
    if mine != "sentence_prediction":
        return
    weight = parent.weights.get(f"classification_heads.{head}.out_proj.weight")
    if weight is None:
        raise LayerdropError(f"the teacher {parent.path} has no classification head {head!r}: fine-tune it first")
    if len(weight) != of_run.num_classes:
        raise LayerdropError(
            f"the teacher {parent.path} has {len(weight)} classes, and the run {of_run.num_classes}: name another"
        )
    if bool(of_teacher.get("regression_target")) != bool(of_run.regression_target):
        has, wants = ("numbers", "classes") if of_teacher.get("regression_target") else ("classes", "numbers")
        raise LayerdropError(f"the teacher {parent.path} predicts {has}, and the run {wants}: name another")


def counterparts_of(parent: Parent, plan: Plan | None, root: DictConfig) -> dict[str, tuple[int, ...]]:
    """Which hidden states of the teacher *parent* those of a run's model are held against, see :func:`counterparts`.

    Args:
        plan: what the run's model keeps of the parent, None if that is not known.
        root: the run's configuration.

    Raises:
        LayerdropError: the run's model has another width, or does not say which layers of such a parent it keeps.
    """
    options = checkpoint.plain(root.model)
    for stack, of in parent.shape.items():
        width = options.get(f"{stack}_embed_dim")
        if width != of.embed_dim:
            raise LayerdropError(
                f"the {stack} of the teacher {parent.path} is {of.embed_dim} wide, and the model's {width}: hidden"
                " states of different widths cannot be compared, leave out --distill-hidden"
            )
    layers = {stack: of.layers for stack, of in parent.shape.items()}
    found = None if plan is None else counterparts(plan, layers)
    if found is None and all(options.get(f"{stack}_layers") == number for stack, number in layers.items()):
        found = counterparts(Plan(), layers)
    if found is None or any(options.get(f"{stack}_layers") != len(states) - 1 for stack, states in found.items()):
        raise LayerdropError(
            f"the model does not say which layers of the teacher {parent.path} it keeps: name the parent that it was"
            " pruned from (or one fine-tuned from that), or leave out --distill-hidden"
        )
    return found


def plan_of_child(parent: Parent, origin: dict, sizes: dict[str, int]) -> Plan | None:
    """What a child with the provenance *origin* keeps of *parent*, None if that is not among its ancestors.

    The parent is known by its file, or else, as it may have been trained further, by its shape and vocabulary.

    Args:
        sizes: side -> rows of the child's embeddings.
    """
    ancestors = origin.get("ancestors") or []
    alike = []
    for number in range(len(ancestors) - 1, -1, -1):
        plan = surgery.whole_plan({"ancestors": ancestors[number:]})
        if ancestors[number].get("sha256") == parent.sha256:
            return plan
        if surgery.shape_before({"ancestors": ancestors[: number + 1]}) == parent.shape:
            alike += [plan] if _same_vocabulary(parent, ancestors[number:], sizes) else []
    return alike[0] if alike else None


def _same_vocabulary(parent: Parent, ancestors: list[dict], sizes: dict[str, int]) -> bool:
    """Whether the first of *ancestors* had the embeddings and dictionaries of *parent*, as far as they say."""
    said = next((ancestor for ancestor in ancestors if "vocabulary" in ancestor), {})
    before = sizes | said.get("vocabulary", {})
    if any(parent.vocabulary_size(side) != size for side, size in before.items()):
        return False
    return all(parent.options.get(name) in (None, value) for name, value in said.get("dictionaries", {}).items())


def _provenance(root, task) -> dict:
    """Where the run's model comes from: a pruning task has noted it, else the checkpoint that the run starts from says.

    It is noted for the run's own checkpoints, which fairseq's tasks would leave without it: a resumed run asks again.
    """
    noted = root.get(checkpoint.PROVENANCE)
    path = None if noted else first_checkpoint(root, options_of(task))
    if path is not None:
        noted = checkpoint.read(path)["cfg"].get(checkpoint.PROVENANCE) or {}
        with open_dict(root):
            root[checkpoint.PROVENANCE] = noted
    return checkpoint.plain(noted or {})


class _OtherDictionaries:
    """A task with other dictionaries, for building a model."""

    def __init__(self, task, dictionaries: dict[str, Dictionary]):
        self._task, self._dictionaries = task, {f"{side}_dictionary": of for side, of in dictionaries.items()}

    def __getattr__(self, name):
        return self._dictionaries[name] if name in self._dictionaries else getattr(self._task, name)


def _placeholders(size: int) -> Dictionary:
    """A dictionary of *size* symbols; a model asks for their number, and for the special ones."""
    dictionary = Dictionary()
    for number in range(size - len(dictionary)):
        dictionary.add_symbol(f"madeupword{number:04d}")
    return dictionary


def _build(parent: Parent, task, rows: dict[str, tuple[int, ...]]) -> nn.Module:
    cfg = OmegaConf.create(parent.cfg, flags={"allow_objects": True})
    cfg.model.load_checkpoint_heads = True
    if rows:
        cfg.model.update(dict.fromkeys(FINGERPRINTS))  # they are not those of the run's data
        whole = {side: _placeholders(parent.vocabulary_size(side)) for side in ("source", "target")}
        task = _OtherDictionaries(task, whole)
    model = models.build_model(cfg.model, task, from_checkpoint=True)
    model.load_state_dict(parent.state["model"], strict=True, model_cfg=cfg.model)
    logger.info(f"teacher: {os.fspath(parent.path)}, {sum(weight.numel() for weight in model.parameters())} parameters")
    return model
