"""Peak memory of an engine: a process of its own loads the model and answers, with no library that it does not need.

python -c "…" ENGINE PATH THREADS INPUTS.npz [DATA]
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import LayerdropError

# `layerdrop_command` first: then the package does not import torch and fairseq for an engine that needs neither
_CODE = "import layerdrop_command; from layerdrop_plugin.evaluation.engines import memory; memory.main()"


def measure(
    engine: str, path: str | os.PathLike, threads: int, batches: list[dict[str, np.ndarray]], data: str = ""
) -> int | None:
    """Bytes that a process held at most which answered *batches*; None where the system does not tell.

    Args:
        engine: ``fairseq``, ``onnxruntime`` or ``transformers``.
        path: of the model.
        threads: threads within one operation.
        batches: inputs as the engine takes them.
        data: the data folder, which fairseq needs.

    Raises:
        LayerdropError: the process failed.
    """
    if not Path("/proc/self/status").is_file():
        return None
    arrays = {f"{number}:{name}": value for number, batch in enumerate(batches) for name, value in batch.items()}
    with tempfile.TemporaryDirectory() as scratch:
        inputs = Path(scratch) / "inputs.npz"
        np.savez(inputs, **arrays)
        command = [sys.executable, "-c", _CODE, engine, str(path), str(threads), str(inputs), str(data)]
        package = str(Path(__file__).resolve().parents[3])
        env = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": os.pathsep.join([package, *sys.path])}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise LayerdropError(f"the process that measures the memory of {path} failed: {last}")
    return int(done.stdout.split()[-1])


def main() -> None:
    """Answer, and print the peak of this process's memory in bytes."""
    engine, path, threads, inputs, data = sys.argv[1:]
    arrays = np.load(inputs)
    batches: list[dict[str, np.ndarray]] = []
    for key in arrays.files:
        number, _, name = key.partition(":")
        if int(number) == len(batches):
            batches.append({})
        batches[-1][name] = arrays[key]
    {"onnxruntime": _onnx, "transformers": _transformers, "fairseq": _fairseq}[engine](
        path, int(threads), batches, data
    )
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    print(1024 * int(status.split("VmHWM:")[1].split()[0]))


def _onnx(path: str, threads: int, batches: list[dict[str, Any]], _data: str) -> None:
    from ...interop.onnx_session import start

    session = start(Path(path), threads)
    for batch in batches:
        session.run(None, batch)


def _transformers(path: str, threads: int, batches: list[dict[str, Any]], _data: str) -> None:
    import torch

    from .hugging_face import load_model

    torch.set_num_threads(threads)
    model = load_model(path)
    with torch.no_grad():
        for batch in batches:
            model(**{name: torch.from_numpy(value) for name, value in batch.items()})


def _fairseq(path: str, threads: int, batches: list[dict[str, Any]], data: str) -> None:
    import torch

    from ... import register

    register()
    from .fairseq_checkpoint import Classifier

    torch.set_num_threads(threads)
    engine = Classifier(path, data, threads, 1, torch.float32)
    for batch in batches:
        engine.run({name: torch.from_numpy(value) for name, value in batch.items()})
