"""What export-onnx wrote, in ONNX Runtime on the CPU."""

import numpy as np

from ...interop.onnx_session import MODEL, start
from . import memory
from .exported import Exported


class OnnxRuntime(Exported):
    """model.onnx, in single precision or 8 bits."""

    engine = "onnxruntime"
    model_file = MODEL

    def _load(self) -> None:
        self._session = start(self.file, self.threads)

    def run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Class scores (sentences, classes)."""
        return self._session.run(None, inputs)[0]

    def peak_bytes(self, batches: list[dict[str, np.ndarray]]) -> int:
        """As :meth:`Engine.peak_bytes`, of a process with nothing but ONNX Runtime."""
        return memory.measure(self.engine, self.file, self.threads, batches)


ENGINE = OnnxRuntime
