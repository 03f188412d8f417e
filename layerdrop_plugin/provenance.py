"""What a number was measured with: the checkpoint, the data and the software, so that two people can compare.

Like sacrebleu's signatures, everything here is a plain dictionary that goes into the JSON files that `layerdrop score`,
`layerdrop latency`, `layerdrop report` and `layerdrop curves` leave.
"""

import contextlib
import importlib.metadata
import logging
import platform
from pathlib import Path

import torch

from . import __version__
from .anatomy import FFN_UNITS, HEADS
from .pruning.parent import Parent
from .pruning.surgery import origin_of


def describe_checkpoint(path):
    """A checkpoint in one dictionary.

    Returns:
        dict: `path` as given; `sha256` and `bytes` of the whole file (optimizer state included, if any);
        `encoder_layers` and `decoder_layers`, None where there is no such stack; `heads` and `ffn_units` of all layers
        together; `uniform`: whether all layers of a stack are alike; `parameters` (each learned tensor once);
        `weight_bytes` (the same tensors, as stored); `languages`: [source, target] of a translation model, else None;
        `provenance`: where the checkpoint says that it came from (see pruning/surgery.py, origin_of), or None.

    Raises:
        LayerdropError: the file is no readable fairseq checkpoint.
    """
    parent = Parent.load(path)
    tensors, shape, task = parent.learned_weights, parent.shape, parent.cfg.get("task") or {}
    languages = [task.get("source_lang"), task.get("target_lang")]
    return {
        "path": str(path),
        "sha256": parent.sha256,
        "bytes": Path(path).stat().st_size,
        "encoder_layers": shape.encoder and shape.encoder.layers,
        "decoder_layers": shape.decoder and shape.decoder.layers,
        "heads": shape.count(HEADS),
        "ffn_units": shape.count(FFN_UNITS),
        "uniform": shape.uniform,
        "parameters": parent.parameters,
        "weight_bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()),
        "languages": languages if all(languages) else None,
        "provenance": origin_of(parent.cfg),
    }


def versions():
    """Versions of what computes the numbers; `fairseq` names the distribution too, as there are several."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "fairseq": _fairseq_version(),
        "numpy": importlib.metadata.version("numpy"),
        "layerdrop_plugin": __version__,
    }


@contextlib.contextmanager
def quiet():
    """Keep fairseq's log (which importing fairseq turns on) out of progress bars and tables."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def _fairseq_version():
    for name in importlib.metadata.packages_distributions().get("fairseq", []):
        return f"{name} {importlib.metadata.version(name)}"
    import fairseq  # a checkout on the path: no distribution to ask

    return f"fairseq {fairseq.__version__}"
