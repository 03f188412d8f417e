"""A fairseq checkpoint becomes a folder for ONNX Runtime: model.onnx with its real sizes, tokenizer, labels."""

import contextlib
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ..errors import LayerdropError, first_line
from ..output_folder import whole
from . import export_record
from .exportable import Exportable, read
from .libraries import library
from .onnx_encoder import OnnxEncoder
from .onnx_session import ENGINE, INPUTS, MODEL, run, start
from .special_tokens import write_special_tokens
from .tokenizer import TOKENIZER

LABELS = "labels.json"
OPSET = 17  # the first with LayerNormalization
INT8_TOLERANCE = 0.1  # an answer in 8 bits rounds otherwise on another processor
_FLOAT = 1  # onnx.TensorProto.FLOAT


def export_folder(
    source: str | os.PathLike,
    target: str | os.PathLike,
    data: str | os.PathLike | None = None,
    int8: bool = False,
    command: str | None = None,
) -> list[str]:
    """Make the folder *target* of the checkpoint *source*.

    Args:
        data: folder with the model's dictionaries and tokenizer; that of the checkpoint by default.
        int8: quantise weights and products.
        command: the command line, for the record.

    Returns:
        Lines that say what was done.

    Raises:
        LayerdropError: the checkpoint or what must lie beside it cannot be used, onnx or onnxruntime is not installed,
            the graph's answers are not those of the checkpoint, or *target* exists.
    """
    library(ENGINE), library("onnx")  # what is not installed is better known before the work
    with whole(target) as out, tempfile.TemporaryDirectory() as scratch:
        found = read(source, data)
        traced = Path(scratch) / "traced.onnx"
        _trace(found, traced)
        differences = [_difference(found, traced)]
        if not differences[0] <= export_record.TOLERANCE:
            raise LayerdropError(
                f"{source}: the graph's answers differ from the checkpoint's by {differences[0]:.1g}: please report it"
            )
        lines, fused = _fuse(found, traced, Path(scratch) / "fused.onnx")
        examples = export_record.examples_of(found)
        examples.pop("token_type_ids", None)  # the graph tells segments by their separators
        if int8:
            _quantise(fused, out / MODEL)
            outputs = run(out / MODEL, examples)
            lines.append(_moved(found, outputs, examples))
            examples["outputs"] = outputs.tolist()
        else:
            (out / MODEL).write_bytes(fused.read_bytes())
        _write_words(found, out)
        quantised = {"quantization": "int8", "tolerance": INT8_TOLERANCE} if int8 else {}
        about = {"examples": examples, "segments": False, "fused": fused != traced, **quantised}
        export_record.write_record(out, found, ENGINE, command, **about)
        shape, size = found.parent.shape.encoder, (out / MODEL).stat().st_size / 1e6
    output = f"logits of {len(found.labels) or 1} classes" if found.answers else "last_hidden_state"
    shown = (
        f"{shape.layers} layers x {shape.embed_dim}, {len(found.rows):,} rows of embeddings: {output}, {size:.1f} MB"
    )
    return [shown, *lines]


def _trace(found: Exportable, path: Path) -> None:
    """Write the graph by torch's exporter, traced on an example with padding, which would otherwise be left out."""
    graph = OnnxEncoder(found.model, found.rows, found.head_name if found.answers else None).eval()
    rows = export_record.random_rows(found)[-2:]
    inputs = export_record.as_inputs(found, rows)
    output = "logits" if found.answers else "last_hidden_state"
    places = {name: {0: "batch", 1: "length"} for name in INPUTS}
    places[output] = {0: "batch"} if found.answers else {0: "batch", 1: "length"}
    with _silent():
        torch.onnx.export(
            graph,
            tuple(inputs[name] for name in INPUTS),
            str(path),
            input_names=list(INPUTS),
            output_names=[output],
            dynamic_axes=places,
            opset_version=OPSET,
            dynamo=False,
        )
    found.model.eval()  # the exporter leaves it in the mode that it found parts of it in


def _difference(found: Exportable, path: Path) -> float:
    """By how much the graph's answers differ from the checkpoint's, for other batches and lengths too."""
    rows, runtime, largest = export_record.random_rows(found), start(path, 1), 0.0
    shorter = rows[1:2, : int(rows[1].ne(export_record.PADDING).sum())]
    for batch in (rows, rows[:3], rows[-3:], shorter):
        inputs = export_record.as_inputs(found, batch)
        outputs = runtime.run(None, {name: inputs[name].numpy() for name in INPUTS})[0]
        expected = export_record.answers(found, batch).numpy()
        if not found.answers:
            visible = inputs["attention_mask"].bool().numpy()
            outputs, expected = outputs[visible], expected[visible]
        largest = max(largest, export_record.largest_difference(outputs, expected))
    return largest


def _fuse(found: Exportable, traced: Path, path: Path) -> tuple[list[str], Path]:
    """Let ONNX Runtime's optimizer fuse the graph; returns lines to say and the graph to take.

    The traced one is taken where the optimizer fails or moves an answer.
    """
    try:
        optimizer = library("onnxruntime.transformers.optimizer")
        options = library("onnxruntime.transformers.fusion_options").FusionOptions("bert")
        options.enable_embed_layer_norm = False  # it has no place for our map of ids
        with _silent():
            fused = optimizer.optimize_model(
                str(traced), "bert", num_heads=0, hidden_size=0, opt_level=0, optimization_options=options
            )
            fused.save_model_to_file(str(path))
        difference = _difference(found, path)
    except LayerdropError:
        raise
    except Exception as error:  # a graph that it does not know, by whatever it hits upon
        return [f"not fused: ONNX Runtime's optimizer fails ({first_line(error)})"], traced
    if not difference <= export_record.TOLERANCE:
        return [f"not fused: ONNX Runtime's optimizer would move answers by {difference:.1g}"], traced
    done = {name: count for name, count in fused.get_fused_operator_statistics().items() if count}
    said = ", ".join(f"{count} {name}" for name, count in done.items())
    return [f"fused: {said or 'nothing'}; answers differ from the checkpoint's by {difference:.1g}"], path


def _quantise(source: Path, target: Path) -> None:
    quantization = library("onnxruntime.quantization")
    options = {"weight_type": quantization.QuantType.QInt8, "extra_options": {"DefaultTensorType": _FLOAT}}
    with _silent():  # it recommends a preprocessing that cannot read fused graphs
        quantization.quantize_dynamic(str(source), str(target), **options)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Suppress warnings, and log messages below errors: the libraries here tell every step."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)


def _moved(found: Exportable, outputs: np.ndarray, examples: dict) -> str:
    """A line that says what 8 bits did to the examples' answers."""
    expected = np.asarray(examples["outputs"])
    moved = f"8 bits: answers to random sentences moved by up to {np.abs(outputs - expected).max():.2g}"
    if found.head != "classification":
        return moved
    same = int((outputs.argmax(1) == expected.argmax(1)).sum())
    return f"{moved}, {same} of {len(outputs)} have the same class; measure your own: layerdrop evaluate"


def _write_words(found: Exportable, out: Path) -> None:
    """Write tokenizer.json, which pads and truncates to what the model can read, and labels.json."""
    tokenizer, padding = found.tokenizer.tokenizer, found.tokenizer.special["<pad>"]
    tokenizer.enable_padding(pad_id=found.tokenizer.ids["<pad>"], pad_token=padding)
    tokenizer.enable_truncation(found.model.max_positions())
    tokenizer.save(str(out / TOKENIZER), pretty=False)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    write_special_tokens(out, found.tokenizer.special)
    if found.labels:
        (out / LABELS).write_text(json.dumps(list(found.labels), ensure_ascii=False) + "\n", encoding="utf-8")
