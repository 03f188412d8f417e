import gc
import weakref
from collections import Counter

import builders
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_plans import importance_of, plans

from layerdrop_plugin import checkpoint
from layerdrop_plugin.anatomy import FFN_UNITS, HEADS
from layerdrop_plugin.cli.main import main
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning import parent as parents
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune
from layerdrop_plugin.pruning.rules import Rules
from layerdrop_plugin.pruning.scores import Scores


@pytest.fixture(scope="module")
def parent():
    return Parent(builders.state_of(builders.build("layerdrop_transformer"), "layerdrop_transformer"))


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_childs_shape_is_what_its_plan_keeps(data, parent):
    """And it is a parent itself, whose file would be read alike."""
    child = prune(parent, data.draw(plans(parent.shape)))
    read = Parent(child.state)
    assert (read.shape, read.family, read.parameters) == (child.shape, child.family, child.parameters)
    for part in (HEADS, FFN_UNITS):
        assert child.shape.sizes(part) == child.plan.cut(parent.shape).sizes(part)
    assert child.parameters <= parent.parameters


def test_a_child_does_not_keep_its_parent_in_memory():
    state = builders.state_of(builders.build("layerdrop_roberta"))
    parent = Parent(state)
    child, gone = prune(parent, Plan(encoder=StackPlan((1,)))), weakref.ref(parent)
    del parent
    gc.collect()
    assert gone() is None and child.describe() == ["encoder: 1 of 4 layers kept, 0.750 of them dropped"]


def test_rules_make_the_plan_that_a_child_keeps(parent, tmp_path):
    scores = importance_of(parent.shape, iter(map(float, range(1, 10**6))).__next__)
    scores.save(tmp_path / "scores.json")
    rules = Rules({"encoder": "keep:1,3"}, heads=f"{tmp_path}/scores.json:0.5")
    child = prune(parent, rules)
    assert child.plan == rules.plan(parent.shape)
    assert child.plan.encoder.layers == (1, 3)
    again = prune(parent, child.plan)
    assert again.state["model"].keys() == child.state["model"].keys()
    assert all(torch.equal(weight, again.state["model"][name]) for name, weight in child.state["model"].items())
    assert child.describe()[0] == "encoder: 2 of 4 layers kept, 0.500 of them dropped"
    assert prune(parent, Rules()).describe() == []


def test_scores_of_other_weights_are_refused(parent, tmp_path):
    scores = vars(importance_of(parent.shape, lambda: 1.0)) | {"model": "another"}
    Scores(**scores).save(tmp_path / "scores.json")
    with pytest.raises(LayerdropError, match="a model with other weights"):
        prune(parent, Rules(heads=f"{tmp_path}/scores.json:0.5"))


def test_a_plan_that_the_parent_cannot_meet_is_refused(parent):
    for layers, message in (((), "keeps no layer"), ((9,), "keeps layer 9")):
        with pytest.raises(LayerdropError, match=message):
            prune(parent, Plan(encoder=StackPlan(layers)))


@pytest.mark.parametrize("words", [["--encoder-layers", "even:2"], ["--plan"]])
def test_nothing_is_asked_for_twice_on_the_way(words, tmp_path, monkeypatch, capsys):
    """`layerdrop prune` reads and hashes the file, and asks for family and shape, once; its plan is validated once."""
    checkpoint.write(builders.state_of(builders.build("layerdrop_roberta")), tmp_path / "parent.pt")
    (tmp_path / "plan.json").write_text(Plan(encoder=StackPlan((1, 3))).to_json())
    calls = Counter()

    def count(owner, name):
        function = getattr(owner, name)

        def counting(*args):
            calls[name] += 1
            return function(*args)

        monkeypatch.setattr(owner, name, counting)

    for owner, name in ((checkpoint, "read"), (checkpoint, "sha256"), (parents, "family_of"), (parents, "fingerprint")):
        count(owner, name)
    count(parents, "_stack_shape")
    count(StackPlan, "validate")
    main(["prune", str(tmp_path / "parent.pt"), str(tmp_path / "child.pt"), *words, *_plan(words, tmp_path)])
    assert "2 of 4 layers kept" in capsys.readouterr().out
    assert calls == {"read": 1, "sha256": 1, "family_of": 1, "_stack_shape": 1, "validate": 1}


def _plan(words, folder):
    return [str(folder / "plan.json")] if words == ["--plan"] else []
