"""A table of how long sublayers of several sizes take on this machine, kept in a file for the next time.

Each entry is the time of a layer that has this sublayer only, LayerNorm and residual connection included, with some of
its heads or units; sizes in between are interpolated.
"""

import functools
import hashlib
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from .. import checkpoint
from ..errors import LayerdropError
from ..modules.convert import resized
from ..modules.inference import ReadyForInference, optimize_for_inference
from ..modules.layer_stack import LayerStack
from ..modules.onednn_linear import PACK
from ..modules.sublayers import Sublayers
from ..pruning.costs import Costs, PerSize
from ..pruning.gates import model_shape, stacks_of
from ..pruning.shape import ModelShape
from ..safe_reading.json_file import read_json
from . import rounds
from .forward_passes import Passes
from .latency import cpu_name

TYPE = "layerdrop.sublayer_times"
ROUNDS = 5
LEAST = 0.01  # seconds of a turn: shorter calls are repeated
EIGHTHS = (0, 1, 2, 4, 6, 8)  # sizes that are measured, of all heads or units of a sublayer

Times = dict[str, dict[int, float]]  # stack and kind -> number of heads or units -> seconds


@dataclass(frozen=True)
class Setting:
    """What is timed, and where.

    Attributes:
        device: the device.
        batch, length: number of sentences and of tokens in each; source and target have the same length.
        threads: number of torch's threads within one operation.
    """

    device: torch.device
    batch: int
    length: int
    threads: int

    def machine(self) -> dict[str, object]:
        """What the times depend on beside the model."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else cpu_name()
        packed = os.environ.get(PACK, "")
        return {
            "device": name,
            "cores": os.cpu_count(),
            "torch": torch.__version__,
            "threads": self.threads,
            PACK: packed,
        }

    def of_model(self, model: nn.Module) -> dict[str, object]:
        """What the times depend on beside the machine: sizes of sublayers and sentences."""
        shape, stacks = model_shape(model), {}
        for name, of in shape.items():
            first = next(layer for layer in stacks_of(model)[name] if isinstance(layer, Sublayers))
            activation = getattr(first.activation_fn, "__name__", "")
            stacks[name] = {"width": of.embed_dim, "heads": of.heads, "pre-norm": first.normalize_before}
            stacks[name] |= {
                "activation": activation,
                "largest": {kind: _largest(row) for kind, row in of.sizes.items()},
            }
        return {"batch": self.batch, "length": self.length, "stacks": stacks}


def _largest(sizes: tuple[int | None, ...]) -> int:
    return max(size or 0 for size in sizes)


def costs_of(times: Times, shape: ModelShape, outside: float = 0.0, factor: float = 1.0) -> Costs:
    """The costs of a model of *shape* by a table, each of whose entries is multiplied by *factor*.

    Between two entries they are interpolated; a larger sublayer never costs less.

    Args:
        outside: what all children cost beside their sublayers.
    """
    tables = {key: factor * _every_size(of) for key, of in times.items()}
    rows: dict[str, tuple[PerSize | None, ...]] = {}
    for stack, of in shape.items():
        for kind, sizes in of.sizes.items():
            table = tables[f"{stack}.{kind}"].tolist()
            rows[f"{stack}.{kind}"] = tuple(None if size is None else tuple(table[: size + 1]) for size in sizes)
    layers = {stack: (0.0,) * of.layers for stack, of in shape.items()}
    return Costs("time", outside, layers, rows)


def _every_size(times: dict[int, float]) -> np.ndarray:
    """Seconds (largest + 1,) of every size."""
    sizes = sorted(times)
    return np.maximum.accumulate(np.interp(np.arange(sizes[-1] + 1), sizes, [times[size] for size in sizes]))


def load_or_measure(model: nn.Module, setting: Setting, path: str | os.PathLike | None) -> tuple[Times, str]:
    """The table for *model*, from the file *path* if it was measured on such a machine, else measured and written.

    Args:
        model: a model on the device, in evaluation mode, whose weights are not packed yet; it is not changed.
        setting: what is timed.
        path: the file; by default one in the user's cache folder.

    Returns:
        The table, and a line that says where it comes from.

    Raises:
        LayerdropError: the file is there, but no such table; or it cannot be written.
    """
    machine, of_model = setting.machine(), setting.of_model(model)
    path, said = Path(path or _cached(of_model, setting)), "measured"
    if path.exists():
        found = read_json(path, "the table of sublayer times")
        if not isinstance(found, dict) or found.get("type") != TYPE or found.get("version") != 1:
            raise LayerdropError(f"{path} is no table of sublayer times: name another file, or delete it")
        if found.get("machine") == machine and found.get("model") == of_model:
            return _times_in(found, path), f"times of sublayers: from {path}"
        other = "model, or of sentences of another size" if found.get("machine") == machine else "machine or setting"
        said = f"measured again, as the file was of another {other}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LayerdropError(f"cannot make the folder {path.parent}: {error.strerror}") from None
    checkpoint.check_target(path)
    times = measure(model, setting)
    record = {"type": TYPE, "version": 1, "machine": machine, "model": of_model, "times": times}
    checkpoint.write_text_atomic(path, json.dumps(record, indent=1) + "\n")
    return times, f"times of sublayers: {said} ({path})"


def _cached(of_model: dict, setting: Setting) -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "layerdrop_plugin"
    text = json.dumps([of_model, setting.device.type, setting.threads], sort_keys=True)
    return folder / f"sublayer-times-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def _times_in(found: dict, path: Path) -> Times:
    try:
        times = {key: {int(size): float(seconds) for size, seconds in of.items()} for key, of in found["times"].items()}
        whole = all(0 in of and all(0 < second < math.inf for second in of.values()) for of in times.values())
        keys = {f"{stack}.{kind}" for stack, of in found["model"]["stacks"].items() for kind in of["largest"]}
        whole = whole and set(times) == keys and all(_reaches(times, found["model"], key) for key in keys)
    except (AttributeError, KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise LayerdropError(f"the table of sublayer times {path} is damaged: delete it")
    return times


def _reaches(times: Times, model: dict, key: str) -> bool:
    stack, kind = key.split(".")
    return max(times[key]) == model["stacks"][stack]["largest"][kind]


def measure(model: nn.Module, setting: Setting, clock: Callable[[], float] = time.perf_counter) -> Times:
    """Time the sublayers of *model* with several numbers of heads and units, in turn; medians of ROUNDS rounds."""
    calls, places = {}, {}
    for stack, layers in stacks_of(model).items():
        for kind, sizes in model_shape(model).get(stack).sizes.items():
            for size in sorted({math.ceil(part * _largest(sizes) / 8) for part in EIGHTHS}):
                name = f"{stack}.{kind} {size}"
                calls[name], places[name] = _call(model, layers, kind, size, setting), (f"{stack}.{kind}", size)
    passes = Passes(calls, setting.device)
    longest = _longest(passes, calls, clock)
    turn = [None] * max(1, math.ceil(LEAST / max(longest, 1e-6)))
    with tqdm(total=(ROUNDS + 1) * len(calls), desc="sublayers", unit="turn") as progress:
        seconds, _ = rounds.time_rounds(passes, list(calls), {"": [turn]}, ROUNDS, progress.update, clock)
    times: Times = {}
    for name, (key, size) in places.items():
        times.setdefault(key, {})[size] = statistics.median(seconds[name][""]) / len(turn)
    return times


def _longest(passes: Passes, calls: Mapping[str, object], clock: Callable[[], float]) -> float:
    """Seconds of the slowest of *calls*, all of which run once before."""
    longest = 0.0
    for name in calls:
        passes.run(name, [None])
        start = clock()
        passes.run(name, [None])
        longest = max(longest, clock() - start)
    return longest


class _One(ReadyForInference):
    """One layer, as a model that can be packed for inference."""

    def __init__(self, layer: Sublayers):
        super().__init__()
        self.layer = layer


def _call(model: nn.Module, layers: LayerStack, kind: str, size: int, setting: Setting) -> Callable[[], object]:
    """A forward pass of a layer like those of *layers* that has only a sublayer of *kind*, with *size* parts."""
    shape = model_shape(model)
    of = shape.get(layers.stack)
    largest = max(range(of.layers), key=lambda layer: of.sizes[kind][layer] or 0)
    sizes = dict.fromkeys(of.sizes) | {kind: size if of.sizes[kind][largest] is not None else None}
    layer = resized(layers[largest], sizes)
    optimize_for_inference(_One(layer).eval().to(setting.device))
    x = torch.randn(setting.length, setting.batch, of.embed_dim, device=setting.device)
    if layers.stack == "encoder":
        return functools.partial(layer, x, None)
    encoded = None
    if shape.encoder is not None:
        encoded = torch.randn(setting.length, setting.batch, shape.encoder.embed_dim, device=setting.device)
    future = torch.full((setting.length, setting.length), -math.inf, device=setting.device).triu(1)
    return functools.partial(layer, x, encoded, self_attn_mask=future)
