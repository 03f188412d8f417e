"""Tasks that load a parent, prune it and fine-tune the child, in one ``fairseq-train`` command."""

import logging
import os
import re
from argparse import Namespace
from dataclasses import dataclass, field
from typing import Optional  # fairseq turns these annotations into option types; it does not know "str | None"

from fairseq import utils
from fairseq.data import SortDataset
from fairseq.dataclass import ChoiceEnum
from fairseq.models import BaseFairseqModel
from fairseq.tasks import register_task
from fairseq.tasks.language_modeling import LanguageModelingConfig, LanguageModelingTask
from fairseq.tasks.masked_lm import MaskedLMConfig, MaskedLMTask
from fairseq.tasks.sentence_prediction import SentencePredictionConfig, SentencePredictionTask
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from fairseq.utils import safe_getattr
from omegaconf import DictConfig, OmegaConf, open_dict

from .. import checkpoint
from ..anatomy import STACKS
from ..errors import LayerdropError
from ..models.dictionaries import check_vocabulary
from ..models.options import changeable
from ..pruning import surgery
from ..pruning.families import OURS, Family, family_of, registered_model
from ..pruning.layer_rules import SPEC_HELP
from ..pruning.parent import Parent
from ..pruning.plan import Plan
from ..pruning.prune import prune
from ..pruning.ranking import RANKING_HELP, RANKINGS
from ..pruning.rules import MIN_HEADS_HELP, PART_HELP, Rules
from .estimate import EstimateOnly, EstimateOptions
from .resume import interrupted_child

logger = logging.getLogger(__name__)


@dataclass
class PruningOptions(EstimateOptions):
    """Options that every pruning task adds to those of its base task."""

    prune_from: Optional[str] = field(
        default=None, metadata={"help": "checkpoint of the parent; the model's shape is taken from it, not from --arch"}
    )
    prune_plan: Optional[str] = field(
        default=None, metadata={"help": "JSON file of the plan, instead of rules for the layers"}
    )
    prune_heads: Optional[str] = field(default=None, metadata={"help": f"heads to remove: {PART_HELP} (default: none)"})
    prune_ffn: Optional[str] = field(
        default=None, metadata={"help": f"FFN units to remove: {PART_HELP} (default: none)"}
    )
    prune_ranking: ChoiceEnum(list(RANKINGS)) = field(default=RANKINGS[0], metadata={"help": RANKING_HELP})
    prune_min_heads: int = field(default=0, metadata={"help": MIN_HEADS_HELP})


@dataclass
class PruningEncoderOptions(PruningOptions):
    """Options of tasks whose models have an encoder."""

    prune_encoder_layers: Optional[str] = field(
        default=None, metadata={"help": f"encoder layers to keep: {SPEC_HELP} (default: all)"}
    )


@dataclass
class PruningDecoderOptions(PruningOptions):
    """Options of tasks whose models have a decoder."""

    prune_decoder_layers: Optional[str] = field(
        default=None, metadata={"help": f"decoder layers to keep: {SPEC_HELP} (default: all)"}
    )


class PruningTask:
    """Mixin for a fairseq task that builds the child of ``--prune-from`` instead of a new model.

    An interrupted run resumes: if the save folder has a checkpoint of the child, the shape is read from it and the
    parent is not needed. ``--arch`` selects only the family (such as ``layerdrop_roberta``). Saved checkpoints name the
    stock task, and the stock model if all layers are whole; they need neither this task nor the parent (law 3).
    """

    def build_model(self, cfg: DictConfig | Namespace, from_checkpoint: bool = False) -> BaseFairseqModel:
        """Build the child and load the weights that it keeps of its parent.

        Raises:
            LayerdropError: there is no parent, the parent has another architecture or dictionary, the plan does not fit
                it, fairseq's own pruning options are given, or the checkpoint to resume from is not this child.
        """
        if from_checkpoint:
            return super().build_model(cfg, from_checkpoint)
        self._refuse_layers_to_keep(cfg)
        if safe_getattr(cfg, "learn_layerdrop"):
            raise LayerdropError(
                f"--task {self._options._name} saves children, which have no learned drop rates (law 3): leave out"
                f" --learn-layerdrop, or train with --task {surgery.stock_task(self._options._name)}"
            )
        root = self._options._get_parent()
        if root.checkpoint.finetune_from_model:
            raise LayerdropError(
                f"--task {self._options._name} takes its weights from --prune-from: leave out --finetune-from-model"
            )
        resumed = checkpoint.restored_file(root.checkpoint)
        loaded = self._resumed_child(resumed) if resumed else self._pruned_parent()
        family = family_of(checkpoint.plain(cfg))
        self._check_family(cfg, family, loaded)
        check_vocabulary(loaded, self, "the parent")
        self._take_shape(cfg, loaded)
        model = super().build_model(cfg)
        if not resumed:
            model.load_state_dict(loaded.state["model"])
        _save_as_stock(root, cfg, self._options, family, loaded)
        return model

    @property
    def _options(self):
        """The task's options, which older tasks of fairseq have as ``args``."""
        return self.cfg if self.cfg is not None else self.args

    def _resumed_child(self, file: str) -> Parent:
        begin, rules = self._options._get_parent().checkpoint, Rules.from_options(self._options, "prune_")
        return interrupted_child(file, begin, self._options.prune_from, rules)

    def _pruned_parent(self) -> Parent:
        path = self._options.prune_from
        if not path:
            raise LayerdropError(f"--task {self._options._name} needs --prune-from PARENT, the checkpoint to prune")
        rules = Rules.from_options(self._options, "prune_")
        if rules.plan_file and Plan.load(rules.plan_file).vocabulary is not None:
            raise LayerdropError(
                f"the plan {rules.plan_file} prunes the vocabulary, and with it dictionary and tokenizer: do so with"
                " layerdrop prune, binarise the data anew and give what it writes as --prune-from"
            )
        child = prune(Parent.load(path), rules)
        logger.info(f"pruned {path}: {', '.join(child.describe()) or 'nothing, everything is kept'}")
        return child

    def _refuse_layers_to_keep(self, cfg) -> None:
        for stack in STACKS:
            kept = safe_getattr(cfg, f"{stack}_layers_to_keep")
            if kept:
                layers = kept if isinstance(kept, str) else ",".join(map(str, kept))
                raise LayerdropError(
                    f"--{stack}-layers-to-keep {layers} would prune what --task {self._options._name} has pruned:"
                    f" give --prune-{stack}-layers keep:{layers} instead"
                )

    def _check_family(self, cfg, wanted: Family, loaded: Parent) -> None:
        found = loaded.family
        if not OURS.match(registered_model({"_name": cfg._name})):
            used = [f"--{name.replace('_', '-')}" for name in found.ours if loaded.options.get(name)]
            if used or not loaded.shape.uniform:
                what = f"the parent has {used[0]}" if used else "the layers of the model differ"
                raise LayerdropError(f"{what}, which --arch {cfg._name} cannot: use --arch layerdrop_{found.stock}")
        if wanted.stacks != found.stacks:
            raise LayerdropError(
                f"the parent is a {found.stock}, which --arch {cfg._name} is no architecture for:"
                f" use --arch layerdrop_{found.stock} and a task for it"
            )

    def _take_shape(self, cfg, loaded: Parent) -> None:
        """Set the options of the model, *cfg*, and of the task to those of the *loaded* checkpoint's model."""
        shape, positions = loaded.shape, loaded.positions
        with changeable(cfg):
            for name in loaded.family.options:
                if name in loaded.options:
                    setattr(cfg, name, loaded.options[name])
            for stack, of in shape.items():
                setattr(cfg, f"{stack}_layers", of.layers)
                setattr(cfg, f"{stack}_ffn_embed_dim", of.ffn)
                setattr(cfg, f"{stack}_attention_heads", of.heads)
                setattr(cfg, f"{stack}_embed_dim", of.embed_dim)
            for option, sizes in surgery.size_options(shape).items():
                setattr(cfg, option, sizes)
            if positions is not None:
                cfg.max_positions = cfg.max_source_positions = positions
        if positions is not None:
            self._take_positions(positions)

    def _take_positions(self, positions: int) -> None:
        if "max_positions" in self._options:
            self._options.max_positions = positions
        if self._options.get("tokens_per_sample", 0) > positions:
            raise LayerdropError(
                f"--tokens-per-sample {self._options.tokens_per_sample} is more than the parent's {positions}"
                " positions: lower it"
            )


def _save_as_stock(root, cfg, options, family: Family, loaded: Parent) -> None:
    """Change the run's configuration *root*, which fairseq saves in checkpoints, to that of the child."""
    plain = {
        "model": checkpoint.plain(cfg),
        "task": checkpoint.plain(options),
        "common": {},
        "bpe": checkpoint.plain(root.bpe),
    }
    stock = surgery.child_config(plain, family, loaded.shape, loaded.positions)
    with open_dict(root):
        root.model = OmegaConf.create(stock["model"], flags={"allow_objects": True})
        root.task, root.bpe = stock["task"], stock["bpe"]
        root.common.user_dir = None
        root[checkpoint.PROVENANCE] = loaded.cfg.get(checkpoint.PROVENANCE) or {}


@dataclass
class PruningMaskedLMConfig(PruningEncoderOptions, MaskedLMConfig):
    """Options of ``--task pruning_masked_lm``."""


@register_task("pruning_masked_lm", dataclass=PruningMaskedLMConfig)
class PruningMaskedLMTask(EstimateOnly, PruningTask, MaskedLMTask):
    """fairseq's masked_lm on a pruned parent."""


@dataclass
class PruningSentencePredictionConfig(PruningEncoderOptions, SentencePredictionConfig):
    """Options of ``--task pruning_sentence_prediction``."""

    group_by_length: bool = field(
        default=False,
        metadata={
            "help": "put sentences of about the same length into a batch, which leaves less padding to compute: on CPUs"
            " training takes half the time where lengths differ much"
        },
    )


@register_task("pruning_sentence_prediction", dataclass=PruningSentencePredictionConfig)
class PruningSentencePredictionTask(EstimateOnly, PruningTask, SentencePredictionTask):
    """fairseq's sentence_prediction (classification or regression) on a pruned parent."""

    def load_dataset(self, split: str, combine: bool = False, **kwargs) -> SortDataset:
        """As fairseq's; with ``--group-by-length`` in the order of length, at random where it is the same.

        Batches are cut from that order, and their own order is still shuffled in each epoch.
        """
        dataset = super().load_dataset(split, combine=combine, **kwargs)
        if self._options.group_by_length:
            order = dataset.sort_order if isinstance(dataset, SortDataset) else []
            self.datasets[split] = dataset = SortDataset(dataset, [*order, *dataset.sizes])
        return dataset


@dataclass
class PruningTranslationConfig(PruningEncoderOptions, PruningDecoderOptions, TranslationConfig):
    """Options of ``--task pruning_translation``."""


@register_task("pruning_translation", dataclass=PruningTranslationConfig)
class PruningTranslationTask(EstimateOnly, PruningTask, TranslationTask):
    """fairseq's translation on a pruned parent."""

    @classmethod
    def setup_task(cls, cfg: DictConfig | Namespace, **kwargs) -> "PruningTranslationTask":
        """As fairseq's.

        Raises:
            LayerdropError: the data folder has no dictionaries of these languages.
        """
        folder = utils.split_paths(cfg.data)[0]
        languages = [cfg.source_lang, cfg.target_lang]
        if all(languages) and not all(os.path.isfile(f"{folder}/dict.{language}.txt") for language in languages):
            found = sorted(name.split(".")[1] for name in os.listdir(folder) if re.fullmatch(r"dict\.[^.]+\.txt", name))
            raise LayerdropError(
                f"there is no language pair {'-'.join(languages)} in {folder}: it has {', '.join(found) or 'none'}"
            )
        return super().setup_task(cfg, **kwargs)


@dataclass
class PruningLanguageModelingConfig(PruningDecoderOptions, LanguageModelingConfig):
    """Options of ``--task pruning_language_modeling``."""


@register_task("pruning_language_modeling", dataclass=PruningLanguageModelingConfig)
class PruningLanguageModelingTask(EstimateOnly, PruningTask, LanguageModelingTask):
    """fairseq's language_modeling on a pruned parent."""
