"""A plan says what a child keeps of its parent; everything else reads or writes plans."""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path

from ..errors import LayerdropError

VERSION = 1
LATER = ("self_attn", "encoder_attn", "ffn")  # heads and FFN units: room in the format, not prunable yet


@dataclass(frozen=True)
class StackShape:
    """Shape of one stack: number of layers, attention heads and FFN units of each layer, width of the model."""

    layers: int
    heads: int
    ffn: int
    embed_dim: int


@dataclass(frozen=True)
class ModelShape:
    """Shape of a model; ``decoder`` is None where there is none."""

    encoder: StackShape | None = None
    decoder: StackShape | None = None


@dataclass(frozen=True)
class StackPlan:
    """What a child keeps of one stack: ``layers``, the parent's numbers, ascending."""

    layers: tuple[int, ...]

    def validate(self, shape: StackShape, stack: str) -> None:
        """Raise LayerdropError unless this can be cut out of *shape*."""
        if not self.layers:
            raise LayerdropError(f"the plan keeps no layer of the {stack}: keep at least one")
        repeated = [layer for i, layer in enumerate(self.layers) if layer in self.layers[:i]]
        if repeated:
            raise LayerdropError(f"the plan repeats layer {repeated[0]} of the {stack}: name each one once")
        beyond = [layer for layer in self.layers if not 0 <= layer < shape.layers]
        if beyond:
            raise LayerdropError(
                f"the plan keeps layer {beyond[0]}, but the {stack} has {shape.layers} layers, 0 to {shape.layers - 1}"
            )
        if list(self.layers) != sorted(self.layers):
            raise LayerdropError(f"the plan's layers of the {stack} must ascend: {sorted(self.layers)}")

    def after(self, first: "StackPlan") -> "StackPlan":
        """This plan of a child as a plan of the parent from which *first* cut the child."""
        return StackPlan(tuple(first.layers[layer] for layer in self.layers))


@dataclass(frozen=True)
class Plan:
    """What a child keeps of its parent, per stack; a stack that is None stays whole.

    As JSON: ``{"version": 1, "encoder": {"layers": [1, 3, 5]}, "decoder": {"layers": [0, 2]}}``.
    """

    encoder: StackPlan | None = None
    decoder: StackPlan | None = None

    def validate(self, shape: ModelShape) -> None:
        """Raise LayerdropError, saying exactly what is wrong, unless this plan can be cut out of *shape*."""
        for stack in STACKS:
            plan, of = getattr(self, stack), getattr(shape, stack)
            if plan is not None and of is None:
                raise LayerdropError(f"the plan prunes a {stack}, but the parent has none: remove {stack!r} from it")
            if plan is not None:
                plan.validate(of, stack)

    def after(self, first: "Plan") -> "Plan":
        """Compose: this plan prunes the child that *first* made; the result is a plan of *first*'s parent."""
        stacks = {}
        for stack in STACKS:
            mine, theirs = getattr(self, stack), getattr(first, stack)
            stacks[stack] = mine.after(theirs) if mine is not None and theirs is not None else mine or theirs
        return Plan(**stacks)

    def to_dict(self) -> dict:
        """Plain form, as in the JSON file."""
        plans = {stack: getattr(self, stack) for stack in STACKS}
        return {"version": VERSION} | {stack: {"layers": list(p.layers)} for stack, p in plans.items() if p is not None}

    def to_json(self) -> str:
        """One line of JSON, the plan's file."""
        return json.dumps(self.to_dict())

    def sha256(self) -> str:
        """The plan's fingerprint for reports."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @classmethod
    def from_dict(cls, data) -> "Plan":
        """The reverse of :meth:`to_dict`.

        Raises:
            LayerdropError: *data* is not a plan of this version; says which part.
        """
        if not isinstance(data, dict) or data.get("version") != VERSION:
            raise LayerdropError(f'a plan is a JSON object with "version": {VERSION}, such as {EXAMPLE}')
        unknown = [key for key in data if key not in ("version", *STACKS)]
        if unknown:
            raise LayerdropError(f"the plan has an unknown part {unknown[0]!r}: it may name {' and '.join(STACKS)}")
        return cls(**{stack: _stack_from_dict(data[stack], stack) for stack in STACKS if data.get(stack) is not None})

    @classmethod
    def load(cls, path) -> "Plan":
        """Read a plan's JSON file.

        Raises:
            LayerdropError: no such file, no JSON, or no plan.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise LayerdropError(f"cannot read the plan {path}: {error.strerror}") from None
        except ValueError as error:
            raise LayerdropError(f"the plan {path} is not JSON ({error}): it looks like {EXAMPLE}") from None
        try:
            return cls.from_dict(data)
        except LayerdropError as error:
            raise LayerdropError(f"{path}: {error}") from None


STACKS = tuple(field.name for field in fields(Plan))
EXAMPLE = Plan(encoder=StackPlan((1, 3, 5))).to_json()


def _stack_from_dict(data, stack: str) -> StackPlan:
    if not isinstance(data, dict) or not isinstance(data.get("layers"), list):
        raise LayerdropError(f'the plan\'s {stack} needs "layers", a list of the layers to keep')
    for key in data:
        if key in LATER:
            raise LayerdropError(f"the plan names {key!r} of the {stack}: this version prunes whole layers only")
        if key != "layers":
            raise LayerdropError(f"the plan has an unknown part {key!r} in its {stack}")
    if not all(type(layer) is int for layer in data["layers"]):
        raise LayerdropError(f"the plan's layers of the {stack} must be whole numbers, not {data['layers']}")
    return StackPlan(tuple(data["layers"]))
