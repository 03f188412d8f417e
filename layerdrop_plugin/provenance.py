"""Provenance of measurements: checkpoint, data, software and command.

Like sacrebleu's signatures, it shows whether two numbers can be compared. It is stored as plain dictionaries in the
JSON files of all commands; :func:`provenance_lines` formats it for the end of a page.
"""

import contextlib
import functools
import importlib.metadata
import json
import logging
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch

from . import __version__
from .anatomy import FFN_UNITS, HEADS
from .pruning.describe import LONG_PLAN
from .pruning.parent import Parent
from .pruning.surgery import origin_of, reconstruction_of


class CheckpointRecord(TypedDict, total=False):
    """Description of a checkpoint in results and latencies.

    Attributes:
        path: path, as given.
        sha256, bytes: SHA-256 and size of the whole file, optimizer state included.
        encoder_layers, decoder_layers: numbers of layers; None if there is no such stack.
        heads, ffn_units: numbers in all layers together.
        uniform: whether all layers of a stack have the same sizes; called ``even`` in files of version 0.1.0.
        parameters: number of elements of the learned tensors; shared tensors are counted once.
        weight_bytes: size of these tensors as stored.
        languages: [source, target] of a translation model, else None.
        engine: of an exported model, the software that it is for (CTranslate2's: with its version, quantization and
            checkpoint, see interop/ct2_folder.py); its ``weight_bytes`` are those of its file.
    """

    path: str
    sha256: str
    bytes: int
    encoder_layers: int | None
    decoder_layers: int | None
    heads: int
    ffn_units: int
    uniform: bool
    parameters: int
    weight_bytes: int
    languages: list[str] | None
    engine: NotRequired[str | dict[str, str]]


def describe_checkpoint(path: str | os.PathLike) -> tuple[CheckpointRecord, dict[str, Any] | None]:
    """Describe the checkpoint *path*.

    Returns:
        The description, and the checkpoint's provenance (see pruning/surgery.py, ``origin_of``), None if it was not
        pruned.

    Raises:
        LayerdropError: the file cannot be read or is not a fairseq checkpoint.
    """
    parent = Parent.load(path, build=False)  # fairseq has built its model to make what is described
    shape, task = parent.shape, parent.cfg.get("task") or {}
    languages = [task.get("source_lang"), task.get("target_lang")]
    described: CheckpointRecord = {
        "path": str(path),
        "sha256": parent.sha256,
        "bytes": Path(path).stat().st_size,
        "encoder_layers": shape.encoder and shape.encoder.layers,
        "decoder_layers": shape.decoder and shape.decoder.layers,
        "heads": shape.count(HEADS),
        "ffn_units": shape.count(FFN_UNITS),
        "uniform": shape.uniform,
        "parameters": parent.parameters,
        "weight_bytes": sum(weight.numel() * weight.element_size() for weight in parent.learned_weights.values()),
        "languages": languages if all(languages) else None,
    }
    return described, origin_of(parent.cfg)


@functools.cache
def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "fairseq": _fairseq_version(),
        "numpy": importlib.metadata.version("numpy"),
        "layerdrop_plugin": __version__,
    }


def versions() -> dict[str, str]:
    """Versions of the software. ``fairseq`` includes the name of its distribution, as there are several."""
    return dict(_versions())


def made_with(command: str | None) -> dict[str, Any]:
    """The entries ``versions`` and ``command`` of every JSON file.

    Args:
        command: the command line; None if unknown.
    """
    return {"versions": versions(), "command": command}


def who_is(result: Mapping[str, Any]) -> str:
    """The name of a *result* in messages and lists: "NAME", or "NAME, seed N"."""
    return result["name"] if result["seed"] is None else f"{result['name']}, seed {result['seed']}"


def provenance_lines(
    records: Iterable[Mapping[str, Any]], command: str | None = None, more: Iterable[str] = ()
) -> list[str]:
    """The provenance of a page's numbers, a line each; commands are in backticks.

    Args:
        records: results (results/record.py), latencies (evaluation/latency.py), or records with the entries of
            ``Session.signature``.
        command: the command that made the page, if it is not in the records.
        more: further lines, placed before the versions.
    """
    records = list(records)
    tests = ((found["split"], examples_of(found), found["data_sha256"]) for found in records if "examples" in found)
    lines = [f"data: split {split}, {examples}, sha256 {digest}" for split, examples, digest in dict.fromkeys(tests)]
    for record in records:
        who, facts = _facts(record)
        lines.append(who + facts)
        same = [other for other in records if other.get("command") == record.get("command")]
        if record.get("command") and record is same[-1]:  # a command that made several records is named once
            lines.append(f"{who if len(same) == 1 else f'these {len(same)}: '}`{record['command']}`")
    lines += more
    used = {json.dumps(record["versions"]) for record in records}
    lines += ["versions: " + " | ".join(map(" ".join, json.loads(found).items())) for found in sorted(used)]
    lines += [f"`{command}`"] if command else []
    return lines


def examples_of(record: Mapping[str, Any]) -> str:
    """The number of measured examples in words, and of those that were too long and left out."""
    left_out = record.get("left_out") or record.get("skipped")  # results have the latter
    return f"{record['examples']} examples" + (f" ({left_out} too long and left out)" if left_out else "")


def _facts(record: Mapping[str, Any]) -> tuple[str, str]:
    """Beginning and contents of the line about *record*."""
    if "models" in record:
        models = ", ".join(f"{model['name']} {model['checkpoint']['sha256'][:16]}" for model in record["models"])
        drawn = f"split {record['split']} of data sha256 {record['data_sha256'][:16]}, seed {record['seed']}"
        return "latency: ", f"checkpoints sha256 {models}; sentences from {drawn}"
    made = record["checkpoint"]
    model = f"checkpoint {made['path']} sha256 {made['sha256'][:16]}" if made else "no model"
    if "metric" not in record:
        return "", f"{model}; seed {record['seed']}, device {record['device']}"
    metric, origin = record["metric"], _parent(record.get("provenance"))
    return f"{who_is(record)}: ", f"{metric['name']} {metric['value']:g}, {model}{origin if made else ''}"


def _parent(origin: Mapping[str, Any] | None) -> str:
    """The plan and the parent of a pruned model as text; empty for a model that was not pruned."""
    if not origin:
        return ""
    parent, plan = (origin["ancestors"][0]["sha256"] or "unknown")[:16], json.dumps(origin["plan"])
    if len(plan) > LONG_PLAN:
        plan = "(in the JSON, too long to read)"
    refitted = "".join(f"; {how}" for how in map(reconstruction_of, origin["ancestors"]) if how)
    return f"; plan {plan} sha256 {origin['plan_sha256'][:16]} of the parent sha256 {parent}{refitted}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress log messages below warnings in this block; importing fairseq turns them on."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def _fairseq_version() -> str:
    for name in importlib.metadata.packages_distributions().get("fairseq", []):
        return f"{name} {importlib.metadata.version(name)}"
    import fairseq  # a checkout on the path: no distribution to ask

    return f"fairseq {fairseq.__version__}"
