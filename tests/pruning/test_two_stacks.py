"""Laws 1 and 3 on decoders: gates against surgery, in training, evaluation, incremental decoding and beam search."""

import builders
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning import surgery
from layerdrop_plugin.pruning.gates import gated
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune

KEPT = st.none() | st.sets(st.integers(0, 3), min_size=1).map(lambda kept: StackPlan(tuple(sorted(kept))))
SHAPES = st.fixed_dictionaries(
    {
        "encoder_attention_heads": st.sampled_from([1, 2, 4]),
        "encoder_normalize_before": st.booleans(),
        "decoder_normalize_before": st.booleans(),
        "share_all_embeddings": st.booleans(),
    }
)


def step_by_step(model, encoder_out, tokens, orders):
    """Outputs of incremental decoding, the rows reordered as *orders* say between its steps."""
    state, outputs = {}, []
    for step in range(1, tokens.size(1) + 1):
        if step > 1:
            order = orders[step % len(orders)]
            tokens = tokens.index_select(0, order)
            encoder_out = encoder_out and model.encoder.reorder_encoder_out(encoder_out, order)
            model.decoder.reorder_incremental_state_scripting(state, order)
        x, extra = model.decoder(tokens[:, :step], encoder_out=encoder_out, incremental_state=state)
        outputs += [x, *(a for a in extra["attn"] if a is not None)]
    return outputs


@pytest.mark.parametrize("name", ["transformer", "bart", "transformer_lm"])
@given(encoder=KEPT, decoder=KEPT, shape=SHAPES, training=st.booleans(), data=st.data())
@settings(max_examples=25, deadline=None)
def test_gating_is_surgery(name, encoder, decoder, shape, training, data):
    """Law 1, incremental decoding with reordered rows included."""
    parent = builders.build(f"layerdrop_{name}", **shape)
    plan = Plan(None if name == "transformer_lm" else encoder, decoder)
    child = builders.child_of(parent, plan, f"layerdrop_{name}").train(training)
    assert type(child).__module__.startswith("fairseq")
    parent.train(training)
    inputs = builders.inputs(name)
    rows = st.lists(st.integers(0, 2), min_size=3, max_size=3).map(torch.tensor)
    orders = data.draw(st.lists(rows, min_size=1, max_size=3))
    results = []
    with gated(parent, plan), torch.no_grad():
        for model in (parent, child):
            x, extra = model(**inputs)
            result = [x, *extra["inner_states"], *(a for a in extra["attn"] if a is not None)]
            encoder_out = None
            if name != "transformer_lm":
                encoder_out = model.encoder(inputs["src_tokens"], inputs["src_lengths"])
            tokens = inputs.get("prev_output_tokens", inputs["src_tokens"])
            results.append(result + step_by_step(model, encoder_out, tokens, orders))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@given(encoder=KEPT, decoder=KEPT, beam=st.integers(1, 4))
@settings(max_examples=10, deadline=None)
def test_a_gated_parent_searches_as_its_child(encoder, decoder, beam):
    parent = builders.build("layerdrop_transformer").eval()
    plan = Plan(encoder, decoder)
    child = builders.child_of(parent, plan, "layerdrop_transformer").eval()
    with gated(parent, plan):
        assert builders.search(parent, beam) == builders.search(child, beam)


@pytest.mark.parametrize("name", ["transformer", "bart", "transformer_lm"])
def test_parameters_are_counted_as_the_model_counts_them(name):
    adaptive = {"adaptive_softmax_cutoff": "8,16", "decoder_input_dim": 16, "decoder_output_dim": 16}
    tied = {"adaptive_input": True, "adaptive_input_cutoff": "8,16", "tie_adaptive_weights": True}
    variants = {
        "transformer": [{}, {"share_all_embeddings": True}, {"share_decoder_input_output_embed": True}],
        "bart": [{}, {"share_all_embeddings": False}],
        "transformer_lm": [{}, {"share_decoder_input_output_embed": True}, adaptive, adaptive | tied],
    }
    for variant in variants[name]:
        model = builders.build(f"layerdrop_{name}", **variant)
        state = builders.state_of(model, f"layerdrop_{name}")
        assert Parent(state).parameters == sum(parameter.numel() for parameter in model.parameters())
        assert Parent(state).vocabulary_size() == Parent(state).vocabulary_size("target") == 25


def test_shapes_of_both_sides():
    model = builders.build("layerdrop_transformer", encoder_layers=3, decoder_layers=2, decoder_ffn_embed_dim=12)
    shape = Parent(builders.state_of(model, "layerdrop_transformer")).shape
    assert (shape.encoder.layers, shape.encoder.ffn, shape.encoder.heads) == (3, 24, 2)
    assert (shape.decoder.layers, shape.decoder.ffn, shape.decoder.embed_dim) == (2, 12, 16)
    plan = Plan(decoder=StackPlan((1,)))
    assert surgery.child_shape(shape, plan).decoder.layers == 1
    assert surgery.child_shape(shape, plan).encoder == shape.encoder


def test_pruning_twice_is_pruning_once():
    """Plans of a child's child, of either side, in the numbers of the oldest parent."""
    model = builders.build("layerdrop_transformer")
    state = builders.state_of(model, "layerdrop_transformer")
    first = prune(Parent(state), Plan(decoder=StackPlan((0, 1, 3)))).state
    second = prune(Parent(first), Plan(StackPlan((1, 2)), StackPlan((2,)))).state
    assert surgery.origin_of(second["cfg"])["plan"] == Plan(StackPlan((1, 2)), StackPlan((3,))).to_dict()
    once = prune(Parent(state), Plan(StackPlan((1, 2)), StackPlan((3,)))).state
    assert second["model"].keys() == once["model"].keys()
    assert all(torch.equal(value, once["model"][name]) for name, value in second["model"].items())


def test_weights_that_do_not_fit_the_architecture_are_refused():
    state = builders.state_of(builders.build("layerdrop_transformer"), "layerdrop_transformer")
    state["model"] = {k: v for k, v in state["model"].items() if not k.startswith("decoder.layers.1.")}
    with pytest.raises(LayerdropError, match="decoder are missing"):
        _ = Parent(state).shape
