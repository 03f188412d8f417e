import copy

import builders
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError

SHAPES = st.fixed_dictionaries(
    {
        "encoder_layers": st.integers(1, 5),
        "encoder_embed_dim": st.sampled_from([8, 16, 24]),
        "encoder_ffn_embed_dim": st.integers(1, 40),
        "encoder_attention_heads": st.sampled_from([1, 2, 4]),
        "encoder_normalize_before": st.booleans(),
        "layernorm_embedding": st.booleans(),
        "untie_weights_roberta": st.booleans(),
        "activation_fn": st.sampled_from(["gelu", "relu", "tanh"]),
        "checkpoint_activations": st.booleans(),
    }
)


@given(SHAPES, st.booleans(), st.integers(1, 4), st.integers(2, 12))
@settings(max_examples=25, deadline=None)
def test_nothing_dropped_nothing_changed(shape, training, size, length):
    """Law 2: fairseq's own state-dict keys, outputs, hidden states and gradients."""
    stock = builders.build("roberta", **shape)
    ours = builders.build("layerdrop_roberta", **shape)
    assert list(ours.state_dict()) == list(stock.state_dict())
    ours.load_state_dict(copy.deepcopy(stock.state_dict()))
    tokens = builders.batch(size, length)
    results = []
    for model in (stock, ours):
        model.train(training)
        x, extra = model(tokens, return_all_hiddens=True)
        x.sum().backward()
        results.append([x, *extra["inner_states"], *(p.grad for p in model.parameters())])
    for expected, found in zip(*results, strict=True):
        builders.assert_equal_but_for_rounding(found, expected)


@pytest.mark.parametrize("drop", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("head", [None, "topic"])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_every_parameter_has_a_gradient_and_idle_ones_zero(drop, head, checkpointed):
    """Law 5, in one process: dropped layers, the LM head under a classification head and the other way round."""
    model = builders.build("layerdrop_roberta", encoder_layerdrop=drop, checkpoint_activations=checkpointed)
    model.register_classification_head("topic", num_classes=3)
    model.register_classification_head("unused", num_classes=2)
    model.train()
    seen = set()
    for update in range(8):
        model.zero_grad(set_to_none=True)
        model.set_num_updates(update)
        ran = []
        layers = model.encoder.sentence_encoder.layers
        hooks = [
            layer.register_forward_pre_hook(lambda m, a, d=d, ran=ran: ran.append(d)) for d, layer in enumerate(layers)
        ]
        model(builders.batch(), classification_head_name=head)[0].sum().backward()
        for hook in hooks:
            hook.remove()
        assert all(parameter.grad is not None for parameter in model.parameters())
        for depth, layer in enumerate(layers):
            assert any(p.grad.any() for p in layer.parameters()) == (depth in ran)
        assert not any(p.grad.any() for p in model.classification_heads["unused"].parameters())
        seen.add(tuple(sorted(set(ran))))
    assert len(seen) == 1 if drop == 0 else () in seen or len(seen) > 1


def test_in_evaluation_nothing_is_dropped():
    model = builders.build("layerdrop_roberta", encoder_layerdrop=0.9).eval()
    tokens = builders.batch()
    assert torch.equal(model(tokens)[0], model(tokens)[0])
    assert len(model(tokens, return_all_hiddens=True)[1]["inner_states"]) == 5


def test_hidden_states_are_those_of_the_layers_kept():
    model = builders.build("layerdrop_roberta", encoder_layerdrop=0.5).train()
    for update in range(6):
        model.set_num_updates(update)
        states = model(builders.batch(), return_all_hiddens=True)[1]["inner_states"]
        assert 1 <= len(states) <= 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_layerdrop": 1.0}, "0 <= p < 1"),
        ({"encoder_layerdrop": 0.8, "encoder_layerdrop_schedule": "linear"}, "would be dropped"),
        ({"encoder_layers_to_keep": "0,4"}, "no layer 4"),
        ({"encoder_layers_to_keep": "1,1"}, "repeats"),
        ({"encoder_layers_to_keep": "a"}, "separated by commas"),
        ({"mha_heads_to_keep": 1}, "unfinished"),
        ({"ffn_blocks_to_remove": 1}, "unfinished"),
        ({"encoder_layerdrop": 0.2, "ddp_backend": "fully_sharded"}, "fully_sharded"),
        ({"dictionary_sha256": "0" * 64}, "another dictionary"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(LayerdropError, match=message):
        builders.build("layerdrop_roberta", **changes)


def test_layers_to_keep_prunes_once_and_loads_its_own_checkpoint():
    """fairseq prunes a second time when it resumes; and its --encoder-layers-to-keep survives in what it saves."""
    whole = builders.build("layerdrop_roberta")
    pruned = builders.build("layerdrop_roberta", encoder_layers_to_keep="3,1")
    pruned.load_state_dict(copy.deepcopy(whole.state_dict()))
    for mine, theirs in zip(pruned.encoder.sentence_encoder.layers, (1, 3), strict=True):
        expected = whole.encoder.sentence_encoder.layers[theirs].state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in mine.state_dict().items())
    assert pruned.args.encoder_layers == 2
    assert pruned.args.encoder_layers_to_keep is None
    resumed = builders.build("layerdrop_roberta", encoder_layers_to_keep="1,3")
    resumed.load_state_dict(copy.deepcopy(pruned.state_dict()))
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), pruned.parameters(), strict=True))


@given(
    sizes=st.tuples(*[st.tuples(st.sampled_from(["-", "0", "1", "2"]), st.sampled_from(["-", "0", "5"]))] * 4),
    kept=st.sets(st.integers(0, 3), min_size=1),
)
@example(sizes=(("2", "5"), ("-", "-"), ("2", "5"), ("2", "5")), kept={0, 1, 3})
@example(sizes=(("2", "5"), ("-", "-"), ("2", "5"), ("2", "5")), kept={3})
@settings(max_examples=25, deadline=None)
def test_layers_to_keep_counts_layers_without_weights(sizes, kept):
    """A layer all of whose sublayers are absent has a number too, in pruning and in loading what was pruned."""
    heads, units = zip(*sizes, strict=True)
    parts = {"encoder_self_attn_heads": ",".join(heads), "encoder_ffn_units": ",".join(units)}
    whole = builders.build("layerdrop_roberta", encoder_ffn_embed_dim=5, **parts)
    keep = parts | {"encoder_layers_to_keep": ",".join(map(str, kept)), "encoder_ffn_embed_dim": 5}
    pruned, resumed = (builders.build("layerdrop_roberta", **keep) for _ in range(2))
    pruned.load_state_dict(copy.deepcopy(whole.state_dict()))
    resumed.load_state_dict(copy.deepcopy(pruned.state_dict()))
    for model in (pruned, resumed):
        for mine, theirs in zip(model.encoder.sentence_encoder.layers, sorted(kept), strict=True):
            expected = whole.encoder.sentence_encoder.layers[theirs].state_dict()
            assert mine.state_dict().keys() == expected.keys()
            assert all(torch.equal(value, expected[key]) for key, value in mine.state_dict().items())


def test_layers_to_keep_that_the_weights_do_not_have_are_refused():
    pruned = builders.build("layerdrop_roberta", encoder_layers_to_keep="0,3")
    with pytest.raises(LayerdropError, match="--encoder-layers-to-keep 0,3: .* no layer 3 of the encoder"):
        pruned.load_state_dict(builders.build("layerdrop_roberta", encoder_layers=3).state_dict())


@pytest.mark.parametrize(
    ("arch", "layers", "width"),
    [
        ("layerdrop_roberta", 12, 768),
        ("layerdrop_roberta_base", 12, 768),
        ("layerdrop_roberta_large", 24, 1024),
        ("layerdrop_roberta_tiny", 6, 128),
    ],
)
def test_presets(arch, layers, width):
    from argparse import Namespace

    from fairseq.models import ARCH_CONFIG_REGISTRY

    args = Namespace()
    ARCH_CONFIG_REGISTRY[arch](args)
    assert (args.encoder_layers, args.encoder_embed_dim) == (layers, width)
    assert args.encoder_layerdrop == 0
