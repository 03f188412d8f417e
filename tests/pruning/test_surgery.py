import copy
import json
import re

import builders
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning import surgery
from layerdrop_plugin.pruning.gates import gated
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune

LAYERS = st.sets(st.integers(0, 4), min_size=1).map(sorted)


@given(LAYERS, st.booleans(), st.booleans(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_gating_is_surgery(layers, training, prenorm, hiddens):
    """Law 1: the parent with a plan's gates gives the child's outputs and hidden states."""
    parent = builders.build("layerdrop_roberta", encoder_layers=5, encoder_normalize_before=prenorm)
    plan = Plan(encoder=StackPlan(tuple(layers)))
    child = builders.child_of(parent, plan).train(training)
    parent.train(training)
    tokens = builders.batch()
    with gated(parent, plan):
        found, extra = parent(tokens, return_all_hiddens=hiddens)
    expected, expected_extra = child(tokens, return_all_hiddens=hiddens)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    for mine, theirs in zip(extra["inner_states"] or [], expected_extra["inner_states"] or [], strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=0)
    assert type(child).__name__ == "RobertaModel"


def test_gates_open_again():
    parent = builders.build("layerdrop_roberta").eval()
    before = parent(builders.batch())[0]
    with gated(parent, Plan(encoder=StackPlan((0,)))):
        assert not torch.allclose(parent(builders.batch())[0], before)
    assert torch.equal(parent(builders.batch())[0], before)


def test_a_gate_beyond_the_stack_is_refused():
    parent = builders.build("layerdrop_roberta")
    with pytest.raises(LayerdropError, match="layer 9"), gated(parent, Plan(encoder=StackPlan((9,)))):
        pass


def test_pruning_a_child_again_is_pruning_the_parent_by_the_composed_plan(tmp_path):
    checkpoint.write(builders.state_of(builders.build("layerdrop_roberta", encoder_layers=5)), tmp_path / "a")
    first, second = Plan(encoder=StackPlan((0, 2, 4))), Plan(encoder=StackPlan((1, 2)))
    parent = Parent.load(tmp_path / "a")
    checkpoint.write(prune(parent, first).state, tmp_path / "b")
    twice = prune(Parent.load(tmp_path / "b"), second).state
    once = prune(parent, second.after(first)).state
    assert twice["model"].keys() == once["model"].keys()
    assert all(torch.equal(value, once["model"][key]) for key, value in twice["model"].items())
    origin = surgery.origin_of(twice["cfg"])
    assert (origin["plan"], origin["plan_sha256"]) == (second.after(first).to_dict(), second.after(first).sha256())
    assert surgery.origin_of(once["cfg"])["plan"] == origin["plan"]
    assert [ancestor["file"] for ancestor in origin["ancestors"]] == ["a", "b"]
    assert [ancestor["sha256"] for ancestor in origin["ancestors"]] == [
        checkpoint.sha256(tmp_path / name) for name in ("a", "b")
    ]


def long_plan(layers: int, units: int) -> Plan:
    """Keeps two of three of many FFN units in each layer."""
    kept = tuple(unit for unit in range(units) if unit % 3)
    return Plan(encoder=StackPlan(tuple(range(layers)), ffn=dict.fromkeys(range(layers), kept)))


def test_each_generation_holds_its_plan_once_and_in_few_nodes():
    """fairseq makes a node of every number in a configuration: listed FFN units took seconds at every loading."""
    state = builders.state_of(builders.build("layerdrop_roberta", encoder_layers=2, encoder_ffn_embed_dim=600))
    plans = [long_plan(2, 600), long_plan(2, 400)]
    for plan in plans:
        state = prune(Parent(state), plan).state
    origin = json.dumps(state["cfg"][checkpoint.PROVENANCE])
    for plan in plans:
        assert origin.count(json.dumps(plan.encoder.to_dict()["ffn"])) == 1
    assert surgery.whole_plan(state["cfg"][checkpoint.PROVENANCE]) == plans[1].after(plans[0])
    assert surgery.origin_of(state["cfg"])["plan"] == plans[1].after(plans[0]).to_dict()
    assert len(re.findall(r"[:\[,] ", origin)) < 200  # values of maps and items of lists


def test_a_child_that_lists_its_units_is_read_as_one_that_has_ranges():
    """As children were written at first: every number in a list, and the plan of the oldest ancestor beside."""
    state = builders.state_of(builders.build("layerdrop_roberta", encoder_layers=2, encoder_ffn_embed_dim=60))
    new = prune(Parent(state), long_plan(2, 60)).state
    old = copy.deepcopy(new)
    origin = old["cfg"][checkpoint.PROVENANCE]
    origin["ancestors"][0]["plan"] = origin["plan"] = long_plan(2, 60).to_dict(listed=60)
    assert origin["plan"]["encoder"]["ffn"]["0"][:3] == [1, 2, 4]
    assert surgery.origin_of(old["cfg"]) == surgery.origin_of(new["cfg"]) | {"ancestors": origin["ancestors"]}
    again = [prune(Parent(child), long_plan(2, 40)).state for child in (old, new)]
    assert surgery.origin_of(again[0]["cfg"])["plan"] == surgery.origin_of(again[1]["cfg"])["plan"]


def test_the_child_stands_alone(tmp_path):
    """Law 3, word by word."""
    state = builders.state_of(builders.build("layerdrop_roberta_tiny", encoder_layerdrop=0.2), "layerdrop_roberta_tiny")
    state["cfg"]["model"]["prune_from"] = state["cfg"]["task"]["prune_from"] = "parent.pt"
    state["cfg"]["task"]["_name"] = "pruning_masked_lm"
    before = copy.deepcopy(state["cfg"])
    (tmp_path / "parent.pt").touch()
    child = prune(Parent(state, tmp_path / "parent.pt"), Plan(encoder=StackPlan((1, 3)))).state
    assert state["cfg"] == before, "the parent was changed"
    model, task = child["cfg"]["model"], child["cfg"]["task"]
    assert type(model) is dict
    assert model["_name"] == model["arch"] == "roberta"
    assert (model["encoder_layers"], model["max_positions"]) == (2, 64)
    assert task["_name"] == "masked_lm"
    assert not [name for name in (*model, *task) if name.startswith("prune_")]
    assert child["cfg"]["common"]["user_dir"] is None
    assert len(child["optimizer_history"]) == 1
    assert child["optimizer_history"][0]["num_updates"] == 0
    assert list(child["extra_state"]) == ["train_iterator"]
    assert child["extra_state"]["train_iterator"]["epoch"] == 1
    assert "last_optimizer_state" not in child
    assert child["cfg"][checkpoint.PROVENANCE]["ancestors"][0]["file"] == "parent.pt"


def test_early_roberta_checkpoints_are_understood():
    state = builders.state_of(builders.build("roberta"), "roberta_base")
    old = {k.replace("encoder.", "decoder.", 1): v for k, v in state["model"].items()}
    old = {k.replace("layernorm_embedding", "emb_layer_norm"): v for k, v in old.items()}
    plan = Plan(encoder=StackPlan((0,)))
    child = prune(Parent(state | {"model": old}), plan).state
    assert child["model"].keys() == prune(Parent(state), plan).state["model"].keys()


def test_parameters_are_counted_as_the_model_counts_them():
    for untie in (False, True):
        model = builders.build("layerdrop_roberta", untie_weights_roberta=untie)
        expected = sum(parameter.numel() for parameter in model.parameters())
        assert Parent(builders.state_of(model)).parameters == expected


def test_a_parent_of_another_architecture_is_refused():
    state = builders.state_of(builders.build("roberta"))
    state["cfg"]["model"]["_name"] = "lstm_wiseman_iwslt_de_en"
    with pytest.raises(LayerdropError, match="lstm_wiseman_iwslt_de_en"):
        _ = Parent(state).shape


def test_weights_without_layers_are_refused():
    state = builders.state_of(builders.build("roberta"))
    state["model"] = {k: v for k, v in state["model"].items() if ".layers.1." not in k}
    with pytest.raises(LayerdropError, match="missing"):
        _ = Parent(state).shape
