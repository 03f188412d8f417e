"""Make a CTranslate2 model of a translation or language model; ct2_folder.py says what the folder holds."""

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from fairseq.models import BaseFairseqModel
from torch import Tensor

from .. import checkpoint
from ..anatomy import SUBLAYERS
from ..errors import LayerdropError
from ..model_loading import load_model
from ..output_folder import whole
from ..provenance import describe_checkpoint, made_with
from ..pruning.parent import Parent
from .ct2_folder import ORIGIN, ORIGIN_TYPE
from .ct2_spec import log_probabilities, padding_of, refuse_unknown, specification
from .libraries import library

if TYPE_CHECKING:
    from fairseq.data import Dictionary

TOKENIZER = "sentencepiece.bpe.model"
# The type that a model's products are computed with: CTranslate2's quantization -> by how much log-probabilities may
# differ from fairseq's; None is not judged.
QUANTIZATIONS = {
    "float32": 1e-3,
    **dict.fromkeys(("float16", "bfloat16", "int16", "int8", "int8_float16", "int8_bfloat16")),
}
_TASKS = {"translation", "language_modeling"}
_SENTENCES, _SHORTEST, _LONGEST = 16, 3, 18  # random ones that are compared, and their lengths in tokens


def export(
    path: str | os.PathLike,
    data: str | os.PathLike,
    out: str | os.PathLike,
    quantization: str = "float32",
    command: str | None = None,
) -> list[str]:
    """Make the folder *out* of the checkpoint *path*.

    Args:
        data: data folder with the model's dictionaries; the SentencePiece model is taken from there or, if it has none,
            from beside the checkpoint.
        quantization: one of QUANTIZATIONS.
        command: the command line, for the record.

    Returns:
        Lines that say what was done.

    Raises:
        LayerdropError: CTranslate2 is not installed or cannot compute what the model does; the checkpoint or the data
            cannot be read or do not fit together; there is no SentencePiece model for pieces of SentencePiece's; *out*
            exists; or log-probabilities differ from fairseq's.
    """
    engine = library("ctranslate2")
    parent = Parent.load(path)
    refuse_unknown(parent)
    model, task = _load(parent, data)
    dictionaries = _dictionaries(task)
    tokenizer = _tokenizer(parent, Path(data), dictionaries)
    limits = model.max_positions()
    sentences = _random_sentences(dictionaries, limits)
    with torch.no_grad():
        expected = log_probabilities(model, *sentences)
    spec = specification(parent, model, dictionaries)
    spec.optimize(quantization=quantization)
    described, origin = describe_checkpoint(path)
    with whole(out) as folder:
        spec.save(str(folder))
        moved = _largest_difference(folder, sentences, dictionaries, expected)
        tolerance = QUANTIZATIONS[quantization]
        if tolerance is not None and not moved <= tolerance:
            raise LayerdropError(
                f"CTranslate2 computes something else than fairseq of {path}: log-probabilities of random sentences"
                f" differ by up to {moved:.2g}; nothing was written"
            )
        for name, words in _dictionary_names(described["languages"], dictionaries).items():
            words.save(str(folder / name))
        if tokenizer:
            shutil.copyfile(tokenizer, folder / TOKENIZER)
        record = {
            "type": ORIGIN_TYPE,
            "version": 1,
            "checkpoint": described,
            "provenance": origin,
            "engine": f"ctranslate2 {engine.__version__}",
            "quantization": quantization,
            "longest": [limits] if isinstance(limits, int) else list(limits),
            "sha256": {file.name: checkpoint.sha256(file) for file in sorted(folder.iterdir())},
            **made_with(command),
        }
        (folder / ORIGIN).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return [
        *_describe_padding(parent),
        f"log-probabilities of random sentences differ from fairseq's by up to {moved:.1g}",
        *([] if tokenizer else [f"no {TOKENIZER}: the model reads and writes the words of its dictionary"]),
    ]


def _load(parent: Parent, data: str | os.PathLike) -> tuple[BaseFairseqModel, Any]:
    """The model, on the CPU in single precision and evaluation mode, and its task with the dictionaries in *data*."""
    name = str((parent.cfg.get("task") or {}).get("_name"))
    if name not in _TASKS:
        raise LayerdropError(
            f"{parent.path} was trained for the task {name!r}: it must be one of {', '.join(sorted(_TASKS))}"
        )
    if not Path(data).is_dir():
        raise LayerdropError(f"the data folder {data} does not exist: check the path")
    model, task = load_model(parent.path, data)
    return model.float().eval(), task


def _dictionaries(task: Any) -> "tuple[Dictionary, ...]":
    """Those of source and target; of a language model the only one."""
    if getattr(task, "source_dictionary", None) is task.target_dictionary and not hasattr(task.cfg, "source_lang"):
        return (task.target_dictionary,)
    return task.source_dictionary, task.target_dictionary


def _dictionary_names(languages: list[str] | None, dictionaries: "tuple[Dictionary, ...]") -> "dict[str, Dictionary]":
    """The names that fairseq's data folders give the dictionaries."""
    if len(dictionaries) == 1:
        return {"dict.txt": dictionaries[0]}
    return {f"dict.{language}.txt": words for language, words in zip(languages, dictionaries, strict=True)}


def _tokenizer(parent: Parent, data: Path, dictionaries: "tuple[Dictionary, ...]") -> Path | None:
    """The SentencePiece model; None if the dictionaries hold other words than its pieces."""
    places = [data / TOKENIZER, Path(parent.path).parent / TOKENIZER]
    found = next((place for place in places if place.is_file()), None)
    if found is None and any(symbol.startswith("\u2581") for words in dictionaries for symbol in words.symbols):
        raise LayerdropError(
            f"the dictionaries hold SentencePiece's pieces, and there is no {TOKENIZER} in {data} or beside the"
            " checkpoint: copy it to one of them"
        )
    return found


Sentences = tuple[
    list[Tensor] | None, list[Tensor]
]  # source (None of a language model) and target tokens, end included


def _random_sentences(dictionaries: "tuple[Dictionary, ...]", limits: int | tuple[int, int]) -> Sentences:
    """Sentences of random symbols, the same ones every time, within the model's *limits*."""
    generator = torch.Generator().manual_seed(1)
    longest = min(_LONGEST, (limits if isinstance(limits, int) else min(limits)) - 1)
    sides = [
        [
            torch.cat([torch.randint(words.nspecial, len(words), (length,), generator=generator), torch.tensor([2])])
            for length in torch.randint(
                min(_SHORTEST, longest), longest + 1, (_SENTENCES,), generator=generator
            ).tolist()
        ]
        for words in dictionaries
    ]
    return (None, sides[0]) if len(sides) == 1 else (sides[0], sides[1])


def _largest_difference(
    folder: Path, sentences: Sentences, dictionaries: "tuple[Dictionary, ...]", expected: list[Tensor]
) -> float:
    """The largest difference between CTranslate2's log-probabilities and the *expected* ones."""
    ctranslate2, (sources, targets) = library("ctranslate2"), sentences
    said = [[dictionaries[-1][token] for token in tokens[:-1]] for tokens in targets]
    options = {"device": "cpu", "intra_threads": torch.get_num_threads()}
    if sources is None:
        generator = ctranslate2.Generator(str(folder), **options)
        found = generator.score_batch([["</s>", *words, "</s>"] for words in said])
    else:
        read = [[dictionaries[0][token] for token in tokens[:-1]] for tokens in sources]
        found = ctranslate2.Translator(str(folder), **options).score_batch(read, said, max_input_length=0)
    pairs = zip(expected, found, strict=True)
    return max((ours - torch.tensor(theirs.log_probs)).abs().max().item() for ours, theirs in pairs)


def _describe_padding(parent: Parent) -> list[str]:
    """Lines that say what was padded with zeros, and so costs time that pruning has saved."""
    lines = []
    for stack, padding in padding_of(parent).items():
        parts = [
            f"{count} {SUBLAYERS[kind].part.one if count == 1 else SUBLAYERS[kind].part.many} of {kind}"
            for kind, count in padding.added.items()
        ]
        if parts:
            lines.append(
                f"{stack}: {', '.join(parts)} are zeros, as CTranslate2 gives all attentions of a stack the same number"
                f" of heads ({padding.heads}) and has no layer without a sublayer"
            )
    return lines
