"""A plan says what a child keeps of its parent; everything else reads or writes plans."""

import hashlib
import json
import os
import re
import sys
from dataclasses import dataclass, field, replace

from ..anatomy import KINDS, STACKS, SUBLAYERS, Part, kinds_of_part
from ..errors import LayerdropError
from ..safe_reading.json_file import read_json
from .ranges import count_ranges, format_ranges, parse_ranges
from .shape import ModelShape, PerStack, StackShape

VERSION = 1
LISTED = 16  # heads or units of a sublayer that the file lists one by one; more are written as ranges

MOST_PARTS = 1 << 23  # heads and units together
_LAYER = re.compile(r"0|[1-9][0-9]{0,5}")

Kept = dict[int, tuple[int, ...] | None]  # layer -> what it keeps; None: the sublayer is absent


@dataclass(frozen=True)
class StackPlan:
    """What a child keeps of one stack, in the parent's numbers.

    Attributes:
        layers: the layers, ascending.
        self_attn, encoder_attn: for kept layers the heads kept, ascending. An empty tuple keeps the output's bias and
            the LayerNorm; None makes the sublayer absent, LayerNorm included. Layers not named keep all they have.
        ffn: likewise the FFN units.
    """

    layers: tuple[int, ...]
    self_attn: Kept = field(default_factory=dict)
    encoder_attn: Kept = field(default_factory=dict)
    ffn: Kept = field(default_factory=dict)

    def kept(self, kind: str) -> Kept:
        """What is kept of a *kind* of sublayer."""
        return getattr(self, kind)

    def validate(self, shape: StackShape, stack: str) -> None:
        """Raise LayerdropError unless this can be cut out of *shape*."""
        if not self.layers:
            raise LayerdropError(f"the plan keeps no layer of the {stack}: keep at least one")
        _check_ascending(self.layers, shape.layers, "layer", f"the {stack}")
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
            _check_ascending(kept, size, SUBLAYERS[kind].part.one, place)

    def after(self, first: "StackPlan") -> "StackPlan":
        """This plan of a child as a plan of the parent from which *first* cut the child."""
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
        """The shape of what this plan keeps of *shape*."""
        sizes = {
            kind: tuple(_size(self.kept(kind).get(layer, ...), of[layer]) for layer in self.layers)
            for kind, of in shape.sizes.items()
        }
        return replace(shape, layers=len(self.layers), sizes=sizes)

    def to_dict(self, listed: int = LISTED) -> dict:
        """Plain form, as in the JSON file; of sublayers that keep more than *listed* parts as ranges."""
        kinds = {kind: sorted(self.kept(kind).items()) for kind in KINDS if self.kept(kind)}
        plain = {kind: {str(layer): _plain(of, listed) for layer, of in kept} for kind, kept in kinds.items()}
        return {"layers": list(self.layers)} | plain


def _plain(kept: tuple[int, ...] | None, listed: int) -> list[int] | str | None:
    if kept is None:
        return None
    return list(kept) if len(kept) <= listed else format_ranges(kept)


def _size(kept, size: int | None) -> int | None:
    if kept is ...:
        return size
    return None if kept is None or size is None else len(kept)


def _check_ascending(numbers: tuple[int, ...], size: int, part: str, place: str) -> None:
    """Raise LayerdropError unless *numbers* are different numbers below *size*, ascending."""
    if len(set(numbers)) < len(numbers):
        seen = set()
        repeated = next(number for number in numbers if number in seen or seen.add(number))
        raise LayerdropError(f"the plan repeats {part} {repeated} of {place}: name each one once")
    beyond = [number for number in numbers if not 0 <= number < size]
    if beyond:
        has = f"has {size} {part}s, 0 to {size - 1}" if size else f"has no {part}s left"
        raise LayerdropError(f"the plan keeps {part} {beyond[0]}, but {place} {has}")
    if list(numbers) != sorted(numbers):
        raise LayerdropError(f"the plan's {part}s of {place} must ascend: {sorted(numbers)}")


@dataclass(frozen=True)
class Plan(PerStack[StackPlan]):
    """What a child keeps of its parent, per stack; a stack that is None stays whole.

    As JSON: ``{"version": 1, "encoder": {"layers": [1, 3, 5]}, "decoder": {"layers": [0, 2]}}``; with heads and FFN
    units, by layer, ``{"layers": [1, 3], "self_attn": {"1": [0, 2], "3": []}, "ffn": {"3": null}}`` in a stack. Heads
    and units may be ranges, ascending, in a string: ``"ffn": {"1": "0-5,9,12-40"}``.
    """

    def validate(self, shape: ModelShape) -> None:
        """Raise LayerdropError, saying exactly what is wrong, unless this plan can be cut out of *shape*."""
        for stack, plan in self.items():
            of = shape.get(stack)
            if of is None:
                raise LayerdropError(f"the plan prunes a {stack}, but the parent has none: remove {stack!r} from it")
            plan.validate(of, stack)

    def after(self, first: "Plan") -> "Plan":
        """Compose: this plan prunes the child that *first* made; the result is a plan of *first*'s parent."""
        before = dict(first.items())
        mine = {stack: plan.after(before[stack]) if stack in before else plan for stack, plan in self.items()}
        return Plan(**before | mine)

    def names(self, part: Part) -> bool:
        """Whether this says of any sublayer which of such parts it keeps."""
        return any(plan.kept(kind) for _, plan in self.items() for kind in kinds_of_part(part))

    def cut(self, shape: ModelShape) -> ModelShape:
        """The shape of what this plan keeps of *shape*."""
        return replace(shape, **{stack: plan.cut(shape.get(stack)) for stack, plan in self.items()})

    def to_dict(self, listed: int = LISTED) -> dict:
        """Plain form, as in the JSON file; of sublayers that keep more than *listed* parts as ranges."""
        return {"version": VERSION} | {stack: plan.to_dict(listed) for stack, plan in self.items()}

    def to_json(self) -> str:
        """One line of JSON, the plan's file."""
        return json.dumps(self.to_dict())

    def sha256(self) -> str:
        """The plan's fingerprint for reports, of the form that lists all parts."""
        return hashlib.sha256(json.dumps(self.to_dict(sys.maxsize)).encode()).hexdigest()

    @classmethod
    def from_dict(cls, data: object) -> "Plan":
        """The reverse of :meth:`to_dict`.

        Raises:
            LayerdropError: *data* is not a plan of this version; says which part.
        """
        if not isinstance(data, dict) or type(data.get("version")) is not int or data["version"] != VERSION:
            raise LayerdropError(f'a plan is a JSON object with "version": {VERSION}, such as {EXAMPLE}')
        unknown = [key for key in data if key not in ("version", *STACKS)]
        if unknown:
            raise LayerdropError(f"the plan has an unknown part {unknown[0]!r}: it may name {' and '.join(STACKS)}")
        _check_length(data)
        return cls(**{stack: _stack_from_dict(data[stack], stack) for stack in STACKS if data.get(stack) is not None})

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Plan":
        """Read a plan's JSON file.

        Raises:
            LayerdropError: no such file, no JSON, or no plan.
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
    return StackPlan(_numbers(data["layers"], f"layers of the {stack}"), **kinds)


def _kept_from_dict(data, kind: str, stack: str) -> Kept:
    part = SUBLAYERS[kind].part.one
    if not isinstance(data, dict) or not all(_LAYER.fullmatch(str(layer)) for layer in data):
        raise LayerdropError(
            f"the plan's {kind} of the {stack} must say for layers what they keep,"
            f' such as {{"0": [0, 2], "1": []}} ({part}s), or null for a sublayer that goes'
        )
    place = f"{kind} of {stack} layer"
    return {int(layer): _parts(kept, f"{part}s in {place} {layer}") for layer, kept in data.items()}


def _check_length(data: dict) -> None:
    """Raise LayerdropError if the ranges of a plan's *data* name more parts than any model has."""
    lists = [of for stack in data.values() if isinstance(stack, dict) for of in stack.values() if isinstance(of, dict)]
    texts = [text for of in lists for text in of.values() if isinstance(text, str)]
    named = sum(count_ranges(text) for text in texts)
    if named > MOST_PARTS:
        raise LayerdropError(f"the plan names {named:,} parts, which is more than {MOST_PARTS:,}")


def _parts(kept, what: str) -> tuple[int, ...] | None:
    if kept is None:
        return None
    return parse_ranges(kept, f"the plan's {what}") if isinstance(kept, str) else _numbers(kept, what)


def _numbers(data, what: str) -> tuple[int, ...]:
    if not isinstance(data, list) or not all(type(number) is int for number in data):
        raise LayerdropError(f"the plan's {what} must be whole numbers, not {data}")
    return tuple(data)
