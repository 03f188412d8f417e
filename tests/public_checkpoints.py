"""Checkpoints with random weights, small, otherwise as fairseq's authors published them: options, keys, file format.

Each function fills a folder as the published archive does: model.pt and the dictionaries beside it.
"""

import re
from argparse import Namespace
from pathlib import Path

import builders
import torch
from fairseq import models
from fairseq.data import Dictionary

WORDS = 40
SIZE = 16  # width of the models
LANGUAGES = ("de", "en", "fr")

# The options of fairseq 0.9, in which BART and XLM-R were trained; what came later is missing.
_RUN = {
    "no_progress_bar": False,
    "log_interval": 1000,
    "log_format": "json",
    "seed": 4,
    "cpu": False,
    "fp16": True,
    "memory_efficient_fp16": True,
    "user_dir": None,
    "criterion": "cross_entropy",
    "optimizer": "adam",
    "lr_scheduler": "polynomial_decay",
    "num_workers": 4,
    "max_tokens": 3200,
    "max_sentences": None,
    "required_batch_size_multiple": 8,
    "dataset_impl": None,
    "train_subset": "train",
    "valid_subset": "valid",
    "distributed_world_size": 256,
    "ddp_backend": "no_c10d",
    "bucket_cap_mb": 25,
    "max_update": 500000,
    "clip_norm": 0.1,
    "update_freq": [1],
    "lr": [0.0004],
    "min_lr": -1,
    "adam_betas": "(0.9, 0.98)",
    "adam_eps": 1e-06,
    "weight_decay": 0.01,
    "warmup_updates": 10000,
    "total_num_update": 500000,
    "power": 1.0,
    "save_dir": "/checkpoint/model",
    "restore_file": "checkpoint_last.pt",
    "sentence_avg": False,
    "remove_bpe": None,
    "data": "/private/data-bin",
}
_OF_STACK = {"embed_dim": SIZE, "ffn_embed_dim": 32, "attention_heads": 4, "embed_path": None, "layerdrop": 0}
_TRANSFORMER = {
    **{f"{stack}_{name}": value for stack in ("encoder", "decoder") for name, value in _OF_STACK.items()},
    "encoder_layers_to_keep": None,
    "decoder_layers_to_keep": None,
    "decoder_input_dim": SIZE,
    "decoder_output_dim": SIZE,
    "share_decoder_input_output_embed": True,
    "share_all_embeddings": True,
    "no_token_positional_embeddings": False,
    "adaptive_softmax_cutoff": None,
    "adaptive_softmax_dropout": 0,
    "adaptive_input": False,
    "no_cross_attention": False,
    "cross_self_attention": False,
    "layer_wise_attention": False,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.0,
}
_BART = _TRANSFORMER | {
    "arch": "bart_large",
    "relu_dropout": 0.0,
    "encoder_normalize_before": False,
    "decoder_normalize_before": False,
    "encoder_learned_pos": True,
    "decoder_learned_pos": True,
    "no_scale_embedding": True,
    "layernorm_embedding": True,
    "activation_fn": "gelu",
    "pooler_activation_fn": "tanh",
    "pooler_dropout": 0.0,
    "max_source_positions": 64,
    "max_target_positions": 64,
}
_DENOISING = {
    "task": "denoising",
    "tokens_per_sample": 64,
    "sample_break_mode": "complete_doc",
    "mask": 0.3,
    "mask_random": 0.1,
    "insert": 0.0,
    "permute": 0.0,
    "rotate": 0.0,
    "poisson_lambda": 3.5,
    "permute_sentences": 1.0,
    "mask_length": "span-poisson",
    "replace_length": 1,
    "bpe": "gpt2",
}
_TRANSLATION = {
    "task": "translation",
    "source_lang": "source",
    "target_lang": "target",
    "left_pad_source": "True",
    "left_pad_target": "False",
    "upsample_primary": 1,
    "truncate_source": True,
    "load_alignments": False,
    "criterion": "label_smoothed_cross_entropy",
    "label_smoothing": 0.1,
}
_PREDICTION = {
    "task": "sentence_prediction",
    "criterion": "sentence_prediction",
    "num_classes": 3,
    "init_token": 0,
    "separator_token": 2,
    "add_prev_output_tokens": True,
    "classification_head_name": "mnli",
    "regression_target": False,
    "no_shuffle": False,
    "truncate_sequence": True,
    "max_positions": 64,
}
_MANY = {
    "task": "translation_multi_simple_epoch",
    "criterion": "label_smoothed_cross_entropy",
    "label_smoothing": 0.1,
    "lang_pairs": "de-en,en-de,en-fr",
    "langs": None,
    "lang_dict": None,
    "source_lang": None,
    "target_lang": None,
    "encoder_langtok": "src",
    "decoder_langtok": True,
    "sampling_method": "temperature",
    "sampling_temperature": 5.0,
    "left_pad_source": "True",
    "left_pad_target": "False",
}
BART = {
    "bart.base": _DENOISING | {"arch": "bart_base", "layers": 6},
    "bart.large": _DENOISING | {"layers": 12},
    "bart.large.mnli": _PREDICTION | {"layers": 12},
    "bart.large.cnn": _TRANSLATION | {"layers": 12},
}


def words(mask: bool = True, languages: tuple[str, ...] = ()) -> Dictionary:
    """The dictionary that the task makes of dict.txt."""
    found = Dictionary()
    for number in range(WORDS):
        found.add_symbol(f"w{number}")
    for symbol in (*(f"__{language}__" for language in languages), *(["<mask>"] if mask else [])):
        found.add_symbol(symbol)
    return found


def bart(folder: Path, name: str = "bart.large") -> Path:
    """BART; *name* is a key of BART. Returns the checkpoint's path."""
    chosen = dict(BART[name])
    layers = chosen.pop("layers")
    args = _RUN | _BART | {"encoder_layers": layers, "decoder_layers": layers} | chosen
    model = _model(args, words(mask=name != "bart.large.cnn"))
    if name == "bart.large.mnli":
        model.register_classification_head("mnli", num_classes=3)
    sides = ("source", "target") if name == "bart.large.cnn" else ()
    _dictionaries(folder, [f"dict.{side}.txt" for side in sides] or ["dict.txt"])
    if name == "bart.large.mnli":
        _dictionaries(folder, ["input0/dict.txt"])
        (folder / "label").mkdir()
        (folder / "label" / "dict.txt").write_text("contradiction 1\nneutral 1\nentailment 1\n")
    return _save(folder, args, model.state_dict())


def xlmr(folder: Path) -> Path:
    """xlmr.base, under the names that RoBERTa's weights had then. Returns the checkpoint's path."""
    args = _RUN | {
        "arch": "roberta_base",
        "task": "multilingual_masked_lm",
        "criterion": "masked_lm",
        "encoder_layers": 12,
        "encoder_embed_dim": SIZE,
        "encoder_ffn_embed_dim": 32,
        "encoder_attention_heads": 4,
        "encoder_layerdrop": 0,
        "encoder_layers_to_keep": None,
        "activation_fn": "gelu",
        "pooler_activation_fn": "tanh",
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "activation_dropout": 0.0,
        "pooler_dropout": 0.0,
        "max_positions": 64,
        "tokens_per_sample": 64,
        "sample_break_mode": "complete",
        "mask_prob": 0.15,
        "leave_unmasked_prob": 0.1,
        "random_token_prob": 0.1,
        "freq_weighted_replacement": False,
        "mask_whole_words": False,
        "multilang_sampling_alpha": 0.7,
        "bpe": None,
    }
    model = _model(args, words())
    _dictionaries(folder, ["dict.txt"])
    old = {
        re.sub(r"^encoder\.", "decoder.", name).replace(".layernorm_embedding.", ".emb_layer_norm."): value
        for name, value in model.state_dict().items()
    }
    return _save(folder, args, old)


def m2m100(folder: Path) -> Path:
    """M2M-100 of 418M parameters, with its languages' tokens behind the words. Returns the checkpoint's path."""
    args = {
        **(_RUN | _TRANSFORMER | _MANY),
        "arch": "transformer_wmt_en_de_big",
        "encoder_layers": 12,
        "decoder_layers": 12,
        "encoder_layerdrop": 0.05,
        "decoder_layerdrop": 0.05,
        "encoder_normalize_before": True,
        "decoder_normalize_before": True,
        "encoder_learned_pos": False,
        "decoder_learned_pos": False,
        "no_scale_embedding": False,
        "layernorm_embedding": False,
        "activation_fn": "relu",
        "max_source_positions": 1024,
        "max_target_positions": 1024,
        "checkpoint_activations": False,
        "fixed_dictionary": "/private/model_dict.128k.txt",
        "ddp_backend": "c10d",
    }
    model = _model(args, words(mask=False, languages=LANGUAGES))
    _dictionaries(folder, ["model_dict.txt", *(f"dict.{language}.txt" for language in LANGUAGES)])
    return _save(folder, args, model.state_dict(), zipped=True)


class _Task(builders.FakeTask):
    def __init__(self, dictionary: Dictionary):
        self.source_dictionary = self.target_dictionary = dictionary


def _model(args: dict, dictionary: Dictionary):
    torch.manual_seed(0)
    model = models.build_model(Namespace(**args), _Task(dictionary))
    with torch.no_grad():
        for weight in model.parameters():  # as far from each other as those of a trained model
            weight.add_(0.3 * torch.randn_like(weight))
    return model


def _dictionaries(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        words(mask=False).save(str(folder / name))


def _save(folder: Path, args: dict, weights: dict, zipped: bool = False) -> Path:
    history = {
        "criterion_name": "CrossEntropyCriterion",
        "optimizer_name": "MemoryEfficientFP16Optimizer",
        "lr_scheduler_state": {"best": 1.5},
        "num_updates": 500000,
    }
    state = {
        "args": Namespace(**args),
        "model": {name: value.half() if value.is_floating_point() else value for name, value in weights.items()},
        "optimizer_history": [history],
        "extra_state": {"train_iterator": {"epoch": 41, "iterations_in_epoch": 0}, "val_loss": 1.5, "best": 1.5},
        "last_optimizer_state": None,
    }
    path = folder / "model.pt"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    return path
