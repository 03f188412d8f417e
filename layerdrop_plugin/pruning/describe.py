"""Say in words what a plan keeps."""

from ..modules.layer_sizes import ABSENT
from .plan import STACKS, ModelShape, Plan

LONG_PLAN = 2000  # characters of JSON that nobody reads any more, such as of many FFN units
MADE_OF = {"heads": ("self_attn", "encoder_attn"), "FFN units": ("ffn",)}


def describe_kept(plan: Plan, shape: ModelShape) -> list[str]:
    """Lines that say how many layers, heads and FFN units *plan* keeps of a parent of *shape*."""
    lines = []
    for stack in STACKS:
        if getattr(plan, stack) is not None:
            kept, layers = len(getattr(plan, stack).layers), getattr(shape, stack).layers
            lines.append(f"{stack}: {kept} of {layers} layers kept, {1 - kept / layers:.3f} of them dropped")
    before, after = sizes_of(shape), sizes_of(plan.cut(shape))
    for name, kinds in MADE_OF.items():
        named = [key for key in before if key.split(".")[1] in kinds]
        whole = all(stack is None or not any(map(stack.kept, kinds)) for stack in (plan.encoder, plan.decoder))
        if not whole:
            left, total = (sum(size or 0 for key in named for size in sizes[key]) for sizes in (after, before))
            places = "; ".join(f"{key} {format_row(after[key])}" for key in named)
            lines.append(f"{name}: {left:,} of {total:,} kept: {places}")
    return lines


def sizes_of(shape: ModelShape) -> dict[str, tuple[int | None, ...]]:
    """``encoder.self_attn`` and the like -> the heads or FFN units of each layer, None for an absent sublayer."""
    stacks = {stack: getattr(shape, stack) for stack in STACKS if getattr(shape, stack) is not None}
    return {f"{stack}.{kind}": sizes for stack, of in stacks.items() for kind, sizes in of.sizes.items()}


def format_row(sizes: tuple[int | None, ...]) -> str:
    """Sizes of layers as the options write them: ``4,3,-,0``."""
    return ",".join(ABSENT if size is None else str(size) for size in sizes)
