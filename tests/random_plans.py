"""Random shapes, plans and scores for property-based tests, and what a plan does to lists of numbers."""

from hypothesis import strategies as st

from layerdrop_plugin.anatomy import STACKS
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.scores import Scores
from layerdrop_plugin.pruning.shape import ModelShape, StackShape

KINDS = {"encoder": ("self_attn", "ffn"), "decoder": ("self_attn", "encoder_attn", "ffn")}


@st.composite
def stack_shapes(draw, kinds, most_layers: int = 4):
    """A stack whose sublayers may be whole, smaller, empty or absent."""
    layers, heads, ffn = draw(st.integers(1, most_layers)), draw(st.integers(1, 4)), draw(st.integers(1, 6))
    sizes = {
        kind: tuple(draw(st.none() | st.integers(0, ffn if kind == "ffn" else heads)) for _ in range(layers))
        for kind in kinds
    }
    return StackShape(layers, heads, ffn, 4 * heads, sizes)


@st.composite
def shapes(draw):
    """A model with an encoder, a decoder or both."""
    stacks = draw(st.sampled_from([("encoder",), ("decoder",), STACKS]))
    return ModelShape(**{stack: draw(stack_shapes(KINDS[stack])) for stack in stacks})


def subsets(size: int):
    """Ascending tuples of different numbers below *size*."""
    numbers = st.sets(st.integers(0, size - 1)) if size else st.just(set())
    return numbers.map(lambda kept: tuple(sorted(kept)))


@st.composite
def stack_plans(draw, shape: StackShape):
    """A plan that can be cut out of a stack of *shape*."""
    layers = draw(subsets(shape.layers).filter(bool))
    kept = {kind: {} for kind in shape.sizes}
    for kind, sizes in shape.sizes.items():
        for layer in layers:
            if draw(st.booleans()):
                kept[kind][layer] = draw(st.none() | subsets(sizes[layer] or 0))
    return StackPlan(layers, **kept)


@st.composite
def plans(draw, shape: ModelShape, only_layers: bool = False):
    """A plan that can be cut out of a model of *shape*."""
    stacks = {}
    for stack in STACKS:
        of = shape.get(stack)
        if of is not None and draw(st.booleans()):
            stacks[stack] = StackPlan(draw(subsets(of.layers).filter(bool))) if only_layers else draw(stack_plans(of))
    return Plan(**stacks)


def parts_of(shape: ModelShape) -> dict[str, list[dict]]:
    """Per stack the layers, each the numbers of the parts in its sublayers (None: absent)."""
    stacks = {stack: shape.get(stack) for stack in STACKS if shape.get(stack) is not None}
    return {
        stack: [
            {kind: None if sizes[layer] is None else list(range(sizes[layer])) for kind, sizes in of.sizes.items()}
            for layer in range(of.layers)
        ]
        for stack, of in stacks.items()
    }


def apply(plan: Plan, parts: dict[str, list[dict]]) -> dict[str, list[dict]]:
    """What *plan* leaves of *parts*, one list at a time."""
    left = {}
    for stack, layers in parts.items():
        chosen = plan.get(stack)
        left[stack] = []
        for number in range(len(layers)) if chosen is None else chosen.layers:
            layer = dict(layers[number])
            for kind, numbers in layer.items():
                named = chosen is not None and number in chosen.kept(kind)
                if named and (numbers is None or chosen.kept(kind)[number] is None):
                    layer[kind] = None
                elif named:
                    layer[kind] = [numbers[part] for part in chosen.kept(kind)[number]]
            left[stack].append(layer)
    return left


def sizes_of(parts: dict[str, list[dict]]) -> dict[str, tuple]:
    """How many parts are in each sublayer, as StackShape.sizes by stack."""
    return {
        stack: {
            kind: tuple(None if layer[kind] is None else len(layer[kind]) for layer in layers) for kind in KINDS[stack]
        }
        for stack, layers in parts.items()
    }


def importance_of(shape: ModelShape, score) -> Scores:
    """Scores of a model of *shape*; *score* is called for each number."""
    scores = {}
    for stack in STACKS:
        of = shape.get(stack)
        if of is not None:
            for kind, sizes in of.sizes.items():
                scores[f"{stack}.{kind}"] = [[score() for _ in range(size or 0)] for size in sizes]
            scores[f"{stack}.layers"] = [score() for _ in range(of.layers)]
    about = {"method": "random", "model": None, "data": None, "examples": 1, "loss": None, "per": None}
    return Scores.of(scores, scores, **about, signature={})
