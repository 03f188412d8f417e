"""Which projections of a child are refitted, and towards what."""

import pytest
import random_plans
from hypothesis import given, settings
from hypothesis import strategies as st

from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.repairs import Repair, beyond_repair, repairs
from layerdrop_plugin.pruning.shape import ModelShape, StackShape

ENCODER = StackShape(6, 2, 8, 16)
DECODER = StackShape(3, 2, 8, 16, {"self_attn": (2,) * 3, "encoder_attn": (2,) * 3, "ffn": (8,) * 3})


def named(plan, **stacks):
    """The repairs of *plan* as text: place, and before which layer of the parent."""
    shape = ModelShape(**(stacks or {"encoder": ENCODER}))
    return [f"{repair} -> {repair.until}" for repair in repairs(plan, shape)]


def test_after_lost_layers_each_layer_gives_what_the_next_one_reads():
    plan = Plan(encoder=StackPlan((0, 1, 3, 5)))
    assert named(plan) == ["encoder layer 1 ffn -> 3", "encoder layer 3 ffn -> 5", "encoder layer 5 ffn -> 6"]


def test_layers_before_the_first_loss_are_the_parents():
    assert named(Plan(encoder=StackPlan((0, 1, 2)))) == ["encoder layer 2 ffn -> 6"]
    assert named(Plan(encoder=StackPlan((3, 4, 5)))) == [f"encoder layer {n} ffn -> {n + 1}" for n in (3, 4, 5)]


def test_lost_parts_are_made_up_for_in_their_sublayer():
    plan = Plan(encoder=StackPlan(tuple(range(6)), self_attn={1: (0,), 2: (0, 1)}, ffn={4: (1, 2), 1: ()}))
    assert named(plan) == [
        *("encoder layer 1 self_attn -> None", "encoder layer 1 ffn -> None", "encoder layer 4 ffn -> None"),
    ]


def test_both_at_once():
    plan = Plan(encoder=StackPlan((0, 2, 3), self_attn={2: (1,)}, ffn={2: (1, 2), 3: None}))
    assert named(plan) == [
        "encoder layer 0 ffn -> 2",
        "encoder layer 2 self_attn -> None",
        "encoder layer 2 ffn -> 3",
        "encoder layer 3 self_attn -> 6",
    ]


def test_a_decoder_that_lost_layers_reads_another_encoder():
    encoder, decoder = StackPlan((0, 1)), StackPlan((0, 1), ffn={1: None})
    shapes = {"encoder": ENCODER, "decoder": DECODER}
    assert named(Plan(decoder=decoder), **shapes) == ["decoder layer 1 encoder_attn -> 3"]
    assert named(Plan(encoder, decoder), **shapes)[1:] == [
        *("decoder layer 0 ffn -> 1", "decoder layer 1 encoder_attn -> 3"),
    ]
    assert named(Plan(encoder=encoder, decoder=StackPlan((0, 1, 2))), **shapes) == ["encoder layer 1 ffn -> 6"]


def test_what_cannot_be_repaired_is_said():
    gone = {1: None, 4: None}
    plan = Plan(encoder=StackPlan((1, 4), self_attn=gone, ffn={4: None}))
    lines = beyond_repair(plan, ModelShape(encoder=ENCODER))
    assert len(lines) == 2
    assert "encoder layer 0 was dropped before the first layer" in lines[0]
    assert "encoder layer 4 lost all of its sublayers" in lines[1]
    assert "layers 0 to 2 were" in beyond_repair(Plan(encoder=StackPlan((3,))), ModelShape(encoder=ENCODER))[0]
    assert beyond_repair(Plan(encoder=StackPlan((0, 2))), ModelShape(encoder=ENCODER)) == []


@given(random_plans.shapes(), st.data())
@settings(max_examples=150, deadline=None)
def test_repairs_are_of_what_the_child_has_and_of_every_loss(shape, drawn):
    plan = drawn.draw(random_plans.plans(shape))
    found, cut = repairs(plan, shape), plan.cut(shape)
    for repair in found:
        assert plan.get(repair.stack).layers[repair.position] == repair.layer
        assert cut.get(repair.stack).sizes[repair.kind][repair.position] is not None
    places = [(repair.stack, repair.position, repair.kind) for repair in found]
    assert len(set(places)) == len(places)
    for stack, chosen in plan.items():
        of, left = shape.get(stack), cut.get(stack)
        lost = {
            (stack, position, kind)
            for position, layer in enumerate(chosen.layers)
            for kind, sizes in of.sizes.items()
            if left.sizes[kind][position] is not None and left.sizes[kind][position] < sizes[layer]
        }
        assert lost <= set(places)


@given(random_plans.shapes())
@settings(max_examples=30, deadline=None)
def test_nothing_is_repaired_where_everything_is_kept(shape):
    everything = Plan(**{stack: StackPlan(tuple(range(of.layers))) for stack, of in shape.items()})
    assert repairs(everything, shape) == repairs(Plan(), shape) == []


def test_a_repair_names_its_place():
    assert str(Repair("decoder", 3, "encoder_attn", 1)) == "decoder layer 3 encoder_attn"
    with pytest.raises(AttributeError):
        Repair("decoder", 3, "encoder_attn", 1).layer = 4
