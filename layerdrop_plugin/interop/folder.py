"""A Hugging Face folder: its configuration and its weights, read without executing anything in them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkpoint import loading_errors
from ..errors import LayerdropError
from .libraries import library
from .special_tokens import read_json

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "config.json"
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"  # with .index.json behind them: the list of shards
_FIRST_NAMES = {"gamma": "weight", "beta": "bias"}  # of a LayerNorm's weights


def read_config(folder: Path) -> dict:
    """config.json of *folder*.

    Raises:
        LayerdropError: there is none, or no JSON object in it.
    """
    if not folder.is_dir():
        raise LayerdropError(f"{folder} is no folder: name one with {CONFIG} and weights, as save_pretrained writes it")
    if not (folder / CONFIG).is_file():
        raise LayerdropError(f"{folder} has no {CONFIG}: it is not a folder that save_pretrained wrote")
    return read_json(folder / CONFIG)


def weight_files(folder: Path) -> list[Path]:
    """The files with the weights of *folder*: safetensors if there are any, else those of torch.save.

    Raises:
        LayerdropError: there are none, or shards are missing.
    """
    for name in (SAFE, PICKLED):
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = sorted(set(read_json(index).get("weight_map", {}).values()))
            missing = [shard for shard in shards if not (folder / shard).is_file()]
            if missing or not shards:
                raise LayerdropError(
                    f"{index} names {', '.join(missing) or 'no shards'}, not in the folder: copy it whole"
                )
            return [folder / shard for shard in shards]
    raise LayerdropError(f"{folder} has no weights: neither {SAFE} nor {PICKLED}, nor an index of shards of either")


def read_weights(folder: Path, prefix: str) -> tuple[dict[str, "Tensor"], dict[str, str]]:
    """The weights of *folder* under today's names without the model's *prefix*, and name -> name in the file.

    Raises:
        LayerdropError: they cannot be read, or the file is not plain data.
    """
    weights, names = {}, {}
    for path in weight_files(folder):
        for name, value in _tensors(path):
            short = re.sub(r"(LayerNorm)\.(gamma|beta)$", lambda m: f"{m[1]}.{_FIRST_NAMES[m[2]]}", name)
            short = short.removeprefix(prefix)
            weights[short], names[short] = value, name
    return weights, names


def read_safetensors(path: Path) -> dict[str, "Tensor"]:
    """name -> tensor of the file *path*.

    Raises:
        LayerdropError: it cannot be read.
    """
    try:
        return library("safetensors.torch").load_file(path)
    except (library("safetensors").SafetensorError, OSError) as error:
        raise LayerdropError(f"{path} is no whole safetensors file ({error}): copy it again") from None


def _tensors(path: Path) -> Iterator[tuple[str, "Tensor"]]:
    if path.suffix == ".safetensors":
        yield from read_safetensors(path).items()
        return
    import torch

    with loading_errors(path):
        found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise LayerdropError(f"{path} does not hold a model's weights by name")
    yield from found.items()
