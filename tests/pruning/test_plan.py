import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.plan import ModelShape, Plan, StackPlan, StackShape

SHAPE = ModelShape(encoder=StackShape(layers=6, heads=2, ffn=8, embed_dim=4))


def layers_of(count: int):
    return st.sets(st.integers(0, count - 1), min_size=1).map(lambda kept: tuple(sorted(kept)))


@given(layers_of(12))
def test_json_round_trip(layers):
    plan = Plan(encoder=StackPlan(layers))
    assert Plan.from_dict(json.loads(plan.to_json())) == plan


def test_the_file_is_small_and_readable(tmp_path):
    text = '{"version": 1, "encoder": {"layers": [1, 3, 5]}}'
    (tmp_path / "plan.json").write_text(text)
    plan = Plan.load(tmp_path / "plan.json")
    assert plan == Plan(encoder=StackPlan((1, 3, 5)))
    assert plan.to_json() == text


@given(st.data())
def test_plans_compose(data):
    first = data.draw(layers_of(9))
    second = data.draw(layers_of(len(first)))
    third = data.draw(layers_of(len(second)))
    a, b, c = (Plan(encoder=StackPlan(layers)) for layers in (first, second, third))
    assert c.after(b).after(a) == c.after(b.after(a))
    assert [list(range(9))[layer] for layer in b.after(a).encoder.layers] == [first[layer] for layer in second]
    assert Plan().after(a) == a == a.after(Plan())


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
        ('{"version": 1, "encoder": {"layers": [1], "ffn": [2]}}', "whole layers only"),
        ('{"version": 1, "encoder": {"layers": [1], "x": 2}}', "'x'"),
        ('{"version": 1, "encoder": {"layers": []}}', "no layer"),
        ('{"version": 1, "encoder": {"layers": [1, 1]}}', "repeats layer 1"),
        ('{"version": 1, "encoder": {"layers": [6]}}', "layer 6, but the encoder has 6"),
        ('{"version": 1, "encoder": {"layers": [-1]}}', "layer -1"),
        ('{"version": 1, "encoder": {"layers": [2, 1]}}', "ascend"),
        ('{"version": 1, "decoder": {"layers": [0]}}', "the parent has none"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, message, tmp_path):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(LayerdropError, match=message) as caught:
        Plan.load(tmp_path / "plan.json").validate(SHAPE)
    assert "\n" not in str(caught.value)


def test_a_missing_plan_is_said():
    with pytest.raises(LayerdropError, match="nowhere.json"):
        Plan.load("nowhere.json")
