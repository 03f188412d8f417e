"""What a number was measured with: the checkpoint, the data and the software, so that two people can compare.

Like sacrebleu's signatures, everything here is a plain dictionary or a hash that goes into the JSON files that
`layerdrop score`, `layerdrop latency` and `layerdrop report` leave.
"""

import contextlib
import hashlib
import importlib.metadata
import logging
import platform
from pathlib import Path

import torch

from . import __version__, checkpoint
from .errors import LayerdropError
from .pruning import shapes


def describe_checkpoint(path):
    """A checkpoint in one dictionary.

    Returns:
        dict: `path` as given; `sha256` and `bytes` of the whole file (optimizer state included, if any);
        `encoder_layers`; `parameters` (each learned tensor once); `weight_bytes` (the same tensors, as stored);
        `provenance`: where the checkpoint says that it came from (see pruning/surgery.py), or None.

    Raises:
        LayerdropError: the file is no readable fairseq checkpoint.
    """
    state = checkpoint.read(path)
    tensors = shapes.learned_weights(state)
    return {
        "path": str(path),
        "sha256": checkpoint.sha256(path),
        "bytes": Path(path).stat().st_size,
        "encoder_layers": shapes.shape_of(state).encoder.layers,
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "weight_bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()),
        "provenance": state["cfg"].get(checkpoint.PROVENANCE) or None,
    }


def count_examples(data, split):
    """Number of examples of a split of a sentence_prediction data folder (its `input0`).

    Raises:
        LayerdropError: the split is missing, unreadable or empty.
    """
    from fairseq.data import data_utils

    prefix = Path(data) / "input0" / split
    if not prefix.with_name(f"{split}.idx").is_file():
        raise LayerdropError(f"no split '{split}' in {data}: {prefix}.idx is missing")
    contents = prefix.with_name(f"{split}.bin")
    if contents.is_file() and contents.stat().st_size == 0:  # fairseq cannot even open it
        raise LayerdropError(f"the split '{split}' in {data} has no examples")
    try:
        with quiet():
            dataset = data_utils.load_indexed_dataset(str(prefix))
    except Exception as error:  # a foreign or truncated file fails in many ways, all of them the same news
        raise LayerdropError(f"cannot read {prefix}.idx: {error}") from error
    return len(dataset)


def data_sha256(data, split):
    """SHA-256 over a split's binarised files and labels and all dictionaries: names and contents, in name order.

    Two folders have the same hash if and only if a model sees the same test in both.

    Raises:
        LayerdropError: no such files.
    """
    root = Path(data)
    examples = list(root.glob(f"*/{split}.*"))
    if not examples:
        raise LayerdropError(f"no split '{split}' in {data}")
    digest = hashlib.sha256()
    for path in sorted([*examples, *root.glob("*/dict.txt")]):
        digest.update(f"{path.relative_to(root).as_posix()}\0{checkpoint.sha256(path)}\n".encode())
    return digest.hexdigest()


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
