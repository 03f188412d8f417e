"""Costs of plans are those of the children cut by them, counted on their weights, by hand and by torch."""

import re

import builders
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_plans import plans, shapes
from torch.utils.flop_counter import FlopCounterMode

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.costs import Costs, linear
from layerdrop_plugin.pruning.flops import flop_costs
from layerdrop_plugin.pruning.parameters import parameter_costs
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune

TABLES = re.compile(r"embed_tokens|embed_positions|output_projection|lm_head\.(weight|bias)")
ARCHITECTURES = ("layerdrop_roberta", "layerdrop_transformer", "layerdrop_transformer_lm")


def parent_of(arch: str, task: str = "masked_lm", **options) -> Parent:
    state = builders.state_of(builders.build(arch, **options), arch)
    state["cfg"]["task"]["_name"] = task
    return Parent(state)


@pytest.fixture(scope="module")
def parents():
    """Architecture -> a parent whose layers differ, sublayers are absent or empty, and the stacks have two widths."""
    sizes = {"encoder_layers": 3, "decoder_layers": 2, "decoder_embed_dim": 24, "decoder_attention_heads": 3}
    sizes |= {"encoder_self_attn_heads": "2,0,1", "encoder_ffn_units": "24,-,7", "decoder_encoder_attn_heads": "3,-"}
    return {
        "layerdrop_roberta": parent_of("layerdrop_roberta", encoder_ffn_units="24,0,5,-"),
        "layerdrop_transformer": parent_of("layerdrop_transformer", **sizes),
        "layerdrop_transformer_lm": parent_of("layerdrop_transformer_lm", share_decoder_input_output_embed=True),
    }


@pytest.mark.parametrize("arch", ARCHITECTURES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_parameters_of_a_plan_are_those_of_its_child(arch, parents, data):
    parent = parents[arch]
    plan = data.draw(plans(parent.shape))
    child = prune(parent, plan)
    assert parameter_costs(parent).of(plan, parent.shape) == child.parameters
    without = sum(weight.numel() for name, weight in child.learned_weights.items() if not TABLES.search(name))
    assert parameter_costs(parent, embeddings=False).of(plan, parent.shape) == without
    assert parameter_costs(child).whole(child.shape) == child.parameters


def test_flops_are_those_of_a_hand_count():
    width, heads, head, units, batch, length = 16, 2, 8, 24, 3, 5
    tokens = batch * length
    projections = 4 * 2 * tokens * width * heads * head
    attention = 2 * 2 * batch * heads * length * length * head
    feed_forward = 2 * 2 * tokens * width * units
    vocabulary = builders.FakeTask().source_dictionary
    output = 2 * tokens * width * len(vocabulary)

    parent = parent_of("layerdrop_roberta")
    lm_head = 2 * tokens * width * width + output
    whole = flop_costs(parent, batch, length).whole(parent.shape)
    assert whole == 4 * (projections + attention + feed_forward) + lm_head
    plan = Plan(encoder=StackPlan((0, 2), self_attn={0: (1,)}, ffn={0: (), 2: (3, 4, 5)}))
    found = flop_costs(parent, batch, length).of(plan, parent.shape)
    assert found == projections * 1.5 + attention * 1.5 + feed_forward * 3 / 24 + lm_head

    parent = parent_of("layerdrop_transformer", decoder_layers=2)
    whole = flop_costs(parent, batch, length).whole(parent.shape)
    decoder = 2 * (2 * (projections + attention) + feed_forward)
    assert whole == 4 * (projections + attention + feed_forward) + decoder + output


def counted(model, inputs, **options) -> int:
    with FlopCounterMode(display=False) as counter:
        model(**inputs, **options)
    return counter.get_total_flops()


@pytest.mark.parametrize("arch", ARCHITECTURES)
@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_flops_are_those_that_torch_counts_but_for_attention_on_the_cpu(arch, parents, data):
    """torch's counter takes scaled_dot_product_attention on the CPU for free: 4 B T² w of each head is missing."""
    parent = parents[arch]
    child = prune(parent, data.draw(plans(parent.shape)))
    batch, length = data.draw(st.integers(1, 3)), data.draw(st.integers(2, 6))
    tokens = torch.randint(4, 20, (batch, length))
    inputs = {"src_tokens": tokens}
    if arch == "layerdrop_transformer":
        inputs |= {"src_lengths": torch.full((batch,), length), "prev_output_tokens": tokens}
    model = builders.build(arch, **vars_of(child))
    model.train()  # in evaluation the decoder's last layer computes attention weights, which LayerDrop spares
    if hasattr(model, "decoder"):
        model.decoder.layers.rates = [1e-30] * len(model.decoder.layers)
    attention = sum(
        4 * batch * length * length * of.width(kind) * (size or 0)
        for _, of in child.shape.items()
        for kind, sizes in of.sizes.items()
        if kind != "ffn"
        for size in sizes
    )
    assert flop_costs(child, batch, length).whole(child.shape) - attention == counted(model, inputs)


def vars_of(child: Parent) -> dict:
    names = ("_layers", "_embed_dim", "_heads", "_units", "share_decoder_input_output_embed")
    return {name: value for name, value in child.options.items() if name.endswith((*names, "ffn_embed_dim"))}


def test_a_classifier_runs_its_head_on_first_tokens_and_no_output_layer():
    model = builders.build("layerdrop_roberta")
    model.register_classification_head("mood", num_classes=3)
    model.register_classification_head("other", num_classes=5)
    state = builders.state_of(model)
    state["cfg"]["task"] |= {"_name": "sentence_prediction", "classification_head_name": "mood"}
    parent = Parent(state)
    outside = flop_costs(parent, 2, 7).outside
    assert outside == 2 * 2 * (16 * 16 + 16 * 3)
    attention = 4 * 4 * 2 * 7 * 7 * 8 * 2
    inputs = {"src_tokens": torch.randint(4, 20, (2, 7)), "features_only": True, "classification_head_name": "mood"}
    assert flop_costs(parent, 2, 7).whole(parent.shape) == counted(model, inputs) + attention


def test_models_whose_flops_depend_on_the_words_are_refused():
    parent = parent_of("layerdrop_transformer_lm")
    parent.options["adaptive_softmax_cutoff"] = "10,20"
    with pytest.raises(LayerdropError, match="--adaptive-softmax-cutoff, which the formula of FLOPs does not cover"):
        flop_costs(parent, 1, 1)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_costs_add_up(data):
    """The whole is what is outside, the layers and their sublayers, whatever the shape."""
    shape = data.draw(shapes())
    keys = [f"{stack}.{kind}" for stack, of in shape.items() for kind in of.sizes]
    rows = {key: [len(key) + layer for layer in range(4)] for key in keys}
    layers = {stack: (5,) * of.layers for stack, of in shape.items()}
    sublayers = linear(shape, *({key: row[: len(sizes_of(shape, key))] for key, row in rows.items()} for _ in range(2)))
    costs = Costs("units", 7, layers, sublayers)
    expected = 7 + sum(5 * of.layers for _, of in shape.items())
    for key in keys:
        for layer, size in enumerate(sizes_of(shape, key)):
            expected += 0 if size is None else (1 + size) * (len(key) + layer)
    assert costs.whole(shape) == expected


def sizes_of(shape, key: str) -> tuple:
    stack, kind = key.split(".")
    return shape.get(stack).sizes[kind]
