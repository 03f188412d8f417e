"""Plans: which layers, heads and FFN units a child keeps of its parent."""

import hashlib
import json
import os
import re
import sys
from dataclasses import dataclass, field, replace

from ..anatomy import KINDS, STACKS, SUBLAYERS, Part, kinds_of_part
from ..errors import LayerdropError
from ..safe_reading.json_file import read_json
from .ranges import check_ascending, count_ranges, plain_numbers, read_kept, read_numbers
from .shape import ModelShape, PerStack, StackShape
from .vocabulary import VocabularyPlan

VERSION = 1
VOCABULARY = "vocabulary"  # key beside the stacks: the rows of the embeddings
LISTED = 16  # up to this number, the heads or units of a sublayer are listed in the file; more are written as ranges

MOST_PARTS = 1 << 23  # heads, units and rows of embeddings together
_LAYER = re.compile(r"0|[1-9][0-9]{0,5}")

Kept = dict[int, tuple[int, ...] | None]  # layer -> heads or units that it keeps; None makes the sublayer absent


@dataclass(frozen=True)
class StackPlan:
    """What a child keeps of one stack. All numbers are the parent's.

    Attributes:
        layers: the kept layers, ascending.
        self_attn, encoder_attn: kept layer -> the heads that it keeps, ascending. An empty tuple keeps the output's
            bias and the LayerNorm; None makes the sublayer absent, LayerNorm included. Layers without an entry keep all
            their heads.
        ffn: likewise for FFN units.
    """

    layers: tuple[int, ...]
    self_attn: Kept = field(default_factory=dict)
    encoder_attn: Kept = field(default_factory=dict)
    ffn: Kept = field(default_factory=dict)

    def kept(self, kind: str) -> Kept:
        """The entries for the sublayers of a *kind*."""
        return getattr(self, kind)

    def validate(self, shape: StackShape, stack: str) -> None:
        """Raise LayerdropError if this plan does not fit *shape*, the shape of the parent's *stack*."""
        if not self.layers:
            raise LayerdropError(f"the plan keeps no layer of the {stack}: keep at least one")
        check_ascending(self.layers, shape.layers, "layer", f"the {stack}")
        for kind in KINDS:
            for layer, kept in self.kept(kind).items():
                self._validate_sublayer(kind, layer, kept, shape, stack)

    def _validate_sublayer(self, kind: str, layer: int, kept, shape: StackShape, stack: str) -> None:
        place = f"{kind} of {stack} layer {layer}"
        if kind not in shape.sizes:
            raise LayerdropError(f"the plan names {place}, but the {stack} has no {kind}: remove {kind!r} from it")
        if layer not in self.layers:
            raise LayerdropError(f"the plan names {place}, a layer that it does not keep: remove it there")
        size = shape.sizes[kind][layer]
        if kept and size is None:
            raise LayerdropError(
                f"the plan keeps {SUBLAYERS[kind].part.one}s in {place}, which the parent does not have"
            )
        if kept:
            check_ascending(kept, size, SUBLAYERS[kind].part.one, place)

    def after(self, first: "StackPlan") -> "StackPlan":
        """Compose: *first* prunes a parent and this plan prunes the result; returns one plan of the parent."""
        composed = {}
        for kind in KINDS:
            mine, theirs = self.kept(kind), first.kept(kind)
            composed[kind] = {}
            for number in self.layers:
                layer = first.layers[number]
                if number in mine and theirs.get(layer) is not None and mine[number] is not None:
                    composed[kind][layer] = tuple(theirs[layer][part] for part in mine[number])
                elif number in mine or layer in theirs:
                    absent = layer in theirs and theirs[layer] is None
                    composed[kind][layer] = None if absent else mine.get(number, theirs.get(layer))
        return StackPlan(tuple(first.layers[layer] for layer in self.layers), **composed)

    def cut(self, shape: StackShape) -> StackShape:
        """The shape of the child's stack, *shape* being the parent's."""
        sizes = {
            kind: tuple(_size(self.kept(kind).get(layer, ...), of[layer]) for layer in self.layers)
            for kind, of in shape.sizes.items()
        }
        return replace(shape, layers=len(self.layers), sizes=sizes)

    def to_dict(self, listed: int = LISTED) -> dict:
        """The contents of the JSON file; sublayers that keep more than *listed* parts have them as ranges."""
        kinds = {kind: sorted(self.kept(kind).items()) for kind in KINDS if self.kept(kind)}
        plain = {kind: {str(layer): plain_numbers(of, listed) for layer, of in kept} for kind, kept in kinds.items()}
        return {"layers": list(self.layers)} | plain


def _size(kept, size: int | None) -> int | None:
    if kept is ...:
        return size
    return None if kept is None or size is None else len(kept)


@dataclass(frozen=True)
class Plan(PerStack[StackPlan]):
    """What a child keeps of its parent, for each stack; a stack that is None is kept whole.

    As JSON: ``{"version": 1, "encoder": {"layers": [1, 3, 5]}, "decoder": {"layers": [0, 2]}}``. A stack with heads and
    FFN units: ``{"layers": [1, 3], "self_attn": {"1": [0, 2], "3": []}, "ffn": {"3": null}}``. Heads and units may also
    be a string of ascending ranges: ``"ffn": {"1": "0-5,9,12-40"}``. Rows of the embeddings likewise:
    ``"vocabulary": {"source": "0-3,7-90"}``.

    Attributes:
        vocabulary: the rows of the embeddings that are kept; None keeps all. :meth:`VocabularyPlan.validate` needs
            their number, which is not part of a shape.
    """

    vocabulary: VocabularyPlan | None = None

    def validate(self, shape: ModelShape) -> None:
        """Raise LayerdropError, with the reason, if this plan does not fit a parent of *shape*."""
        for stack, plan in self.items():
            of = shape.get(stack)
            if of is None:
                raise LayerdropError(f"the plan prunes a {stack}, but the parent has none: remove {stack!r} from it")
            plan.validate(of, stack)

    def after(self, first: "Plan") -> "Plan":
        """Compose: *first* prunes a parent and this plan prunes the child; returns one plan of the parent."""
        before = dict(first.items())
        mine = {stack: plan.after(before[stack]) if stack in before else plan for stack, plan in self.items()}
        rows = [plan.vocabulary for plan in (first, self) if plan.vocabulary is not None]
        return Plan(**before | mine, vocabulary=rows[-1].after(rows[0]) if len(rows) == 2 else next(iter(rows), None))

    def names(self, part: Part) -> bool:
        """Whether this plan has entries for heads, or for FFN units, as *part* says."""
        return any(plan.kept(kind) for _, plan in self.items() for kind in kinds_of_part(part))

    def cut(self, shape: ModelShape) -> ModelShape:
        """The shape of the child of a parent of *shape*."""
        return replace(shape, **{stack: plan.cut(shape.get(stack)) for stack, plan in self.items()})

    def to_dict(self, listed: int = LISTED) -> dict:
        """The contents of the JSON file; sublayers that keep more than *listed* parts have them as ranges."""
        vocabulary = {} if self.vocabulary is None else {VOCABULARY: self.vocabulary.to_dict(listed)}
        return {"version": VERSION} | {stack: plan.to_dict(listed) for stack, plan in self.items()} | vocabulary

    def to_json(self) -> str:
        """The contents of the JSON file as text, one line."""
        return json.dumps(self.to_dict())

    def sha256(self) -> str:
        """SHA-256 of the plan, in the form that lists all parts."""
        return hashlib.sha256(json.dumps(self.to_dict(sys.maxsize)).encode()).hexdigest()

    @classmethod
    def from_dict(cls, data: object) -> "Plan":
        """Read a plan from *data*, in the form of :meth:`to_dict`.

        Raises:
            LayerdropError: *data* is not a plan of this version; the message names the invalid entry.
        """
        if not isinstance(data, dict) or type(data.get("version")) is not int or data["version"] != VERSION:
            raise LayerdropError(f'a plan is a JSON object with "version": {VERSION}, such as {EXAMPLE}')
        unknown = [key for key in data if key not in ("version", *STACKS, VOCABULARY)]
        if unknown:
            parts = f"{', '.join(STACKS)} and {VOCABULARY}"
            raise LayerdropError(f"the plan has an unknown part {unknown[0]!r}: it may name {parts}")
        _check_length(data)
        stacks = {stack: _stack_from_dict(data[stack], stack) for stack in STACKS if data.get(stack) is not None}
        rows = data.get(VOCABULARY)
        return cls(**stacks, vocabulary=None if rows is None else VocabularyPlan.from_dict(rows))

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Plan":
        """Read the JSON file *path* of a plan.

        Raises:
            LayerdropError: the file cannot be read, is not JSON or is not a plan.
        """
        try:
            return cls.from_dict(read_json(path, "the plan"))
        except LayerdropError as error:
            raise error if str(path) in str(error) else LayerdropError(f"{path}: {error}") from None


EXAMPLE = Plan(encoder=StackPlan((1, 3, 5))).to_json()


def _stack_from_dict(data, stack: str) -> StackPlan:
    if not isinstance(data, dict) or not isinstance(data.get("layers"), list):
        raise LayerdropError(f'the plan\'s {stack} needs "layers", a list of the layers to keep')
    unknown = [key for key in data if key not in ("layers", *KINDS)]
    if unknown:
        raise LayerdropError(f"the plan has an unknown part {unknown[0]!r} in its {stack}")
    kinds = {kind: _kept_from_dict(data[kind], kind, stack) for kind in KINDS if data.get(kind) is not None}
    return StackPlan(read_numbers(data["layers"], f"layers of the {stack}"), **kinds)


def _kept_from_dict(data, kind: str, stack: str) -> Kept:
    part = SUBLAYERS[kind].part.one
    if not isinstance(data, dict) or not all(_LAYER.fullmatch(str(layer)) for layer in data):
        raise LayerdropError(
            f"the plan's {kind} of the {stack} must say for layers what they keep,"
            f' such as {{"0": [0, 2], "1": []}} ({part}s), or null for a sublayer that goes'
        )
    place = f"{kind} of {stack} layer"
    return {int(layer): read_kept(kept, f"{part}s in {place} {layer}") for layer, kept in data.items()}


def _check_length(data: dict) -> None:
    """Raise LayerdropError if the ranges in *data*, a plan, name more than MOST_PARTS parts."""
    texts, inside = [], list(data.values())
    while inside:
        value = inside.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, dict):
            inside += value.values()
    named = sum(count_ranges(text) for text in texts)
    if named > MOST_PARTS:
        raise LayerdropError(f"the plan names {named:,} parts, which is more than {MOST_PARTS:,}")
