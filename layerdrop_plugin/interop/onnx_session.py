"""ONNX Runtime on the CPU. This file imports neither torch nor fairseq: it runs where people serve a model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import LayerdropError, first_line
from .libraries import library

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MODEL, ENGINE = "model.onnx", "onnxruntime"
INPUTS = ("input_ids", "attention_mask")


def start(model: Path, threads: int) -> "InferenceSession":
    """A session of the graph in the file *model*.

    Raises:
        LayerdropError: the file is no such graph, or onnxruntime is not installed.
    """
    runtime = library(ENGINE)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it has no class of its own
        raise LayerdropError(f"{model} is no model that ONNX Runtime can run: {first_line(error)}") from None


def run(model: Path, inputs: Mapping[str, Sequence], threads: int = 1) -> np.ndarray:
    """The outputs of the graph *model* for ``input_ids`` and ``attention_mask``: logits, or the first hidden states."""
    outputs = start(model, threads).run(None, {name: np.asarray(inputs[name], dtype=np.int64) for name in INPUTS})[0]
    return outputs if outputs.ndim == 2 else outputs[:, 0]
