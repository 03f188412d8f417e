"""Tasks that load a parent, prune it and fine-tune the child, in one ``fairseq-train`` command."""

import logging
import os
from argparse import Namespace
from dataclasses import dataclass, field, replace
from typing import Optional  # fairseq turns these annotations into option types; it does not know "str | None"

from fairseq.tasks import register_task
from fairseq.tasks.masked_lm import MaskedLMConfig, MaskedLMTask
from fairseq.tasks.sentence_prediction import SentencePredictionConfig, SentencePredictionTask
from omegaconf import OmegaConf, open_dict

from .. import checkpoint
from ..errors import LayerdropError
from ..models.roberta import dictionary_sha256
from ..pruning import shapes, strategies, surgery
from ..pruning.plan import ModelShape, Plan

logger = logging.getLogger(__name__)


@dataclass
class PruningOptions:
    """Options that every pruning task adds to those of its base task."""

    prune_from: Optional[str] = field(
        default=None, metadata={"help": "checkpoint of the parent; the model's shape is taken from it, not from --arch"}
    )
    prune_encoder_layers: Optional[str] = field(
        default=None, metadata={"help": f"encoder layers to keep: {strategies.SPEC_HELP} (default: all)"}
    )
    prune_plan: Optional[str] = field(default=None, metadata={"help": "JSON file of the plan, instead of a rule"})


class PruningTask:
    """Mixed into a fairseq task: builds the child of ``--prune-from`` instead of a new model.

    An interrupted run resumes: where the save folder holds a checkpoint already, the shape comes from there and the
    parent is not needed. ``--arch`` names the family only (``layerdrop_roberta``). What fairseq saves names the stock
    task and model, so it needs neither this task nor the parent nor, for evaluation, this plugin.
    """

    def build_model(self, cfg, from_checkpoint=False):
        """Build the child and load what it keeps of its parent.

        Raises:
            LayerdropError: no parent, or one of another architecture or dictionary, or a plan that it cannot meet.
        """
        if from_checkpoint:
            return super().build_model(cfg, from_checkpoint)
        if not isinstance(cfg, Namespace):
            raise LayerdropError("the pruning tasks run under fairseq-train, not under fairseq-hydra-train")
        root = self.cfg._get_parent()
        resumed = _resume_file(root.checkpoint)
        state = self._resumed_child(resumed) if resumed else self._pruned_parent()
        self._take_shape(cfg, state)
        model = super().build_model(cfg)
        if not resumed:
            model.load_state_dict(state["model"])
        _save_as_stock(root, cfg, state, self.cfg, shapes.max_positions(state))
        return model

    def _resumed_child(self, file: str) -> dict:
        """The child of an interrupted run, which must be the one that the command asks for."""
        state = checkpoint.read(file)
        ancestors = (state["cfg"].get(checkpoint.PROVENANCE) or {}).get("ancestors")
        plan_gone = self.cfg.prune_plan and not os.path.isfile(self.cfg.prune_plan)
        if ancestors and not plan_gone:
            encoder = replace(shapes.shape_of(state).encoder, layers=ancestors[-1]["encoder_layers"])
            if self._plan(ModelShape(encoder=encoder)).to_dict() != ancestors[-1]["plan"]:
                raise LayerdropError(
                    f"{file} is a child by another plan ({ancestors[-1]['plan']}) than the one asked for:"
                    " choose another --save-dir, or delete that one to start again"
                )
        return state

    def _plan(self, shape: ModelShape) -> Plan:
        return strategies.plan_from_options(shape, {"encoder": self.cfg.prune_encoder_layers}, self.cfg.prune_plan)

    def _pruned_parent(self) -> dict:
        parent = self.cfg.prune_from
        if not parent:
            raise LayerdropError(f"--task {self.cfg._name} needs --prune-from PARENT, the checkpoint to prune")
        state = checkpoint.read(parent)
        shape = shapes.shape_of(state)
        child = surgery.prune_state(state, self._plan(shape), {"file": parent, "sha256": checkpoint.sha256(parent)})
        logger.info(f"pruned {parent}: {child['cfg']['model']['encoder_layers']} of {shape.encoder.layers} layers kept")
        return child

    def _take_shape(self, cfg: Namespace, state: dict) -> None:
        """Make the model's options *cfg*, and the task's, those of *state*."""
        shape, positions = shapes.shape_of(state), shapes.max_positions(state)
        self._check_dictionary(state)
        for name in shapes.SHAPE_OPTIONS:
            if name in state["cfg"]["model"]:
                setattr(cfg, name, state["cfg"]["model"][name])
        cfg.encoder_layers, cfg.encoder_ffn_embed_dim = shape.encoder.layers, shape.encoder.ffn
        cfg.encoder_attention_heads, cfg.encoder_embed_dim = shape.encoder.heads, shape.encoder.embed_dim
        cfg.max_positions = cfg.max_source_positions = positions
        if "max_positions" in self.cfg:
            self.cfg.max_positions = positions
        if self.cfg.get("tokens_per_sample", 0) > positions:
            raise LayerdropError(
                f"--tokens-per-sample {self.cfg.tokens_per_sample} is more than the parent's {positions} positions:"
                " lower it"
            )

    def _check_dictionary(self, state: dict) -> None:
        dictionary, expected = self.source_dictionary, state["cfg"]["model"].get("dictionary_sha256")
        size = shapes.vocabulary_size(state)
        if size != len(dictionary) or (expected and expected != dictionary_sha256(dictionary)):
            raise LayerdropError(
                f"the parent was trained with another dictionary ({size} types) than the data's ({len(dictionary)}"
                " types): binarise the data with the parent's dict.txt (fairseq-preprocess --srcdict)"
            )


def _resume_file(cfg) -> str | None:
    """The checkpoint from which fairseq will go on, or None on a first start."""
    path = cfg.restore_file
    if path == "checkpoint_last.pt":
        path = os.path.join(cfg.save_dir, f"checkpoint_last{cfg.checkpoint_suffix}.pt")
    return path if os.path.isfile(path) else None


def _save_as_stock(root, cfg: Namespace, state: dict, task_cfg, positions: int) -> None:
    """Rewrite the run's root configuration, which is what fairseq saves, to the child's own."""
    plain = {"model": vars(cfg), "task": OmegaConf.to_container(task_cfg), "common": {}}
    stock = surgery.stock_config(plain, shapes.shape_of(state), positions)
    with open_dict(root):
        root.model = OmegaConf.create(stock["model"], flags={"allow_objects": True})
        root.task = stock["task"]
        root.common.user_dir = None
        root[checkpoint.PROVENANCE] = state["cfg"].get(checkpoint.PROVENANCE) or {}


@dataclass
class PruningMaskedLMConfig(PruningOptions, MaskedLMConfig):
    """Options of ``--task pruning_masked_lm``."""


@register_task("pruning_masked_lm", dataclass=PruningMaskedLMConfig)
class PruningMaskedLMTask(PruningTask, MaskedLMTask):
    """fairseq's masked_lm on a pruned parent."""


@dataclass
class PruningSentencePredictionConfig(PruningOptions, SentencePredictionConfig):
    """Options of ``--task pruning_sentence_prediction``."""


@register_task("pruning_sentence_prediction", dataclass=PruningSentencePredictionConfig)
class PruningSentencePredictionTask(PruningTask, SentencePredictionTask):
    """fairseq's sentence_prediction (classification or regression) on a pruned parent."""
