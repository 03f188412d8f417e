"""Describe in words which layers, heads and FFN units a plan keeps."""

from collections.abc import Mapping

from ..anatomy import PARTS
from ..modules.layer_sizes import format_row
from .plan import Plan
from .shape import ModelShape

LONG_PLAN = 2000  # plans with more characters of JSON are not printed


def describe_kept(plan: Plan, shape: ModelShape, rows: Mapping[str, int]) -> list[str]:
    """Lines with the numbers of layers, heads, FFN units and embedding rows that *plan* keeps of a parent.

    Args:
        plan: the plan.
        shape: shape of the parent.
        rows: side -> number of rows of the parent's embedding, if the plan says which of them it keeps.
    """
    lines = []
    for stack, chosen in plan.items():
        kept, layers = len(chosen.layers), shape.get(stack).layers
        lines.append(f"{stack}: {kept} of {layers} layers kept, {1 - kept / layers:.3f} of them dropped")
    child = plan.cut(shape)
    for part in PARTS.values():
        if plan.names(part):
            places = "; ".join(f"{key} {format_row(sizes)}" for key, sizes in child.sizes(part).items())
            lines.append(f"{part.many}: {child.count(part):,} of {shape.count(part):,} kept: {places}")
    for side, kept in [] if plan.vocabulary is None else plan.vocabulary.items():
        which = f"{side} vocabulary" if len(rows) > 1 else "vocabulary"
        lines.append(f"{which}: {len(kept):,} of {rows[side]:,} embedding rows kept")
    return lines
