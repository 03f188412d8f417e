import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_plans import apply, parts_of, plans, shapes, sizes_of, stack_shapes

from layerdrop_plugin.anatomy import KINDS
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.shape import ModelShape, StackShape

SHAPE = ModelShape(
    encoder=StackShape(
        layers=6,
        heads=2,
        ffn=8,
        embed_dim=4,
        sizes={"self_attn": (2, 2, 0, None, 2, 2), "ffn": (8, 8, 8, 8, 8, 8)},
    )
)


def layers_of(count: int):
    return st.sets(st.integers(0, count - 1), min_size=1).map(lambda kept: tuple(sorted(kept)))


@given(layers_of(12))
def test_json_round_trip_of_layers(layers):
    plan = Plan(encoder=StackPlan(layers))
    assert Plan.from_dict(json.loads(plan.to_json())) == plan


@given(st.data())
def test_json_round_trip(data):
    plan = data.draw(plans(data.draw(shapes())))
    again = Plan.from_dict(json.loads(plan.to_json()))
    assert again == plan
    assert again.sha256() == plan.sha256()


def test_the_file_is_small_and_readable(tmp_path):
    text = '{"version": 1, "encoder": {"layers": [1, 3, 5]}}'
    (tmp_path / "plan.json").write_text(text)
    plan = Plan.load(tmp_path / "plan.json")
    assert plan == Plan(encoder=StackPlan((1, 3, 5)))
    assert plan.to_json() == text


def test_heads_units_and_sublayers_in_the_file():
    text = '{"version": 1, "decoder": {"layers": [1, 3], "self_attn": {"1": [0, 2], "3": []}, "ffn": {"3": null}}}'
    plan = Plan.from_dict(json.loads(text))
    assert plan == Plan(decoder=StackPlan((1, 3), self_attn={1: (0, 2), 3: ()}, ffn={3: None}))
    assert plan.to_json() == text


def test_many_parts_are_written_as_ranges_and_both_forms_are_read():
    """A plan of FFN units stays small, and means and hashes to what the list of them does."""
    units = (*range(6), 9, *range(12, 41))
    plan = Plan(encoder=StackPlan((1, 3), self_attn={1: (0, 2)}, ffn={1: units, 3: tuple(range(16))}))
    stack = plan.to_dict()["encoder"]
    assert stack == {
        "layers": [1, 3],
        "self_attn": {"1": [0, 2]},
        "ffn": {"1": "0-5,9,12-40", "3": list(range(16))},
    }
    listed = {"version": 1, "encoder": stack | {"ffn": {"1": list(units), "3": "0-15"}}}
    assert Plan.from_dict(json.loads(plan.to_json())) == Plan.from_dict(listed) == plan
    assert (
        plan.sha256() == hashlib.sha256(json.dumps(listed | {"encoder": plan.encoder.to_dict(99)}).encode()).hexdigest()
    )


def test_the_file_does_not_depend_on_the_order_of_layers():
    one, other = (Plan(encoder=StackPlan((0, 1), ffn=kept)) for kept in ({0: (), 1: (2,)}, {1: (2,), 0: ()}))
    assert one.to_json() == other.to_json()


@given(st.data())
def test_plans_of_layers_compose(data):
    first = data.draw(layers_of(9))
    second = data.draw(layers_of(len(first)))
    third = data.draw(layers_of(len(second)))
    a, b, c = (Plan(encoder=StackPlan(layers)) for layers in (first, second, third))
    assert c.after(b).after(a) == c.after(b.after(a))
    assert [list(range(9))[layer] for layer in b.after(a).encoder.layers] == [first[layer] for layer in second]
    assert Plan().after(a) == a == a.after(Plan())


@given(st.data())
def test_plans_compose(data):
    shape = data.draw(shapes())
    a = data.draw(plans(shape))
    b = data.draw(plans(a.cut(shape)))
    c = data.draw(plans(b.cut(a.cut(shape))))
    assert c.after(b).after(a) == c.after(b.after(a))
    assert Plan().after(a) == a == a.after(Plan())
    parts = parts_of(shape)
    assert apply(b.after(a), parts) == apply(b, apply(a, parts))
    b.after(a).validate(shape)
    assert b.after(a).cut(shape) == b.cut(a.cut(shape))


@given(st.data())
def test_the_shape_of_what_is_kept(data):
    shape = data.draw(shapes())
    plan = data.draw(plans(shape))
    plan.validate(shape)
    left = sizes_of(apply(plan, parts_of(shape)))
    for stack, sizes in left.items():
        cut = plan.cut(shape).get(stack)
        assert cut.sizes == sizes
        assert cut.layers == len(sizes["ffn"])
        assert all(cut.whole(kind) == shape.get(stack).whole(kind) for kind in sizes)


@given(stack_shapes(("self_attn", "ffn")), st.sampled_from(KINDS), st.data())
def test_a_plan_that_names_too_much_is_refused(shape, kind, data):
    layer = data.draw(st.integers(0, shape.layers - 1))
    size = (shape.sizes.get(kind) or {layer: None})[layer]
    plan = StackPlan(tuple(range(shape.layers)), **{kind: {layer: (size or 0,)}})
    with pytest.raises(LayerdropError, match=f"{kind} of encoder layer {layer}"):
        plan.validate(shape, "encoder")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "not JSON"),
        ("[1]", '"version": 1'),
        ('{"version": 2}', '"version": 1'),
        ('{"version": 1, "endcoder": {}}', "endcoder"),
        ('{"version": 1, "encoder": [1]}', "layers"),
        ('{"version": 1, "encoder": {"layers": ["1"]}}', "whole numbers"),
        ('{"version": 1, "encoder": {"layers": [true]}}', "whole numbers"),
        ('{"version": 1, "encoder": {"layers": [1], "ffn": [2]}}', "must say for layers what they keep"),
        ('{"version": 1, "encoder": {"layers": [1], "ffn": {"one": [2]}}}', "must say for layers what they keep"),
        (
            '{"version": 1, "encoder": {"layers": [1], "ffn": {"1": "0-2,2"}}}',
            "units in ffn of encoder layer 1 have '2' where a number or range",
        ),
        ('{"version": 1, "encoder": {"layers": [1], "ffn": {"1": "5-8"}}}', "keeps unit 8, but ffn of encoder layer 1"),
        (
            '{"version": 1, "encoder": {"layers": [1], "ffn": {"1": 2}}}',
            "units in ffn of encoder layer 1 must be whole",
        ),
        (
            '{"version": 1, "encoder": {"layers": [1], "self_attn": {"1": ["a"]}}}',
            "heads in self_attn of encoder layer",
        ),
        ('{"version": 1, "encoder": {"layers": [1], "x": 2}}', "'x'"),
        ('{"version": 1, "encoder": {"layers": []}}', "no layer"),
        ('{"version": 1, "encoder": {"layers": [1, 1]}}', "repeats layer 1"),
        ('{"version": 1, "encoder": {"layers": [6]}}', "layer 6, but the encoder has 6"),
        ('{"version": 1, "encoder": {"layers": [-1]}}', "layer -1"),
        ('{"version": 1, "encoder": {"layers": [2, 1]}}', "ascend"),
        ('{"version": 1, "decoder": {"layers": [0]}}', "the parent has none"),
        ('{"version": 1, "encoder": {"layers": [1], "self_attn": {"0": []}}}', "a layer that it does not keep"),
        ('{"version": 1, "encoder": {"layers": [1], "encoder_attn": {"1": []}}}', "the encoder has no encoder_attn"),
        ('{"version": 1, "encoder": {"layers": [1], "self_attn": {"1": [2]}}}', "has 2 heads, 0 to 1"),
        ('{"version": 1, "encoder": {"layers": [1], "self_attn": {"1": [-1]}}}', "keeps head -1"),
        ('{"version": 1, "encoder": {"layers": [1], "self_attn": {"1": [0, 0]}}}', "repeats head 0 of self_attn"),
        ('{"version": 1, "encoder": {"layers": [1], "self_attn": {"1": [1, 0]}}}', "must ascend: .0, 1."),
        ('{"version": 1, "encoder": {"layers": [2], "self_attn": {"2": [0]}}}', "has no heads left"),
        ('{"version": 1, "encoder": {"layers": [3], "self_attn": {"3": [0]}}}', "which the parent does not have"),
        (
            '{"version": 1, "encoder": {"layers": [1], "ffn": {"1": [8]}}}',
            "keeps unit 8, but ffn of encoder layer 1 has",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, message, tmp_path):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(LayerdropError, match=message) as caught:
        Plan.load(tmp_path / "plan.json").validate(SHAPE)
    assert "\n" not in str(caught.value)


def test_checking_a_plan_takes_steps_in_proportion_to_its_units():
    """A quadratic check of as many would take minutes."""
    units = tuple(range(200_000))
    shape = ModelShape(encoder=StackShape(layers=1, heads=1, ffn=len(units) + 1, embed_dim=4))
    Plan(encoder=StackPlan((0,), ffn={0: units})).validate(shape)
    with pytest.raises(LayerdropError, match="repeats unit 199999 "):
        Plan(encoder=StackPlan((0,), ffn={0: (*units, units[-1])})).validate(shape)


def test_what_is_gone_may_be_named_as_gone():
    Plan(encoder=StackPlan((2, 3), self_attn={2: (), 3: None})).validate(SHAPE)


def test_a_missing_plan_is_said():
    with pytest.raises(LayerdropError, match="nowhere.json"):
        Plan.load("nowhere.json")
