"""What export-hf wrote, in transformers."""

from typing import Any

import numpy as np
import torch

from ...errors import LayerdropError, first_line
from ...interop.folder import SAFE
from . import memory
from .exported import Exported


class HuggingFace(Exported):
    """A folder that AutoModelForSequenceClassification loads, with torch's scaled_dot_product_attention."""

    engine = "transformers"
    model_file = SAFE

    def _load(self) -> None:
        self._model = load_model(self.folder)

    def prepare(self, batch: dict) -> dict[str, torch.Tensor]:
        """As :meth:`Exported.prepare`, in tensors; without a mask where there is no padding, as people call it."""
        return self._given(super().prepare(batch))

    def _given(self, inputs: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}

    @torch.no_grad()
    def run(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Class scores (sentences, classes)."""
        return self._model(**inputs).logits

    def peak_bytes(self, batches: list[dict[str, torch.Tensor]]) -> int:
        """As :meth:`Engine.peak_bytes`, of a process with transformers and torch."""
        arrays = [{name: value.numpy() for name, value in batch.items()} for batch in batches]
        return memory.measure(self.engine, self.folder, self.threads, arrays)


def load_model(folder: Any) -> torch.nn.Module:
    """The model in *folder*.

    Raises:
        LayerdropError: transformers is not installed, or does not load it.
    """
    try:
        import transformers
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        raise LayerdropError(
            f"transformers is not installed, in which {folder} runs: run  pip install transformers  or leave it out"
        ) from None
    try:
        transformers.utils.logging.set_verbosity_error()
        found = transformers.AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="sdpa")
    except Exception as error:  # whatever its parts raise
        raise LayerdropError(f"transformers cannot load {folder}: {first_line(error)}") from error
    return found.eval()


ENGINE = HuggingFace
