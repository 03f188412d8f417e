import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_plans import importance_of

from layerdrop_plugin.anatomy import FFN_UNITS, HEADS
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.layer_rules import RULES, PartRules, plan_from_options, stack_plan
from layerdrop_plugin.pruning.plan import ModelShape, Plan, StackPlan, StackShape
from layerdrop_plugin.pruning.ranking import prune_by_importance
from layerdrop_plugin.pruning.scores import Importance

SHAPE = ModelShape(StackShape(4, heads=4, ffn=6, embed_dim=16))


def kept(spec: str, layers: int) -> list[int]:
    return list(stack_plan(spec, StackShape(layers, heads=1, ffn=1, embed_dim=1), "encoder").layers)


@pytest.mark.parametrize(
    ("spec", "layers", "expected"),
    [
        ("every-other:0.5", 12, [1, 3, 5, 7, 9, 11]),  # the paper's example
        ("every-other:0", 4, [0, 1, 2, 3]),
        ("every-other:0.2", 6, [1, 2, 3, 4]),
        ("every-other:1/3", 6, [1, 2, 4, 5]),
        ("every-other:0.3333333", 6, [1, 2, 4, 5]),
        ("every-other:2/3", 6, [2, 5]),  # floor(1/(1-p)) = 3 although 1/(1 - 2/3) < 3 in floating point
        ("every-other:0.6666666666666666", 6, [2, 5]),
        ("every-other:0.75", 12, [3, 7, 11]),
        ("every-other:0.9", 12, [9]),
        ("every-other-from-1:0.5", 16, [0, 2, 4, 6, 8, 10, 12, 14]),  # the released example of its authors
        ("every-other-from-1:0.5", 1, [0]),
        ("every-other-from-1:1/3", 6, [0, 1, 3, 4]),
        ("every-other-from-1:2/3", 6, [1, 4]),
        ("every-other-from-1:0", 4, [0, 1, 2, 3]),
        ("keep:0,2,4", 6, [0, 2, 4]),
        ("even:6", 12, [1, 3, 5, 7, 9, 11]),
        ("even:4", 12, [2, 5, 8, 11]),
        ("even:1", 5, [4]),
        ("first:2", 6, [0, 1]),
        ("last:2", 6, [4, 5]),
        ("outer:4", 6, [0, 1, 4, 5]),
        ("outer:3", 6, [0, 1, 5]),
        ("outer:1", 6, [0]),
    ],
)
def test_examples(spec, layers, expected):
    assert kept(spec, layers) == expected


@given(st.sampled_from(["even", "first", "last", "outer"]), st.integers(1, 30), st.data())
def test_n_is_the_number_kept(name, layers, data):
    count = data.draw(st.integers(1, layers))
    layers_kept = kept(f"{name}:{count}", layers)
    assert len(layers_kept) == count
    assert layers_kept == sorted(set(layers_kept))
    if name == "even":
        gaps = [b - a for a, b in zip(layers_kept, layers_kept[1:], strict=False)]
        assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(("name", "first"), [("every-other", 0), ("every-other-from-1", 1)])
@given(p=st.fractions(0, 1, max_denominator=100), layers=st.integers(1, 30))
def test_every_other_follows_the_formula_with_depth_counted_as_its_name_says(name, first, p, layers):
    depths = range(first, first + layers)
    if p == 1:
        expected = []
    elif p == 0:
        expected = list(depths)
    elif p <= Fraction(1, 2):
        expected = [d for d in depths if d % (1 // p) != 0]
    else:
        expected = [d for d in depths if d % (1 // (1 - p)) == 1 // (1 - p) - 1]
    if expected:
        assert [layer + first for layer in kept(f"{name}:{p}", layers)] == expected
    else:
        with pytest.raises(LayerdropError, match="^every-other.*: (want a rate|the plan keeps no layer)"):
            kept(f"{name}:{p}", layers)


@pytest.mark.parametrize(
    "spec",
    ["", "every-other", "every-other:", "every-other:1", "every-other:-0.1", "every-other:x", "every-other:1/0"]
    + [
        "every-other-from-1:1",
        "every-other-from-1:x",
        "every-other-from-1",
        "every-other:nan",
        "keep:",
        "keep:0,0",
        "keep:6",
        "keep:-1",
        "keep:a",
        "keep:2,1",
        "nonsense:2",
    ]
    + [f"{name}:{bad}" for name in ("even", "first", "last", "outer") for bad in ("0", "7", "-1", "x", "1.5", "")],
)
def test_bad_specs_are_refused_in_one_line(spec):
    with pytest.raises(LayerdropError) as caught:
        kept(spec, 6)
    assert "\n" not in str(caught.value)


def test_a_rate_that_leaves_nothing_is_refused():
    for spec, layers in (("every-other:0.9", 3), ("every-other:0.5", 1), ("every-other-from-1:2/3", 1)):
        with pytest.raises(LayerdropError, match=f"^{spec}: the plan keeps no layer of the encoder"):
            kept(spec, layers)


def test_every_strategy_is_described():
    assert all(strategy.__doc__ for strategy in RULES.values())


@pytest.fixture
def scores(tmp_path):
    """A file of scores of a model of SHAPE, whose weights have the fingerprint a1; its name has colons."""
    numbers = iter(math.sin(number) ** 2 for number in range(1000))
    path = tmp_path / "12:30.json"
    Importance(**vars(importance_of(SHAPE, lambda: next(numbers))) | {"model": "a1"}).save(path)
    return path


def test_no_rule_keeps_everything():
    assert plan_from_options(SHAPE, {"encoder": None, "decoder": None}, None) == Plan()
    assert plan_from_options(SHAPE, {}, None, PartRules(), "a1") == Plan()


def test_layers_first_then_heads_and_units_among_those_kept(scores):
    parts = PartRules(f"{scores}:1/2", f"{scores}:0.25", "per-layer")
    plan = plan_from_options(SHAPE, {"encoder": "keep:1,3"}, None, parts, "a1")
    importance, expected = Importance.load(scores), Plan(StackPlan((1, 3)))
    expected = prune_by_importance(expected, SHAPE, importance, HEADS, 0.5, "per-layer")
    assert plan == prune_by_importance(expected, SHAPE, importance, FFN_UNITS, 0.25, "per-layer")
    assert plan.cut(SHAPE).encoder.sizes == {"self_attn": (2, 2), "ffn": (4, 4)}


def test_rules_for_parts_alone_keep_all_layers(scores):
    plan = plan_from_options(SHAPE, {}, None, PartRules(heads=f"{scores}:0.5", min_heads=1), "a1")
    assert plan.encoder.layers == (0, 1, 2, 3)
    assert sum(plan.cut(SHAPE).encoder.sizes["self_attn"]) == 8
    assert min(plan.cut(SHAPE).encoder.sizes["self_attn"]) >= 1
    assert not plan.encoder.ffn


def test_a_plans_file_and_rules_for_parts(scores, tmp_path):
    file = tmp_path / "plan.json"
    file.write_text(Plan(StackPlan((0, 2), ffn={0: (1, 2), 2: None})).to_json())
    plan = plan_from_options(SHAPE, {}, str(file), PartRules(heads=f"{scores}:0.5"), "a1")
    assert plan.encoder.ffn == {0: (1, 2), 2: None}
    assert sum(plan.cut(SHAPE).encoder.sizes["self_attn"]) == 4
    with pytest.raises(LayerdropError, match="names FFN units already"):
        plan_from_options(SHAPE, {}, str(file), PartRules(ffn=f"{scores}:0.5"), "a1")
    file.write_text(Plan(StackPlan((0, 2), self_attn={0: ()})).to_json())
    with pytest.raises(LayerdropError, match="names heads already"):
        plan_from_options(SHAPE, {}, str(file), PartRules(heads=f"{scores}:0.5"), "a1")


def test_weights_that_are_not_known_are_not_compared(scores):
    rules = PartRules(heads=f"{scores}:0.5")
    assert plan_from_options(SHAPE, {}, None, rules) == plan_from_options(SHAPE, {}, None, rules, "a1")
    with pytest.raises(LayerdropError, match="heads by .*: the file was estimated on a model with other weights"):
        plan_from_options(SHAPE, {}, None, rules, "b2")


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ("0.5", "want FILE:RATE"),
        (":0.5", "want FILE:RATE"),
        ("{}:", "number from 0 to 1"),
        ("{}", "number from 0 to 1"),  # what is behind the last colon is no rate
        ("{}:1.5", "rate 1.5: want"),
        ("{}:-0.5", "rate -0.5: want"),
        ("{}:nan", "rate nan: want"),
        ("{}.gone:0.5", "cannot read the importance file"),
        ("{}:1", "removes 16 of the 16 heads, .* at most 12 can go: use a rate of at most 0.75"),
    ],
)
def test_bad_rules_for_heads(heads, message, scores):
    with pytest.raises(LayerdropError, match=message) as caught:
        plan_from_options(SHAPE, {}, None, PartRules(heads=heads.format(scores), min_heads=1))
    assert "\n" not in str(caught.value)


def test_a_parent_without_heads_is_refused_whatever_the_file(scores):
    shape = ModelShape(StackShape(1, 4, 6, 16, {"self_attn": (0,), "ffn": (6,)}))
    with pytest.raises(LayerdropError, match="have no heads left to remove"):
        plan_from_options(shape, {}, None, PartRules(heads=f"{scores}:0.5"))
    with pytest.raises(LayerdropError, match="it is another model's"):
        plan_from_options(shape, {}, None, PartRules(ffn=f"{scores}:0.5"))


def test_rules_that_would_do_nothing_are_refused():
    with pytest.raises(LayerdropError, match="give the heads' rule too"):
        PartRules(ffn="i.json:0.5", min_heads=1)
    with pytest.raises(LayerdropError, match="give the rule for them too"):
        PartRules(ranking="per-layer")
    assert not PartRules()
    assert PartRules(ffn="i.json:0.5", ranking="per-layer")
