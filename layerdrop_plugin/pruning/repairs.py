"""What of a plan's child can be repaired without training: which output projections, and what they should give."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..anatomy import KINDS
from .plan import Plan, StackPlan
from .shape import ModelShape, StackShape

FULL, SCALE = "full", "scale"  # fit all weights of a projection, or one factor for each head or unit
METHODS = (FULL, SCALE)


@dataclass(frozen=True)
class Repair:
    """An output projection that is to be refitted.

    Attributes:
        stack, layer, kind: its place; the layer is the parent's number.
        position: the child's number of the layer.
        until: the layer should give what the parent gives before its layer *until* (its number of layers: at the end
            of the stack); None if the projection should give what the parent's gives.
    """

    stack: str
    layer: int
    kind: str
    position: int
    until: int | None = None

    def __str__(self):
        return f"{self.stack} layer {self.layer} {self.kind}"


def repairs(plan: Plan, shape: ModelShape) -> list[Repair]:
    """The projections to refit, in the order in which the model runs them.

    Where parts of a sublayer are gone, its projection is fitted to the parent's sublayer. In a stack that has lost
    layers or whole sublayers, the last sublayer of each layer is fitted to what the parent gives before the next layer
    that is kept, from the first layer on whose output differs from the parent's.

    Args:
        plan: what the child keeps; it must be valid.
        shape: shape of the parent.
    """
    found: list[Repair] = []
    for stack, of in shape.items():
        if plan.get(stack) is not None:
            found += _of_stack(stack, plan.get(stack), of, differs=bool(found))
    return found


def _of_stack(stack: str, plan: StackPlan, shape: StackShape, differs: bool) -> Iterator[Repair]:
    """The repairs of a *stack*; *differs* says whether what it reads of another stack is not the parent's."""
    by_layer = len(plan.layers) < shape.layers or any(_lost_sublayers(plan, shape, layer) for layer in plan.layers)
    ends = (*plan.layers[1:], shape.layers)
    differs |= plan.layers[0] > 0
    for position, (layer, until) in enumerate(zip(plan.layers, ends, strict=True)):
        kept = [kind for kind in _kinds(shape, layer) if plan.kept(kind).get(layer, ()) is not None]
        cut = [kind for kind in kept if _lost_parts(plan, shape, kind, layer)]
        differs |= bool(cut or _lost_sublayers(plan, shape, layer) or until > layer + 1)
        last = kept[-1] if by_layer and differs and kept else None
        yield from (Repair(stack, layer, kind, position) for kind in cut if kind != last)
        if last:
            yield Repair(stack, layer, last, position, until)


def _kinds(shape: StackShape, layer: int) -> list[str]:
    """The kinds of sublayers that the parent's *layer* has, in the order in which it runs them."""
    return [kind for kind in KINDS if kind in shape.sizes and shape.sizes[kind][layer] is not None]


def _lost_sublayers(plan: StackPlan, shape: StackShape, layer: int) -> list[str]:
    return [kind for kind in _kinds(shape, layer) if plan.kept(kind).get(layer, ()) is None]


def _lost_parts(plan: StackPlan, shape: StackShape, kind: str, layer: int) -> bool:
    kept = plan.kept(kind).get(layer)
    return kept is not None and len(kept) < shape.sizes[kind][layer]


def beyond_repair(plan: Plan, shape: ModelShape) -> list[str]:
    """Lines on what the *plan* removes of a parent of *shape* that no refitted projection can make up for."""
    lines = []
    for stack, chosen in plan.items():
        first = chosen.layers[0]
        if first:
            which = "layer 0 was" if first == 1 else f"layers 0 to {first - 1} were"
            lines.append(
                f"{stack} {which} dropped before the first layer that is kept: nothing stands there to repair that"
            )
        for layer in chosen.layers:
            lost = _lost_sublayers(chosen, shape.get(stack), layer)
            if lost and len(lost) == len(_kinds(shape.get(stack), layer)):
                lines.append(f"{stack} layer {layer} lost all of its sublayers: nothing in it can be repaired")
    return lines
