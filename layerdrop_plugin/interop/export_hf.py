"""A fairseq checkpoint becomes a folder that transformers loads: BERT, RoBERTa or XLM-R, what it was or what fits."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import checkpoint
from ..anatomy import PARTS, SUBLAYERS
from ..errors import LayerdropError
from ..models.bert import EPS
from ..output_folder import whole
from ..pruning.shape import StackShape
from . import bert_config, export_record
from .bert_export import CLASSES, LM, Target, export_weights
from .bert_weights import BUFFERS, POSITIONS, SEGMENTS
from .beside import Origin, tensor_sha256
from .exportable import Exportable, read
from .folder import CONFIG, SAFE
from .libraries import library
from .special_tokens import ROLES, write_special_tokens
from .tokenizer import TOKENIZER

_CLASS_OF = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta"}
_SUFFIX = {CLASSES: "ForSequenceClassification", LM: "ForMaskedLM", None: "Model"}
_LOADED_BY = {CLASSES: "AutoModelForSequenceClassification", LM: "AutoModelForMaskedLM", None: "AutoModel"}
# fairseq's activation functions -> hidden_act; several names of one function: the first
_HIDDEN_ACT = {ours: theirs for theirs, ours in reversed(bert_config.ACTIVATIONS.items())}
# What transformers takes for values that config.json does not say.
_USUAL = {"type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0, "hidden_act": "gelu"}


def export_folder(
    source: str | os.PathLike,
    target: str | os.PathLike,
    data: str | os.PathLike | None = None,
    strict: bool = False,
    command: str | None = None,
) -> list[str]:
    """Make the Hugging Face folder *target* of the checkpoint *source*.

    Args:
        data: folder with the model's dictionaries and tokenizer; that of the checkpoint by default.
        strict: refuse a model whose layers differ in size, instead of padding them with zeros.
        command: the command line, for the record.

    Returns:
        Lines that say what was done.

    Raises:
        LayerdropError: the checkpoint or what must lie beside it cannot be used or cannot be said in transformers;
            *target* exists.
    """
    with whole(target) as out:
        found = read(source, data)
        shape = found.parent.shape.encoder
        padded = _padding(shape)
        if padded and strict:
            raise LayerdropError(f"{padded[0]}: with --strict such a model is not exported")
        kind, head = _kind(found), _head(found)
        try:
            weights = _weights(found, kind, head)
        except LayerdropError as error:
            raise LayerdropError(f"{source}: {error}") from None
        architecture = _architecture(found, kind, head)
        config = _config(found, kind, architecture, weights)
        names, dropped = _named(found, kind, architecture, weights)
        _write_weights(found, names, out)
        (out / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        _write_tokenizer(found, kind, out)
        examples = export_record.examples_of(found)
        export_record.write_record(out, found, "transformers", command, examples=examples)
    shown = f"{architecture}: {shape.layers} layers x {shape.embed_dim}, {shape.heads} heads, {shape.ffn} FFN units"
    lines = [f"{shown}, {len(found.rows):,} rows of embeddings; transformers.{_LOADED_BY[head]} loads it", *padded]
    if found.labels:
        lines.append(f"labels, in their order: {', '.join(_labels(found))}")
    if dropped:
        lines.append(f"left out, as {architecture} has no place for them: {', '.join(dropped)}")
    return lines


def _kind(found: Exportable) -> str:
    """The model_type: what it was imported from, or what fits: BERT where there are segments."""
    if found.origin:
        kind = found.origin.config.get("model_type")
        if kind not in _CLASS_OF:
            raise LayerdropError(f"{found.origin.folder / CONFIG}: the model_type {kind} is not known")
        return kind
    options, padding = found.parent.options, found.tokenizer.ids["<pad>"]
    untold = found.head == "masked_lm" and options.get("activation_fn", "gelu") != "gelu"  # RoBERTa's LM head has gelu
    if options.get("segment_embeddings") or found.pairs.segments or padding != 1 or untold:
        return "bert"
    return "xlm-roberta" if type(found.tokenizer.tokenizer.model).__name__ == "Unigram" else "roberta"


def _head(found: Exportable) -> str | None:
    """The head to export: none where the LM head is still the one that the import had to make."""
    if found.answers:
        return CLASSES
    made = found.origin and found.origin.said.get("new_lm_head")
    return None if made == tensor_sha256(found.parent.weights["encoder.lm_head.dense.weight"]) else LM


def _weights(found: Exportable, kind: str, head: str | None) -> dict[str, Tensor]:
    """The weights by their names without the model's prefix, those that only the origin has included."""
    options = found.parent.options
    if head == CLASSES and (options.get("pooler_activation_fn") or "tanh") != "tanh":
        raise LayerdropError(f"its pooler has {options['pooler_activation_fn']}, that of transformers has tanh")
    if (options.get("activation_fn") or "gelu") not in _HIDDEN_ACT:
        raise LayerdropError(f"transformers has no activation function {options['activation_fn']}")
    if head == LM and kind != "bert" and (options.get("activation_fn") or "gelu") != "gelu":
        raise LayerdropError(f"its LM head has {options['activation_fn']}, RoBERTa's in transformers has gelu")
    lost = found.origin.rest if found.origin and not found.pairs.segments else {}
    first = 0 if kind == "bert" else found.tokenizer.ids["<pad>"] + 1
    target = Target(kind == "bert", head, found.head_name, found.rows, first)
    return export_weights(found.parent.weights, found.parent.shape.encoder, target, lost)


def _architecture(found: Exportable, kind: str, head: str | None) -> str:
    """The class in transformers: the origin's, if it has this head."""
    names = (found.origin.config.get("architectures") or []) if found.origin else []
    for name in names:
        kinds = {of for suffix, of in bert_config.HEADS.items() if name.endswith(suffix)}
        if (kinds or {None}) == {head}:
            return name
    return _CLASS_OF[kind] + _SUFFIX[head]


def _config(found: Exportable, kind: str, architecture: str, weights: dict[str, Tensor]) -> dict[str, Any]:
    """config.json: the origin's, with what is no longer so."""
    options, shape = found.parent.options, found.parent.shape.encoder
    ids = {role: found.tokenizer.ids[symbol] for symbol, role in ROLES.items() if symbol in found.tokenizer.ids}
    now = {
        "model_type": kind,
        "architectures": [architecture],
        "hidden_size": shape.embed_dim,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.ffn,
        "vocab_size": len(found.rows),
        "max_position_embeddings": len(weights[POSITIONS]),
        "type_vocab_size": len(weights[SEGMENTS]),
        "layer_norm_eps": options.get("layernorm_eps") or EPS,
        "pad_token_id": ids["pad_token"],
    }
    if any(name.endswith("decoder.weight") for name in weights):
        now["tie_word_embeddings"] = False
    before = dict(found.origin.config) if found.origin else _new_config(options, ids)
    activation = options.get("activation_fn") or "gelu"
    if bert_config.ACTIVATIONS.get(before.get("hidden_act", _USUAL["hidden_act"])) != activation:
        now["hidden_act"] = _HIDDEN_ACT[activation]
    config = before | {name: value for name, value in now.items() if before.get(name, _USUAL.get(name)) != value}
    if found.answers and not _same_labels(found):
        config |= _label_entries(found)
    return config


def _new_config(options: dict, ids: dict[str, int]) -> dict[str, Any]:
    """Entries of config.json that do not follow from the weights, for a model that was not imported."""
    return {
        "hidden_act": None,
        "hidden_dropout_prob": options.get("dropout", 0.1),
        "attention_probs_dropout_prob": options.get("attention_dropout", 0.1),
        "classifier_dropout": options.get("pooler_dropout", 0.0),
        "position_embedding_type": "absolute",
        "bos_token_id": ids["cls_token"],
        "eos_token_id": ids["sep_token"],
        "layer_norm_eps": None,
        "type_vocab_size": None,
    }


def _same_labels(found: Exportable) -> bool:
    """Whether config.json of the origin names the classes of the model already."""
    if not found.origin or not found.origin.said.get("labels"):
        return False
    before = ["_".join(str(label).split()) for label in found.origin.said["labels"]]
    return before == list(found.labels) or (found.head == "regression" and len(before) == 1)


def _labels(found: Exportable) -> list[str]:
    """The classes as config.json has them."""
    return list(found.origin.said["labels"]) if _same_labels(found) else list(found.labels)


def _label_entries(found: Exportable) -> dict[str, Any]:
    """Entries of config.json about the classes."""
    if found.head == "regression":
        return {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}, "problem_type": "regression"}
    return {
        "id2label": {str(number): label for number, label in enumerate(found.labels)},
        "label2id": {label: number for number, label in enumerate(found.labels)},
        "problem_type": "single_label_classification",
    }


def _named(
    found: Exportable, kind: str, architecture: str, weights: dict[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """The weights under their names in the file, and the origin's that have no place in it.

    Of the class that was imported everything is there again, under the old names.
    """
    origin = found.origin
    same = origin is not None and architecture in (origin.config.get("architectures") or [])
    extra = {name: value for name, value in (origin.rest if origin else {}).items() if name not in weights}
    if not same:
        prefix = "" if architecture.endswith("Model") else bert_config.PREFIXES[kind]
        inside = ("embeddings.", "encoder.", *(("pooler.",) if kind == "bert" else ()))
        named = {f"{prefix}{name}" if name.startswith(inside) else name: value for name, value in weights.items()}
        return named, sorted(extra.keys() - BUFFERS)
    weights = weights | extra | _second_names(origin, weights)
    return {_old_name(origin, name): value for name, value in weights.items()}, []


def _old_name(origin: Origin, name: str) -> str:
    """The name that the folder had for the weight *name*, or would have for that of a layer that it did not have."""
    return origin.said["names"].get(name, name)


def _second_names(origin: Origin, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights that the folder held twice: the LM head's matrix, tied to the embeddings, and its bias."""
    found = {}
    for name in origin.said["names"].keys() - weights.keys():
        if name.endswith("decoder.weight"):
            found[name] = weights["embeddings.word_embeddings.weight"].clone()
        elif name.endswith("decoder.bias") and name.replace("decoder.", "") in weights:
            found[name] = weights[name.replace("decoder.", "")].clone()
        elif name.endswith(".bias") and name.replace("bias", "decoder.bias") in weights:
            found[name] = weights[name.replace("bias", "decoder.bias")].clone()
    return found


def _write_weights(found: Exportable, weights: dict[str, Tensor], out: Path) -> None:
    """Write model.safetensors, in the precision of the origin if that loses nothing."""
    dtype = getattr(torch, str(found.origin and found.origin.said.get("dtype")), torch.float32)
    numbers = {name: value for name, value in weights.items() if value.is_floating_point()}
    if dtype != torch.float32 and all(value.to(dtype).to(value.dtype).equal(value) for value in numbers.values()):
        weights = weights | {name: value.to(dtype) for name, value in numbers.items()}
    tensors = {name: value.contiguous().clone() for name, value in weights.items()}
    (out / SAFE).write_bytes(library("safetensors.torch").save(tensors, metadata={"format": "pt"}))


def _write_tokenizer(found: Exportable, kind: str, out: Path) -> None:
    """Write the origin's own files, if the tokenizer is still the one that was imported; else a tokenizer.json."""
    said, path = found.origin.said if found.origin else {}, found.folder / TOKENIZER
    if path.is_file() and said.get("tokenizer_sha256") == checkpoint.sha256(path):
        for file in found.origin.tokenizer_files():
            shutil.copyfile(file, out / file.name)
        return
    found.tokenizer.tokenizer.save(str(out / TOKENIZER), pretty=False)
    write_special_tokens(out, found.tokenizer.special)
    inputs = ["input_ids", *(["token_type_ids"] if kind == "bert" else []), "attention_mask"]
    special = {ROLES[symbol]: token for symbol, token in found.tokenizer.special.items()}
    says = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": found.model.max_positions(),
        "model_input_names": inputs,
        "clean_up_tokenization_spaces": False,
        **special,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(says, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _padding(shape: StackShape) -> list[str]:
    """A line that says what is padded with zeros and what that costs; none if all layers are whole."""
    cut = {kind: sizes for kind, sizes in shape.sizes.items() if any(size != shape.whole(kind) for size in sizes)}
    cut = {kind: sizes for kind, sizes in cut.items() if None not in sizes}  # which is refused, by name
    if not cut:
        return []
    told, added, whole_sizes = [], 0, 0
    for kind in shape.sizes:
        of_part = 4 * shape.embed_dim * shape.width(kind) if kind == "self_attn" else 2 * shape.embed_dim
        whole_sizes += of_part * shape.whole(kind) * shape.layers
        if kind in cut:
            many = PARTS[SUBLAYERS[kind].part.name].many
            told.append(f"{many} {','.join(map(str, cut[kind]))} to {shape.whole(kind)}")
            added += of_part * sum(shape.whole(kind) - size for size in cut[kind])
    return [
        f"padded with zeros, as transformers has one size for all layers: {'; '.join(told)}; the layers have"
        f" {whole_sizes / max(1, whole_sizes - added):.2f} times the weights and work of what is left (export-onnx"
        " keeps the real sizes)"
    ]
