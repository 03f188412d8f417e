"""The configuration of an imported model, as fairseq-train would have saved it, and the model that it builds."""

import warnings
from pathlib import Path

import torch
from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import BaseFairseqModel

from .. import checkpoint
from ..models.bert import EPS
from ..models.dictionaries import dictionary_sha256
from ..provenance import quiet
from .bert_config import BertConfig
from .bert_weights import HEAD, Imported
from .tokenizer import FolderTokenizer, PairFormat


def configuration(
    config: BertConfig, imported: Imported, segments: int, tokenizer: FolderTokenizer, stock: bool
) -> list[str]:
    """The options of fairseq-train for the model, its task and its tokenizer.

    Args:
        segments: how many embeddings of segments the model has.
        stock: name fairseq's own architecture, without this plugin's options.
    """
    shape = {
        "arch": "roberta" if stock else "layerdrop_roberta",
        "encoder-layers": config.layers,
        "encoder-embed-dim": config.width,
        "encoder-ffn-embed-dim": config.units,
        "encoder-attention-heads": config.heads,
        "max-positions": config.longest,
        "activation-fn": config.activation,
        "dropout": config.dropout,
        "attention-dropout": config.attention_dropout,
        "pooler-dropout": config.pooler_dropout,
        "bpe": "tokenizer_json",
    }
    if not stock and config.eps != EPS:
        shape["layernorm-eps"] = config.eps
    if segments:
        shape["segment-embeddings"] = segments
    task = _task(config, imported, tokenizer.pair_format)
    words = [f"--{name}={value}" for name, value in (shape | task).items()]
    flags = ["--untie-weights-roberta"] * imported.untied + ["--regression-target"] * (imported.classes == 1)
    return words + flags


def _task(config: BertConfig, imported: Imported, pairs: PairFormat) -> dict[str, object]:
    if not imported.classes:
        return {"task": "masked_lm", "criterion": "masked_lm", "tokens-per-sample": config.longest}
    name = "sentence_prediction"
    found = {"task": name, "criterion": name, "num-classes": imported.classes, "classification-head-name": HEAD}
    return found | pairs.options


def build(words: list[str], folder: Path, ours: bool = True) -> tuple[dict, BaseFairseqModel]:
    """The plain configuration that the options *words* give, and its model, new, in evaluation mode.

    Args:
        folder: with the dictionaries.
        ours: whether the model is of our architecture.
    """
    parser = options.get_training_parser()
    args = options.parse_args_and_arch(parser, [str(folder), "--cpu", *words])
    with quiet(), warnings.catch_warnings(action="ignore"), torch.random.fork_rng(devices=[]):
        cfg = convert_namespace_to_omegaconf(args)
        torch.manual_seed(1)
        task = tasks.setup_task(cfg.task)
        model = task.build_model(cfg.model).eval()
    plain = checkpoint.plain(cfg)
    plain["model"] |= {"dictionary_sha256": dictionary_sha256(task.source_dictionary), "data": "."}
    plain["task"]["data"] = "."
    plain["bpe"] = {"_name": plain["bpe"]["_name"] if ours else None, "data": "."}  # stock: as surgery's child_config
    plain["common"]["cpu"] = False
    return plain, model
