import math

import pytest
from fairseq.dataclass import ChoiceEnum
from random_plans import importance_of

from layerdrop_plugin.anatomy import FFN_UNITS, HEADS
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.ranking import RANKINGS, prune_by_importance
from layerdrop_plugin.pruning.rules import Rules
from layerdrop_plugin.pruning.scores import Scores
from layerdrop_plugin.pruning.shape import ModelShape, StackShape

SHAPE = ModelShape(StackShape(4, heads=4, ffn=6, embed_dim=16))


@pytest.fixture
def scores(tmp_path):
    """A file of scores of a model of SHAPE, whose weights have the fingerprint a1; its name has colons."""
    numbers = iter(math.sin(number) ** 2 for number in range(1000))
    path = tmp_path / "12:30.json"
    Scores(**vars(importance_of(SHAPE, lambda: next(numbers))) | {"model": "a1"}).save(path)
    return path


def test_no_rule_keeps_everything():
    assert Rules().plan(SHAPE) == Rules().plan(SHAPE, "a1") == Plan()


def test_layers_first_then_heads_and_units_among_those_kept(scores):
    rules = Rules({"encoder": "keep:1,3"}, heads=f"{scores}:1/2", ffn=f"{scores}:0.25", ranking="per-layer")
    plan = rules.plan(SHAPE, "a1")
    importance, expected = Scores.load(scores), Plan(StackPlan((1, 3)))
    expected = prune_by_importance(expected, SHAPE, importance, HEADS, 0.5, "per-layer")
    assert plan == prune_by_importance(expected, SHAPE, importance, FFN_UNITS, 0.25, "per-layer")
    assert plan.cut(SHAPE).encoder.sizes == {"self_attn": (2, 2), "ffn": (4, 4)}


def test_rules_for_parts_alone_keep_all_layers(scores):
    plan = Rules(heads=f"{scores}:0.5", min_heads=1).plan(SHAPE, "a1")
    assert plan.encoder.layers == (0, 1, 2, 3)
    assert sum(plan.cut(SHAPE).encoder.sizes["self_attn"]) == 8
    assert min(plan.cut(SHAPE).encoder.sizes["self_attn"]) >= 1
    assert not plan.encoder.ffn


def test_a_plans_file_and_rules_for_parts(scores, tmp_path):
    file = tmp_path / "plan.json"
    file.write_text(Plan(StackPlan((0, 2), ffn={0: (1, 2), 2: None})).to_json())
    plan = Rules(plan_file=str(file), heads=f"{scores}:0.5").plan(SHAPE, "a1")
    assert plan.encoder.ffn == {0: (1, 2), 2: None}
    assert sum(plan.cut(SHAPE).encoder.sizes["self_attn"]) == 4
    with pytest.raises(LayerdropError, match="names FFN units already"):
        Rules(plan_file=str(file), ffn=f"{scores}:0.5").plan(SHAPE, "a1")
    file.write_text(Plan(StackPlan((0, 2), self_attn={0: ()})).to_json())
    with pytest.raises(LayerdropError, match="names heads already"):
        Rules(plan_file=str(file), heads=f"{scores}:0.5").plan(SHAPE, "a1")


def test_weights_that_are_not_known_are_not_compared(scores):
    rules = Rules(heads=f"{scores}:0.5")
    assert rules.plan(SHAPE) == rules.plan(SHAPE, "a1")
    with pytest.raises(LayerdropError, match="heads by .*: the file was estimated on a model with other weights"):
        rules.plan(SHAPE, "b2")


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
        Rules(heads=heads.format(scores), min_heads=1).plan(SHAPE)
    assert "\n" not in str(caught.value)


def test_a_parent_without_heads_is_refused_whatever_the_file(scores):
    shape = ModelShape(StackShape(1, 4, 6, 16, {"self_attn": (0,), "ffn": (6,)}))
    with pytest.raises(LayerdropError, match="have no heads left to remove"):
        Rules(heads=f"{scores}:0.5").plan(shape)
    with pytest.raises(LayerdropError, match="it is another model's"):
        Rules(ffn=f"{scores}:0.5").plan(shape)


def test_rules_that_would_do_nothing_are_refused():
    with pytest.raises(LayerdropError, match="give the heads' rule too"):
        Rules(ffn="i.json:0.5", min_heads=1)
    with pytest.raises(LayerdropError, match="give the rule for them too"):
        Rules(ranking="per-layer")
    assert not Rules()
    assert Rules(ffn="i.json:0.5", ranking="per-layer")


def test_rules_that_exclude_each_other_are_refused():
    with pytest.raises(LayerdropError, match="either a plan's file or rules"):
        Rules({"encoder": "even:2"}, plan_file="plan.json")
    with pytest.raises(LayerdropError, match="the parent has no decoder to prune"):
        Rules({"decoder": "even:2"}).plan(SHAPE)


def test_rules_are_read_from_the_options_of_either_command():
    given = {"encoder_layers": "even:2", "decoder_layers": None, "heads": "a:b.json:0.5", "ffn": None, "plan": None}
    given |= {"ranking": "per-layer", "min_heads": 1}
    expected = Rules({"encoder": "even:2"}, heads="a:b.json:0.5", ranking="per-layer", min_heads=1)
    assert Rules.from_options(given) == expected
    options = {f"prune_{name}": value for name, value in given.items()} | {"encoder_layers": "no rule"}
    options["prune_ranking"] = ChoiceEnum(list(RANKINGS))("per-layer")
    assert Rules.from_options(options, "prune_") == expected
    assert expected.files == ["a:b.json"]
    assert Rules(plan_file="plan.json", heads=":0.5", ffn="b.json:0.5").files == ["plan.json", "b.json"]
