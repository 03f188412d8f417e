"""Scores of a model's parts, such as the importance of its heads (Michel et al. 2019), and their file.

Scores have the following keys, as far as the model has such parts: ``encoder.self_attn``, ``decoder.self_attn`` and
``decoder.encoder_attn`` (for each layer a row with a score for each head), ``encoder.ffn`` and ``decoder.ffn`` (for
each layer a row with a score for each FFN unit), ``encoder.layers`` and ``decoder.layers`` (a score for each layer).
The row of a sublayer that is absent or has no parts left is empty.
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
Rows = dict[str, list]  # key -> a row of numbers for each layer; for *.layers a number for each layer


@dataclass(frozen=True)
class Scores:
    """Scores of one model's parts; parts with low scores are removed first.

    Attributes:
        method: name of the method of scoring, such as ``importance``.
        model: fingerprint of the scored weights; None if they changed during the estimation (in training).
        data: SHA-256 of the data; None if the method needs none.
        examples: number of examples over which the scores are averaged.
        loss: the criterion's loss, averaged over the examples; None if none was computed.
        per: ``example`` or ``token``: whether absolute values and squares were taken of the gradients of examples or of
            tokens; None for methods without gradients.
        scores: key (see anatomy.KEYS) -> scores.
        normalized: likewise, each row (for ``*.layers`` the whole list) divided by its l2 norm, unless that is 0.
        standard_error: likewise, the standard errors of *scores*.
        signature: provenance: command, seed, versions.
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
        """Make an instance from computed scores, whose rows may be tensors; they are normalised here.

        Args:
            scores, standard_error: key -> scores and standard errors.
            method, model, data, examples, loss, per, signature: see the class.

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
        """Write the JSON file *path* atomically."""
        checkpoint.write_text_atomic(path, json.dumps({"version": VERSION} | vars(self), allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Scores":
        """Read the JSON file *path* of scores.

        Raises:
            LayerdropError: the file cannot be read, is not JSON, has another version, or its scores are invalid.
        """
        data = read_json(path, "the importance file")
        try:
            return cls(**_known(data))
        except LayerdropError as error:
            raise LayerdropError(f"the importance file {path} cannot be used: {error}") from None

    def check(self, shape: ModelShape, model_sha256: str | None, path: str | os.PathLike) -> None:
        """Check that these are the scores of the given model.

        Args:
            shape: shape of the model that is to be pruned.
            model_sha256: its :func:`fingerprint`; None skips the comparison of the weights.
            path: path of the scores' file, for messages.

        Raises:
            LayerdropError: the scores are of a model with another shape or other weights.
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
    """SHA-256 of the weights of the stacks' layers, converted to single precision.

    It is the same for a checkpoint and for the model that is loaded from it.

    Args:
        weights: name -> tensor, with the names of fairseq 0.12; weights outside the layers are ignored.
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
    """Divide each of *rows* by its l2 norm; a list of numbers is one row. Rows of zeros stay zero."""
    if rows and not isinstance(rows[0], list):
        return _unit(rows)
    return [_unit(row) for row in rows]


def _unit(row: list[float]) -> list[float]:
    norm = math.hypot(*row)
    return [score / norm if norm else 0.0 for score in row]


def _plain(rows) -> list:
    """Convert rows (tensors, lists, or None for an absent sublayer), or one row of numbers, to lists of floats."""
    rows = rows.tolist() if hasattr(rows, "tolist") else rows
    if rows and _all_numbers(rows):
        return list(map(float, rows))
    return [_plain(row) if row is None or _is_row(row) else float(row) for row in rows or []]


def _is_row(value) -> bool:
    return isinstance(value, (list, tuple)) or len(getattr(value, "shape", ())) > 0


def _known(data) -> dict:
    """The fields of :class:`Scores` in *data*, the contents of a file."""
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
    """Whether *row* has finite numbers only; without a Python loop, as a row may have thousands of FFN units."""
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
        if row and len(row) != (size or 0):  # parts that cannot be gated have no scores
            place = f"{kind} of {stack} layer {layer}"
            raise LayerdropError(
                f"{path} has scores of {len(row)} {SUBLAYERS[kind].part.one}s in {place}, but the model has"
                f" {size or 0}: it is another model's"
            )
