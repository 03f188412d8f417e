"""The teacher: a model from a file of its own, in evaluation mode, that is no part of what is trained or saved."""

import logging
import os

import torch
from fairseq import models
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from .. import checkpoint
from ..base_criterion import first_checkpoint, options_of
from ..errors import LayerdropError
from ..models.dictionaries import check_vocabulary
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
        path: its file, for messages.
    """

    def __init__(self, model: nn.Module, counterparts: dict[str, tuple[int, ...]] | None, path: str):
        self.model = model.eval().requires_grad_(False)
        self.counterparts, self.path = counterparts, path

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
        self._check_length(call.inputs["src_tokens"].size(1))
        with recorded(self.model, self.counterparts is not None) as calls:
            self.model(**call.inputs)
        return calls[0]

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
    check_vocabulary(parent, task, f"the teacher {path}")
    found = counterparts_of(parent, root, task) if with_hidden else None
    return Teacher(_build(parent, task), found, path)


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


def counterparts_of(parent: Parent, root: DictConfig, task: FairseqTask) -> dict[str, tuple[int, ...]]:
    """Which hidden states of the teacher *parent* those of a run's model are held against, see :func:`counterparts`.

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
    plan = plan_of_child(parent, _provenance(root, task))
    found = None if plan is None else counterparts(plan, layers)
    if found is None and all(options.get(f"{stack}_layers") == number for stack, number in layers.items()):
        found = counterparts(Plan(), layers)
    if found is None or any(options.get(f"{stack}_layers") != len(states) - 1 for stack, states in found.items()):
        raise LayerdropError(
            f"the model does not say which layers of the teacher {parent.path} it keeps: name the parent that it was"
            " pruned from (or one fine-tuned from that), or leave out --distill-hidden"
        )
    return found


def plan_of_child(parent: Parent, origin: dict) -> Plan | None:
    """What a child with the provenance *origin* keeps of *parent*, None if that is not among its ancestors.

    The parent is known by its file, or else, as it may have been trained further, by its shape.
    """
    ancestors = origin.get("ancestors") or []
    numbers = range(len(ancestors) - 1, -1, -1)
    same = [number for number in numbers if ancestors[number].get("sha256") == parent.sha256]
    alike = (n for n in numbers if surgery.shape_before({"ancestors": ancestors[: n + 1]}) == parent.shape)
    number = next(iter(same), None) if same else next(alike, None)
    return None if number is None else surgery.whole_plan({"ancestors": ancestors[number:]})


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


def _build(parent: Parent, task) -> nn.Module:
    cfg = OmegaConf.create(parent.cfg, flags={"allow_objects": True})
    cfg.model.load_checkpoint_heads = True
    model = models.build_model(cfg.model, task, from_checkpoint=True)
    model.load_state_dict(parent.state["model"], strict=True, model_cfg=cfg.model)
    logger.info(f"teacher: {os.fspath(parent.path)}, {sum(weight.numel() for weight in model.parameters())} parameters")
    return model
