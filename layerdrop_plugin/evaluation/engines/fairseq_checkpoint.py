"""fairseq's checkpoints in fairseq: classifiers, and translation models by its beam search."""

import os
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ... import data_folder
from ...errors import LayerdropError
from ...model_loading import load_model
from ...modules.inference import ReadyForInference, optimize_for_inference
from ...provenance import describe_checkpoint
from . import memory
from .base import Engine


class FairseqCheckpoint(Engine):
    """A sentence_prediction or translation checkpoint; one object of :class:`Classifier` or :class:`Translator`."""

    def __new__(cls, path: str | os.PathLike, *_args, **_options) -> "FairseqCheckpoint":
        """An object of the class for the kind of model."""
        if cls is not FairseqCheckpoint:
            return super().__new__(cls)
        described, _ = describe_checkpoint(path)
        encodes, decodes = (described[f"{stack}_layers"] is not None for stack in ("encoder", "decoder"))
        translates = decodes and (described["languages"] or not encodes)  # BART's classifiers have a decoder too
        made = super().__new__(Translator if translates else Classifier)
        made.described = described
        return made

    def __init__(self, path: str | os.PathLike, data: str | os.PathLike, threads: int, beam: int, dtype: torch.dtype):
        self.path, self._data, self._threads = str(path), str(data), threads
        self.model, self.task = load_model(path, data)
        if isinstance(self.model, ReadyForInference):
            self.model.inference_dtype = dtype
        elif dtype != torch.float32:
            raise LayerdropError(
                f"a {type(self.model).__name__} is stock fairseq's and knows fp32 only: time it without bf16"
            )
        self.model.eval()
        self._get_ready(beam)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Any path."""
        return True


class Classifier(FairseqCheckpoint):
    """Forward passes of an encoder, BART's decoder too, and its classification head, without gradients."""

    kind = data_folder.CLASSIFICATION
    settings: dict[str, Any] = {}

    def _get_ready(self, _beam: int) -> None:
        self.head = getattr(self.task.cfg, "classification_head_name", None)
        if self.head not in getattr(self.model, "classification_heads", {}):
            raise LayerdropError(f"{self.path} is no sentence_prediction model: it has no classification head")
        longest = self.model.max_positions()
        self.longest = min(longest) if isinstance(longest, tuple) else longest
        if isinstance(self.model, ReadyForInference):
            optimize_for_inference(self.model, self.model.inference_dtype)

    def prepare(self, batch: dict) -> dict[str, torch.Tensor]:
        """The arguments of the model's forward."""
        return batch["net_input"]

    @torch.no_grad()
    def run(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Class scores (sentences, classes)."""
        return self.model(**inputs, features_only=True, classification_head_name=self.head)[0]

    def peak_bytes(self, batches: list[dict[str, torch.Tensor]]) -> int:
        """As :meth:`Engine.peak_bytes`, of a process with fairseq and this plugin."""
        arrays = [{name: np.asarray(value) for name, value in batch.items()} for batch in batches]
        return memory.measure("fairseq", self.path, self._threads, arrays, self._data)


class Translator(FairseqCheckpoint):
    """fairseq's beam search as fairseq-generate runs it, without converting the hypotheses' tokens to text."""

    kind = data_folder.TRANSLATION

    def _get_ready(self, beam: int) -> None:
        from fairseq.dataclass.configs import GenerationConfig

        if not (hasattr(self.model, "encoder") and getattr(self.task.cfg, "target_lang", None)):
            raise LayerdropError(
                f"{self.path} is no translation model: it has no encoder, or its task no target language"
            )
        # Heavily pruned models may repeat words up to the limit: the same limit as in translations.translator.
        generation = GenerationConfig(beam=beam, max_len_a=1.2, max_len_b=10)
        names = ("beam", "nbest", "max_len_a", "max_len_b", "min_len", "lenpen")
        self.settings = {"generation": {name: getattr(generation, name) for name in names}}
        self.longest = self.model.max_positions()[0]
        self.model.prepare_for_inference_(Namespace(generation=generation))  # after which it has no train mode
        self._generator = self.task.build_generator([self.model], generation)

    def prepare(self, batch: dict) -> dict:
        """The batch as it is."""
        return batch

    def run(self, inputs: dict) -> list[list[dict]]:
        """For each sentence, fairseq's hypotheses, the best one first."""
        return self.task.inference_step(self._generator, [self.model], inputs)  # without gradients

    def count(self, outputs: list[list[dict]]) -> int:
        """Target tokens (subwords) of the best hypothesis of every sentence, without end-of-sentence symbols."""
        return sum(len(best["tokens"]) - 1 for best, *_ in outputs)


ENGINE = FairseqCheckpoint
