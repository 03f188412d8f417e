import math
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from random_plans import apply, importance_of, parts_of, plans, shapes

from layerdrop_plugin.anatomy import FFN_UNITS, HEADS, KEYS, Part
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.ranking import RANKINGS, check_any_left, prune_by_importance, share
from layerdrop_plugin.pruning.scores import Scores
from layerdrop_plugin.pruning.shape import ModelShape, StackShape

KINDS = {HEADS: ("self_attn", "encoder_attn"), FFN_UNITS: ("ffn",)}
WHATS = st.sampled_from(list(KINDS))
RATES = st.fractions(0, 1, max_denominator=20)
SHAPE = ModelShape(StackShape(3, heads=4, ffn=4, embed_dim=16))


def importance(heads, ffn=((1, 1, 1, 1),) * 3) -> Scores:
    scores = {"encoder.self_attn": [list(row) for row in heads], "encoder.ffn": [list(row) for row in ffn]}
    about = {"method": "importance", "model": None, "data": None, "examples": 1, "loss": None, "per": "example"}
    return Scores.of(scores, scores, **about, signature={})


def sublayers(plan: Plan, shape: ModelShape, what: Part) -> dict[tuple, set[int]]:
    """(key, layer) -> the parts that *plan* keeps there, in the parent's numbers."""
    left = apply(plan, parts_of(shape))
    found = {}
    for key in KEYS:
        stack, kind = key.split(".")
        if kind in KINDS[what] and stack in left and kind in shape.get(stack).sizes:
            chosen = plan.get(stack)
            numbers = chosen.layers if chosen else range(len(left[stack]))
            found |= {(key, n): set(of[kind] or ()) for n, of in zip(numbers, left[stack], strict=True)}
    return found


def groups(places, ranking: str) -> list[list]:
    """The *places* (key, layer) that compete with each other."""
    if ranking == "global":
        return [list(places)]
    if ranking == "per-layer":
        return [[place] for place in places]
    return [[place for place in places if place[0] == key] for key in KEYS]


@given(st.data(), WHATS, RATES, st.sampled_from(RANKINGS), st.integers(0, 3))
def test_the_lowest_go(data, what, rate, ranking, min_heads):
    shape = data.draw(shapes())
    plan = data.draw(plans(shape))
    scores = importance_of(shape, lambda: data.draw(st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0])))
    before, minimum = sublayers(plan, shape, what), min_heads if what is HEADS else 0
    assume(any(before.values()))
    counts, fits = [], True
    for group in groups(before, ranking):
        total = sum(len(before[place]) for place in group)
        counts.append(math.floor(rate * total + Fraction(1, 2)))
        fits &= counts[-1] <= sum(max(0, len(before[place]) - minimum) for place in group)
    if not fits:
        with pytest.raises(LayerdropError, match="at most") as caught:
            prune_by_importance(plan, shape, scores, what, rate, ranking, min_heads)
        assert "\n" not in str(caught.value)
        if ranking == "global":
            advised = str(caught.value).rsplit(" ", 1)[1]
            prune_by_importance(plan, shape, scores, what, advised, ranking, min_heads)
        return

    pruned = prune_by_importance(plan, shape, scores, what, rate, ranking, min_heads)

    pruned.validate(shape)
    after = sublayers(pruned, shape, what)
    assert after.keys() == before.keys()
    for group, count in zip(groups(before, ranking), counts, strict=True):
        removed = {place: before[place] - after[place] for place in group}
        assert sum(map(len, removed.values())) == count
        rank = [
            (scores.normalized[key][layer][part], place, part)
            for place, (key, layer) in enumerate(group)
            for part in removed[key, layer]
        ]
        for place, (key, layer) in enumerate(group):
            assert after[key, layer] <= before[key, layer]
            assert len(after[key, layer]) >= min(minimum, len(before[key, layer]))
            if len(after[key, layer]) > minimum:  # otherwise what is left is the minimum
                kept = [(scores.normalized[key][layer][part], place, part) for part in after[key, layer]]
                assert not rank or max(rank) < min(kept)


@given(st.data(), RATES, st.sampled_from(RANKINGS))
def test_heads_and_units_do_not_touch_each_other(data, rate, ranking):
    shape = data.draw(shapes())
    plan = data.draw(plans(shape, only_layers=True))
    scores = importance_of(shape, lambda: data.draw(st.floats(0, 9)))
    orders = []
    for whats in ((HEADS, FFN_UNITS), (FFN_UNITS, HEADS)):
        pruned = plan
        for what in whats:
            if any(sublayers(plan, shape, what).values()):
                pruned = prune_by_importance(pruned, shape, scores, what, rate, ranking)
        orders.append(pruned)
    assert orders[0] == orders[1]
    assert orders[0].cut(shape).encoder == orders[1].cut(shape).encoder


@given(st.data(), WHATS, RATES, st.sampled_from(["per-layer", "global"]))
def test_removing_from_a_child_composes_with_the_layers(data, what, rate, ranking):
    """Layers first, then parts in one plan; or parts of the child of the layers' plan: the same grandchild."""
    shape = data.draw(shapes())
    layers = data.draw(plans(shape, only_layers=True))
    child = layers.cut(shape)
    assume(any(sublayers(layers, shape, what).values()))
    numbers = {}

    def score():
        return data.draw(st.floats(0, 9))

    whole = importance_of(shape, score)
    for name in ("scores", "normalized"):
        numbers[name] = {}
        for key, rows in getattr(whole, name).items():
            chosen = layers.get(key.split(".")[0])
            numbers[name][key] = [rows[layer] for layer in chosen.layers] if chosen else rows
    cut = Scores(**vars(whole) | numbers | {"standard_error": numbers["scores"]})
    at_once = prune_by_importance(layers, shape, whole, what, rate, ranking)
    in_turn = prune_by_importance(Plan(), child, cut, what, rate, ranking).after(layers)
    assert apply(at_once, parts_of(shape)) == apply(in_turn, parts_of(shape))


def test_global_ranking():
    scores = importance([[0, 0, 3, 4], [5, 5, 5, 5], [0, 0, 0, 9]])
    plan = prune_by_importance(Plan(), SHAPE, scores, HEADS, 0.5)
    assert plan == Plan(StackPlan((0, 1, 2), self_attn={0: (2, 3), 1: (1, 2, 3), 2: (3,)}))


def test_per_layer_keeps_shapes_even():
    scores = importance([[0, 0, 3, 4], [5, 5, 5, 5], [0, 0, 0, 9]])
    plan = prune_by_importance(Plan(), SHAPE, scores, HEADS, 0.5, "per-layer")
    assert plan == Plan(StackPlan((0, 1, 2), self_attn={0: (2, 3), 1: (2, 3), 2: (2, 3)}))


def test_per_kind_takes_the_share_from_each_kind():
    of = StackShape(1, 4, 4, 16, {"self_attn": (4,), "encoder_attn": (4,), "ffn": (4,)})
    shape = ModelShape(decoder=of)
    rows = {"decoder.self_attn": [[1, 1, 1, 9]], "decoder.encoder_attn": [[5, 6, 7, 8]]}
    scores = Scores(**vars(importance([[1]] * 3)) | dict.fromkeys(("scores", "normalized", "standard_error"), rows))
    plan = prune_by_importance(Plan(), shape, scores, HEADS, "1/4", "per-kind")
    assert plan == Plan(decoder=StackPlan((0,), self_attn={0: (1, 2, 3)}, encoder_attn={0: (1, 2, 3)}))
    plan = prune_by_importance(Plan(), shape, scores, HEADS, "1/4", "global")
    assert plan == Plan(decoder=StackPlan((0,), self_attn={0: (2, 3)}))
    with pytest.raises(LayerdropError, match="no scores of decoder.ffn"):
        prune_by_importance(Plan(), shape, scores, FFN_UNITS, 0.5)


def test_a_minimum_lets_the_next_lowest_go():
    scores = importance([[0, 0, 3, 4], [5, 5, 5, 5], [0, 0, 0, 9]])
    plan = prune_by_importance(Plan(), SHAPE, scores, HEADS, 0.5, min_heads=2)
    assert plan == Plan(StackPlan((0, 1, 2), self_attn={0: (2, 3), 1: (2, 3), 2: (2, 3)}))
    with pytest.raises(LayerdropError, match=r"removes 7 of the 12 heads, .* at most 6 can go: .* at most 0\.5$"):
        prune_by_importance(Plan(), SHAPE, scores, HEADS, 0.6, min_heads=2)
    with pytest.raises(LayerdropError, match="removes 3 of the 4 heads in self_attn of encoder layer 0, but with at"):
        prune_by_importance(Plan(), SHAPE, scores, HEADS, 0.7, "per-layer", min_heads=2)


def test_the_rate_that_is_advised_works():
    shape = ModelShape(StackShape(1, heads=1000, ffn=1, embed_dim=1000))
    scores = importance([range(1000)], [[1]])
    with pytest.raises(LayerdropError, match=r"at most 999 can go: use a rate of at most 0\.999$"):
        prune_by_importance(Plan(), shape, scores, HEADS, 1, min_heads=1)


def test_everything_may_go_when_no_minimum_is_asked_for():
    plan = prune_by_importance(Plan(), SHAPE, importance([[1, 2, 3, 4]] * 3), HEADS, 1)
    assert plan.encoder.self_attn == {0: (), 1: (), 2: ()}
    plan = prune_by_importance(plan, SHAPE, importance([[1, 2, 3, 4]] * 3), FFN_UNITS, 1, min_heads=4)
    assert plan.encoder.ffn == {0: (), 1: (), 2: ()}


def test_nothing_goes_at_rate_0():
    assert prune_by_importance(Plan(), SHAPE, importance([[1, 2, 3, 4]] * 3), HEADS, 0) == Plan()


def test_a_half_is_rounded_up_exactly():
    shape = ModelShape(StackShape(1, heads=5, ffn=1, embed_dim=5))
    scores = importance([[1, 2, 3, 4, 5]], [[1]])
    for rate, left in ((0.3, (2, 3, 4)), (0.1, (1, 2, 3, 4)), (0.0999, (0, 1, 2, 3, 4)), ("0.5", (3, 4))):
        plan = prune_by_importance(Plan(), shape, scores, HEADS, rate)  # 1.5, 0.5, 0.4995 and 2.5 heads
        assert (plan.encoder.self_attn[0] if plan.encoder else (0, 1, 2, 3, 4)) == left


def test_no_heads_left():
    shape = ModelShape(StackShape(2, 4, 4, 16, {"self_attn": (0, None), "ffn": (4, 4)}))
    with pytest.raises(LayerdropError, match="no heads left to remove"):
        prune_by_importance(Plan(), shape, importance([[], []], [[1] * 4] * 2), HEADS, 0.5)
    with pytest.raises(LayerdropError, match="no FFN units left"):
        check_any_left(Plan(StackPlan((1,), ffn={1: None})), shape, FFN_UNITS)


@pytest.mark.parametrize(
    "rate", [-0.1, 1.1, math.nan, math.inf, "nan", "inf", "", "x", "1/0", "1e400", "-0.0001", None]
)
def test_a_rate_is_a_share(rate):
    with pytest.raises(LayerdropError, match="from 0 to 1") as caught:
        share(rate)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rate", "expected"), [(0, 0), (1, 1), (0.4, Fraction(2, 5)), ("2/3", Fraction(2, 3)), (2 / 3, Fraction(2, 3))]
)
def test_a_share_is_exact(rate, expected):
    assert share(rate) == expected


def test_scores_of_another_shape_and_unknown_words():
    scores = importance([[1, 2, 3, 4]] * 3)
    with pytest.raises(LayerdropError, match="it is another model's"):
        prune_by_importance(Plan(), ModelShape(StackShape(2, 4, 4, 16)), scores, HEADS, 0.5)
    with pytest.raises(LayerdropError, match="unknown ranking 'local': use global, per-kind, per-layer"):
        prune_by_importance(Plan(), SHAPE, scores, HEADS, 0.5, "local")
    with pytest.raises(LayerdropError, match="minimum of -1 heads"):
        prune_by_importance(Plan(), SHAPE, scores, HEADS, 0.5, min_heads=-1)


def test_heads_without_scores_leave_the_rest_prunable():
    """Attention that cannot be gated has empty rows: FFN units can go all the same, its heads cannot."""
    shape = ModelShape(encoder=StackShape(layers=1, heads=2, ffn=3, embed_dim=4))
    scores = {"encoder.self_attn": [[]], "encoder.ffn": [[3.0, 1.0, 2.0]]}
    error = {key: [[0.0] * len(row) for row in rows] for key, rows in scores.items()}
    about = {"method": "importance", "model": None, "data": None, "examples": 1, "loss": 1.0, "per": "example"}
    importance = Scores.of(scores, error, **about, signature={})
    assert prune_by_importance(Plan(), shape, importance, FFN_UNITS, 0.34).encoder.ffn == {0: (0, 2)}
    with pytest.raises(LayerdropError, match="cannot be gated"):
        prune_by_importance(Plan(), shape, importance, HEADS, 0.5)
