"""Laws 1 and 3 for plans over layers, heads, FFN units and sublayers together."""

import builders
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_two_stacks import step_by_step

from layerdrop_plugin import checkpoint
from layerdrop_plugin.anatomy import KINDS
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning import surgery
from layerdrop_plugin.pruning.gates import gated, gates_of, model_shape
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune
from layerdrop_plugin.pruning.shape import ModelShape, StackShape

FAMILIES = ["roberta", "transformer", "bart", "transformer_lm"]
LAYERS, HEADS, UNITS = 3, 4, 6
SIZES = {
    f"{stack}_{name}": size
    for stack in ("encoder", "decoder")
    for name, size in {"layers": LAYERS, "attention_heads": HEADS, "ffn_embed_dim": UNITS}.items()
}
NORMS = st.fixed_dictionaries({"encoder_normalize_before": st.booleans(), "decoder_normalize_before": st.booleans()})


def ascending(numbers):
    return tuple(sorted(numbers))


@st.composite
def stack_plans(draw, shape: StackShape):
    """Any plan of a stack of *shape*, those that leave a layer without any sublayer too."""
    layers = draw(st.sets(st.integers(0, shape.layers - 1), min_size=1).map(ascending))
    kinds = {}
    for kind, sizes in shape.sizes.items():
        parts = st.none() | st.sets(st.integers(0, shape.whole(kind) - 1)).map(ascending)
        of = draw(st.dictionaries(st.sampled_from(layers), parts, max_size=len(layers)))
        kinds[kind] = {
            layer: None if kept is None or sizes[layer] is None else tuple(part for part in kept if part < sizes[layer])
            for layer, kept in of.items()
        }
    return StackPlan(layers, **kinds)


def plans(shape: ModelShape):
    stacks = {"encoder": shape.encoder, "decoder": shape.decoder}
    stacks = {name: st.none() | stack_plans(of) for name, of in stacks.items() if of is not None}
    return st.fixed_dictionaries(stacks).map(lambda chosen: Plan(**chosen))


def everything(model, name, inputs, orders):
    """Outputs, hidden states and attention of a forward, and of decoding step by step."""
    x, extra = model(**inputs, **({"return_all_hiddens": True} if name == "roberta" else {}))
    result = [x, *extra["inner_states"], *(a for a in extra.get("attn", []) if a is not None)]
    if name == "roberta":
        return result
    encoder_out = None if name == "transformer_lm" else model.encoder(inputs["src_tokens"], inputs["src_lengths"])
    return result + step_by_step(model, encoder_out, inputs.get("prev_output_tokens", inputs["src_tokens"]), orders)


@pytest.mark.parametrize("name", FAMILIES)
@given(norms=NORMS, training=st.booleans(), data=st.data())
@settings(max_examples=25, deadline=None)
def test_gating_is_surgery(name, norms, training, data):
    """Law 1, for children of children too: gates within a child, and what it was cut from gated by both plans."""
    parent = builders.build(f"layerdrop_{name}", **SIZES, **norms)
    first = data.draw(plans(model_shape(parent)))
    child, state = builders.child_and_state(parent, first, f"layerdrop_{name}")
    shape = Parent(state).shape
    assert shape == surgery.child_shape(model_shape(parent), first)
    second = data.draw(plans(shape))
    inputs = builders.inputs(name)
    orders = data.draw(
        st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3).map(torch.tensor), min_size=1, max_size=3)
    )
    results = []
    with torch.no_grad():
        with gated(parent, first):
            results.append(everything(parent.train(training), name, inputs, orders))
        results.append(everything(child.train(training), name, inputs, orders))
        with gated(parent, second.after(first)):
            grandchild = everything(parent, name, inputs, orders)
        if not type(child).__module__.startswith("fairseq"):
            with gated(child, second):
                assert_alike(everything(child, name, inputs, orders), grandchild)
        composed, _ = builders.child_and_state(parent, second.after(first), f"layerdrop_{name}")
        assert_alike(everything(composed.train(training), name, inputs, orders), grandchild)
    assert_alike(*results)


def assert_alike(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
@given(norms=NORMS, data=st.data())
@settings(max_examples=12, deadline=None)
def test_every_parameter_of_a_child_has_a_gradient(name, norms, data):
    """Law 5 where parts are absent: nothing of the child is left out of the autograd graph."""
    parent = builders.build(f"layerdrop_{name}", **SIZES, **norms)
    plan = data.draw(plans(model_shape(parent)))
    child, state = builders.child_and_state(parent, plan, f"layerdrop_{name}")
    if type(child).__module__.startswith("fairseq"):
        return
    child.train()(**builders.inputs(name))[0].sum().backward()
    assert [key for key, parameter in child.named_parameters() if parameter.grad is None] == []
    assert sum(p.numel() for p in child.parameters()) == Parent(state).parameters


@given(data=st.data(), beam=st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_a_gated_parent_searches_as_its_child(data, beam):
    parent = builders.build("layerdrop_transformer", **SIZES).eval()
    plan = data.draw(plans(model_shape(parent)))
    child = builders.child_and_state(parent, plan, "layerdrop_transformer")[0].eval()
    with gated(parent, plan):
        assert builders.search(parent, beam) == builders.search(child, beam)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_child_that_is_stock_in_shape_is_stock(name):
    """Law 3: whole layers, or FFNs that are narrower by the same number everywhere, need no plugin."""
    parent = builders.build(f"layerdrop_{name}", **SIZES)
    for stack in ("encoder", "decoder"):
        if model_shape(parent).get(stack) is not None:
            even = StackPlan((0, 2), ffn={0: (0, 1, 5), 2: (2, 3, 4)})
            child, state = builders.child_and_state(parent, Plan(**{stack: even}), f"layerdrop_{name}")
            assert type(child).__module__.startswith("fairseq")
            assert state["cfg"]["model"][f"{stack}_ffn_embed_dim"] == 3
            assert not [name for name in state["cfg"]["model"] if name.endswith(("attn_heads", "ffn_units"))]
            uneven = StackPlan((0, 2), ffn={0: (0, 1, 5)})
            child, state = builders.child_and_state(parent, Plan(**{stack: uneven}), f"layerdrop_{name}")
            assert state["cfg"]["model"]["_name"] == f"layerdrop_{name}"
            assert state["cfg"]["model"][f"{stack}_ffn_units"] == f"3,{UNITS}"


def test_gates_open_again():
    parent = builders.build("layerdrop_transformer", **SIZES).eval()
    inputs = builders.inputs("transformer")
    before = parent(**inputs)[0]
    plan = Plan(StackPlan((0, 1), {0: ()}, {}, {1: None}), StackPlan((1, 2), {1: (0,)}, {2: None}, {1: (3,)}))
    with pytest.raises(ValueError, match="of ours"), gated(parent, plan):
        assert not torch.allclose(parent(**inputs)[0], before)
        raise ValueError("of ours")
    assert torch.equal(parent(**inputs)[0], before)
    assert all(gate.value is None for gates in gates_of(parent).values() for gate in gates)


@pytest.mark.parametrize(
    ("options", "plan", "message"),
    [
        ({"quant_noise_pq": 0.1}, StackPlan((0, 1, 2), {0: (1,)}), "--quant-noise-pq"),
        ({"quant_noise_pq": 0.1}, StackPlan((0, 1, 2), ffn={0: (1,)}), "--quant-noise-pq"),
        ({"scale_heads": True}, StackPlan((0, 1, 2), {0: ()}), "--scale-heads"),
        ({"scale_fc": True}, StackPlan((0, 1, 2), ffn={0: ()}), "--scale-fc"),
        ({"decoder_xformers_att_config": "{}"}, StackPlan((0, 1, 2), {}, {0: (1,)}), "--decoder-xformers-att-config"),
    ],
)
def test_parts_that_belong_together_are_refused(options, plan, message):
    state = builders.state_of(builders.build("layerdrop_transformer", **SIZES), "layerdrop_transformer")
    state["cfg"]["model"] |= options
    with pytest.raises(LayerdropError, match=message):
        prune(Parent(state), Plan(decoder=plan))
    whole = StackPlan((0, 2), **{kind: {0: None} for kind in KINDS[:2]})
    assert prune(Parent(state), Plan(decoder=whole)).state["cfg"]["model"]["decoder_layers"] == 2


def test_a_family_of_which_we_have_no_model_loses_whole_layers_only():
    state = builders.state_of(builders.build("layerdrop_transformer", **SIZES), "layerdrop_transformer")
    state["cfg"]["model"] |= {"_name": "transformer_align", "arch": "transformer_align", "alignment_layer": 2}
    prune(Parent(state), Plan(decoder=StackPlan((0, 2))))
    with pytest.raises(LayerdropError, match="only whole layers"):
        prune(Parent(state), Plan(decoder=StackPlan((0, 2), {0: (1,)})))


def test_attention_that_cannot_be_pruned_stays_fairseqs():
    """Quantisation noise and scaled heads: trained and dropped in whole layers, but no head can be gated."""
    for options in ({"quant_noise_pq": 0.1}, {"scale_heads": True}):
        sizes = SIZES | {"encoder_ffn_embed_dim": 8, "decoder_ffn_embed_dim": 8}  # whole blocks of the noise
        model = builders.build("layerdrop_transformer", **sizes, **options)
        model.train()(**builders.inputs("transformer"))
        with gated(model, Plan(decoder=StackPlan((0,), {0: None}))):
            model(**builders.inputs("transformer"))
        with (
            pytest.raises(LayerdropError, match="cannot be gated"),
            gated(model, Plan(decoder=StackPlan((0,), {0: ()}))),
        ):
            pass


def test_pruning_again_is_pruning_once():
    parent = builders.build("layerdrop_transformer", **SIZES)
    state = builders.state_of(parent, "layerdrop_transformer")
    first = Plan(StackPlan((0, 2), {0: (1, 3), 2: ()}, {}, {2: None}), StackPlan((0, 1, 2), {}, {1: (0, 1)}))
    second = Plan(StackPlan((0, 1), {0: (1,)}), StackPlan((1, 2), {}, {1: (1,), 2: None}))
    twice = prune(prune(Parent(state), first), second).state
    once = prune(Parent(state), second.after(first)).state
    assert twice["model"].keys() == once["model"].keys()
    assert all(torch.equal(value, once["model"][name]) for name, value in twice["model"].items())
    assert surgery.whole_plan(twice["cfg"][checkpoint.PROVENANCE]) == second.after(first)
    assert twice["cfg"]["model"] == once["cfg"]["model"]
