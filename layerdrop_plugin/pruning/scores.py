"""Scores of a model's parts, such as its heads' importance (Michel et al. 2019), and the file that holds them.

A file has scores of what a model has of: ``encoder.self_attn``, ``decoder.self_attn``, ``decoder.encoder_attn`` (a row
of heads for each layer), ``encoder.ffn``, ``decoder.ffn`` (a row of FFN units for each layer), ``encoder.layers`` and
``decoder.layers`` (a number for each layer). The row of a sublayer that is absent or has no parts left is empty.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from .. import checkpoint
from ..anatomy import KEYS, LAYERS, STACKS, SUBLAYERS
from ..errors import LayerdropError
from ..safe_reading.json_file import read_json
from .shape import ModelShape

if TYPE_CHECKING:
    import torch

VERSION = 1
Rows = dict[str, list]  # key -> rows, one per layer, of numbers; of *.layers one number per layer


@dataclass(frozen=True)
class Scores:
    """Scores of one model's parts; parts with low scores are those to remove first.

    Attributes:
        method: what the scores are: ``importance`` or a baseline's name.
        model: fingerprint of the weights that were scored, None where training moved them on.
        data: SHA-256 of the data, None where none was needed.
        examples: number of examples that the scores are means over.
        loss: mean over the examples of the criterion's loss, None where none was computed.
        per: ``example`` or ``token``: what absolute values were taken of; None where that means nothing.
        scores: key (see anatomy.KEYS) -> rows.
        normalized: likewise, each row divided by its l2 norm (of ``*.layers`` the whole list), 0 where that is 0.
        standard_error: likewise, the standard errors of *scores*.
        signature: how it was made: command, seed, versions.
    """

    method: str
    model: str | None
    data: str | None
    examples: int
    loss: float | None
    per: str | None
    scores: Rows
    normalized: Rows
    standard_error: Rows
    signature: dict

    def __post_init__(self):
        for name in ("scores", "normalized", "standard_error"):
            _check_scores(getattr(self, name), name)
            if _lengths(getattr(self, name)) != _lengths(self.scores):
                raise LayerdropError(f"its {name!r} have other rows than its 'scores'")
        for stack in STACKS:
            counts = {len(rows) for key, rows in self.scores.items() if key.startswith(f"{stack}.")}
            if len(counts) > 1:
                raise LayerdropError(f"its scores of the {stack} have different numbers of layers: {sorted(counts)}")

    @classmethod
    def of(
        cls,
        scores: Mapping,
        standard_error: Mapping,
        *,
        method: str,
        model: str | None,
        data: str | None,
        examples: int,
        loss: float | None,
        per: str | None,
        signature: dict,
    ) -> "Scores":
        """Scores just computed; rows may be tensors.

        Raises:
            LayerdropError: a score is not finite.
        """
        plain = {key: _plain(rows) for key, rows in scores.items()}
        try:
            _check_scores(plain, "scores")
            return cls(
                method=method,
                model=model,
                data=data,
                examples=int(examples),
                loss=None if loss is None else float(loss),
                per=per,
                scores=plain,
                normalized={key: normalize(rows) for key, rows in plain.items()},
                standard_error={key: _plain(rows) for key, rows in standard_error.items()},
                signature=signature,
            )
        except LayerdropError as error:
            raise LayerdropError(f"the scores by {method} cannot be used: {error}") from None

    def save(self, path: str | os.PathLike) -> None:
        """Write the file *path*: whole or not at all."""
        checkpoint.write_text_atomic(path, json.dumps({"version": VERSION} | vars(self), allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Scores":
        """Read a file of scores.

        Raises:
            LayerdropError: no such file, no JSON, another version, or scores that are no numbers or do not fit.
        """
        data = read_json(path, "the importance file")
        try:
            return cls(**_known(data))
        except LayerdropError as error:
            raise LayerdropError(f"the importance file {path} cannot be used: {error}") from None

    def check(self, shape: ModelShape, model_sha256: str | None, path: str | os.PathLike) -> None:
        """Refuse scores of another model.

        Args:
            shape: of the model that is to be pruned.
            model_sha256: its :func:`fingerprint`, None where it is not known.
            path: what to call these scores in an error.

        Raises:
            LayerdropError: scores of another shape, or of a model with other weights.
        """
        for key, rows in self.scores.items():
            stack, kind = key.split(".")
            of = shape.get(stack)
            if of is None or (kind != LAYERS and kind not in of.sizes):
                raise LayerdropError(f"{path} has scores of {key}, which the model does not have: it is another one's")
            if len(rows) != of.layers:
                raise LayerdropError(
                    f"{path} has scores of {len(rows)} {stack} layers, but the model has {of.layers}:"
                    " it is another model's"
                )
            if kind != LAYERS:
                _check_sizes(rows, of.sizes[kind], kind, stack, path)
        if self.model and model_sha256 and self.model != model_sha256:
            raise LayerdropError(
                f"{path} was estimated on a model with other weights: estimate it on this one (layerdrop importance)"
            )


def fingerprint(weights: "Mapping[str, torch.Tensor]") -> str:
    """SHA-256 over the weights of the stacks' layers in *weights* (name -> tensor, names as fairseq's of today).

    The same for a checkpoint and for the live model that it makes, whatever the precision it is stored in can hold.
    """
    import torch

    from .weights import LAYER

    digest = hashlib.sha256()
    for name, key in sorted((key.replace(".sentence_encoder.", "."), key) for key in weights if LAYER.match(key)):
        weight = weights[key].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name}\0{list(weight.shape)}\0".encode())
        digest.update(weight.numpy().tobytes())
    return digest.hexdigest()


def normalize(rows: list) -> list:
    """Each of *rows* divided by its l2 norm; *rows* of plain numbers are one row."""
    if rows and not isinstance(rows[0], list):
        return _unit(rows)
    return [_unit(row) for row in rows]


def _unit(row: list[float]) -> list[float]:
    norm = math.hypot(*row)
    return [score / norm if norm else 0.0 for score in row]


def _plain(rows) -> list:
    """Rows (tensors, lists, None for an absent sublayer) or one row of numbers, as lists of Python's floats."""
    rows = rows.tolist() if hasattr(rows, "tolist") else rows
    if rows and _all_numbers(rows):
        return list(map(float, rows))
    return [_plain(row) if row is None or _is_row(row) else float(row) for row in rows or []]


def _is_row(value) -> bool:
    return isinstance(value, (list, tuple)) or len(getattr(value, "shape", ())) > 0


def _known(data) -> dict:
    """The fields in a file's *data*."""
    if not isinstance(data, dict) or type(data.get("version")) is not int or data["version"] != VERSION:
        raise LayerdropError(f'it is no JSON object with "version": {VERSION}')
    names = [entry.name for entry in fields(Scores)]
    missing = [name for name in names if name not in data]
    if missing:
        raise LayerdropError(f"it has no {missing[0]!r}")
    if not isinstance(data["method"], str) or not isinstance(data["signature"], dict):
        raise LayerdropError("its 'method' must be a string, its 'signature' an object")
    if type(data["examples"]) is not int or not (data["loss"] is None or _all_finite([data["loss"]])):
        raise LayerdropError("its 'examples' must be a whole number, its 'loss' a finite one or null")
    if not all(data[name] is None or isinstance(data[name], str) for name in ("model", "data", "per")):
        raise LayerdropError("its 'model', 'data' and 'per' must be strings or null")
    return {name: data[name] for name in names}


def _check_scores(scores, name: str) -> None:
    """Raise LayerdropError unless *scores* has a row of finite numbers for each layer."""
    if not isinstance(scores, dict) or not scores:
        raise LayerdropError(f"its {name!r} are no map from {KEYS[0]!r} and the like to rows")
    for key, rows in scores.items():
        if key not in KEYS:
            raise LayerdropError(f"its {name!r} have an unknown part {key!r}: use {', '.join(KEYS)}")
        flat = key.endswith(f".{LAYERS}")
        if not isinstance(rows, list) or not (flat or all(isinstance(row, list) for row in rows)):
            raise LayerdropError(f"its {name!r} of {key} are no list with a row for each layer")
        for row in [rows] if flat else rows:
            if not _all_finite(row):
                bad = next(number for number in row if not _all_finite([number]))
                raise LayerdropError(f"its {name!r} of {key} have {str(bad)[:20]} where a finite number should be")


def _all_finite(row: list) -> bool:
    """Whether *row* has finite numbers only; without a step of Python's for each of many FFN units."""
    try:
        return _all_numbers(row) and all(map(math.isfinite, row))
    except OverflowError:  # an integer beyond what a float can hold
        return False


def _all_numbers(row: list) -> bool:
    return {int, float}.issuperset(map(type, row))


def _lengths(scores: Rows) -> dict:
    return {
        key: len(rows) if key.endswith(f".{LAYERS}") else [len(row) for row in rows] for key, rows in scores.items()
    }


def _check_sizes(rows: list, sizes: tuple, kind: str, stack: str, path) -> None:
    for layer, (row, size) in enumerate(zip(rows, sizes, strict=True)):
        if row and len(row) != (size or 0):  # what cannot be gated has no scores
            place = f"{kind} of {stack} layer {layer}"
            raise LayerdropError(
                f"{path} has scores of {len(row)} {SUBLAYERS[kind].part.one}s in {place}, but the model has"
                f" {size or 0}: it is another model's"
            )
