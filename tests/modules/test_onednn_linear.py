"""Linear layers packed by oneDNN: the same numbers, one copy of the weights, and a way back."""

import copy
import functools
import pickle
from argparse import Namespace

import builders
import memory
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import layerdrop_plugin
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.modules import onednn_linear
from layerdrop_plugin.modules.onednn_linear import PackedWeight, pack_weights, unpack
from layerdrop_plugin.pruning.gates import gated
from layerdrop_plugin.pruning.plan import Plan, StackPlan

ARCHS = ("layerdrop_roberta", "layerdrop_transformer", "layerdrop_transformer_lm")
usable = pytest.mark.skipif(not onednn_linear.works(), reason="this torch or CPU has none of oneDNN's packed products")


def packed(arch="layerdrop_roberta", **changes):
    """A packed model, and one of the same weights that is not."""
    plain = builders.build(arch, **changes).eval()
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    built_from, plain.built_from = plain.built_from, None
    model = layerdrop_plugin.optimize_for_inference(copy.deepcopy(plain))
    model.built_from = plain.built_from = built_from
    return model, plain


def count(model):
    return sum(type(parameter) is PackedWeight for parameter in model.parameters())


def assert_same(model, plain, inputs):
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs)[0], plain(**inputs)[0], atol=1e-4, rtol=0)


@pytest.fixture
def no_ops(monkeypatch):
    """A torch without the ops."""
    onednn_linear.works.cache_clear()
    monkeypatch.setattr(torch.ops, "mkldnn", Namespace())
    yield
    onednn_linear.works.cache_clear()


@usable
@given(rows=st.integers(1, 40), inputs=st.integers(1, 40), outputs=st.lists(st.integers(1, 40), min_size=1, max_size=3))
@settings(deadline=None, max_examples=30)
def test_packed_weights_are_the_same_bits_and_give_the_same_products(rows, inputs, outputs):
    layers = [nn.Linear(inputs, size) for size in outputs]
    before = [(layer.weight, layer.weight.detach().clone()) for layer in layers]
    x = torch.randn(2, rows, inputs)
    expected = [layer(x) for layer in layers]
    del expected[:]  # a graph would keep the weights
    with torch.no_grad():
        expected = [layer(x) for layer in layers]
        pack_weights(*(layer.weight for layer in layers))
        for layer, (weight, bits), output in zip(layers, before, expected, strict=True):
            assert type(layer.weight) is PackedWeight and layer.weight is weight
            assert layer.weight.shape == bits.shape and layer.weight.requires_grad
            assert layer.state_dict()["weight"].equal(bits) and layer.weight.abs().equal(bits.abs())
            torch.testing.assert_close(layer(x), output, atol=1e-5, rtol=0)
            unpack(weight)
            assert type(layer.weight) is nn.Parameter and layer.weight is weight and weight.equal(bits)


@usable
@pytest.mark.parametrize("name", sorted(onednn_linear.ALGORITHMS))
def test_activations_are_computed_with_the_product(name):
    layer, x = nn.Linear(8, 12), torch.randn(5, 8)
    with torch.no_grad():
        expected = {"none": lambda y: y, "gelu": F.gelu, "relu": F.relu}[name](layer(x))
        pack_weights(layer.weight)
        found = layer.weight.packed.product(x, layer.bias, name)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@usable
@pytest.mark.parametrize("arch", ARCHS)
def test_a_packed_model_answers_and_saves_as_before(arch):
    model, plain = packed(arch)
    assert count(model) == len(model.packed_weights) > 20
    assert_same(model, plain, builders.inputs(arch))
    saved = model.state_dict()
    assert list(saved) == list(plain.state_dict())
    assert all(type(saved[name]) is torch.Tensor and saved[name].equal(w) for name, w in plain.state_dict().items())
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in plain.parameters())


@usable
@pytest.mark.parametrize("arch", ARCHS)
def test_copies_and_pickles_of_a_packed_model_are_ordinary(arch):
    model, plain = packed(arch)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert count(copied) == 0
        assert all(a.equal(b) for a, b in zip(copied.parameters(), plain.parameters(), strict=True))
        assert_same(copied, plain, builders.inputs(arch))
    assert count(model) > 20


@usable
@pytest.mark.parametrize("arch", ARCHS)
def test_queries_keys_and_values_stay_one_product(arch, monkeypatch):
    """An attention calls two products, a feed-forward two; the encoder's keys and values of a decoder are one."""
    model, _ = packed(arch)
    calls, product = [], onednn_linear.Packed.product
    monkeypatch.setattr(onednn_linear.Packed, "product", lambda *a, **k: calls.append(1) or product(*a, **k))
    options = {} if arch == "layerdrop_transformer" else {"features_only": True}
    with torch.no_grad():
        model(**builders.inputs(arch), **options)
    width = 2 if arch.endswith("_lm") else 0  # projections of embeddings to the model's width and back
    assert len(calls) == (4 * 4 + 4 * 7 + 1 if arch == "layerdrop_transformer" else 4 * 4 + width)


@usable
def test_gates_of_a_packed_model_are_surgery():
    model, plain = packed()
    plan = Plan(encoder=StackPlan((0, 2, 3), self_attn={0: (1,), 2: ()}, ffn={3: tuple(range(0, 24, 3)), 0: None}))
    inputs = builders.inputs("layerdrop_roberta")
    child = builders.child_of(model, plan).eval()
    with gated(model, plan), gated(plain, plan):
        assert_same(model, plain, inputs)
        assert_same(model, child, inputs)
    layerdrop_plugin.optimize_for_inference(child)
    assert count(child) > 0
    with gated(model, plan):
        assert_same(model, child, inputs)


@usable
def test_beam_search_of_200_sentences_finds_the_same_hypotheses():
    """Incremental decoding with lengths that grow to 10; whole and pruned."""
    model, plain = packed("layerdrop_transformer")
    plan = Plan(decoder=StackPlan((0, 3), self_attn={0: (1,)}, encoder_attn={3: ()}))
    sample = builders.pairs(200, 12, 4)
    for chosen in (Plan(), plan):
        with gated(model, chosen), gated(plain, chosen):
            found, expected = (_hypotheses(one, sample) for one in (model, plain))
        assert len(found) == 200
        assert [[h["tokens"].tolist() for h in sentence] for sentence in found] == [
            [h["tokens"].tolist() for h in sentence] for sentence in expected
        ]
        for one, other in zip(found, expected, strict=True):
            assert one[0]["score"].item() == pytest.approx(other[0]["score"].item(), abs=1e-4)


def _hypotheses(model, sample):
    from fairseq.sequence_generator import SequenceGenerator

    sample = {"net_input": {name: value for name, value in sample.items() if name.startswith("src_")}}
    model.set_beam_size(2)
    generator = SequenceGenerator([model], builders.dictionary(), beam_size=2, max_len_b=10)
    return generator.generate([model], sample)


@usable
@pytest.mark.parametrize("arch", ARCHS)
def test_training_a_packed_model_takes_the_same_steps(arch):
    """With an optimizer that was made before packing, or while packed; the gradients are the plain model's."""
    model, plain = packed(arch)
    inputs = builders.inputs(arch)
    optimizers = [torch.optim.SGD(one.parameters(), 0.1) for one in (model, plain)]
    for _ in range(2):
        for one, optimizer in zip((model, plain), optimizers, strict=True):
            one.train()
            optimizer.zero_grad()
            one(**inputs)[0].square().mean().backward()
            optimizer.step()
        assert count(model) == 0
        for a, b in zip(model.parameters(), plain.parameters(), strict=True):
            builders.assert_equal_but_for_rounding(a, b)
        layerdrop_plugin.optimize_for_inference(model.eval())
        assert_same(model, plain.eval(), inputs)
        assert count(model) > 20


@usable
def test_gradients_in_evaluation_mode_unpack_and_are_the_same():
    model, plain = packed()
    inputs = builders.inputs("layerdrop_roberta")
    for one in (model, plain):
        one(**inputs)[0].square().mean().backward()
    assert count(model) == 0
    for (name, a), b in zip(model.named_parameters(), plain.parameters(), strict=True):
        builders.assert_equal_but_for_rounding(a.grad, b.grad), name


@usable
def test_a_model_whose_graph_is_alive_is_not_packed_until_it_has_gone():
    model = builders.build("layerdrop_roberta").eval()
    logits = model(**builders.inputs("layerdrop_roberta"))[0]
    layerdrop_plugin.optimize_for_inference(model)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    del logits
    assert count(layerdrop_plugin.optimize_for_inference(model)) > 20


@usable
@pytest.mark.parametrize(
    "write",
    [
        lambda weight: weight.mul_(2),
        lambda weight: weight.data.mul_(2),
        nn.init.ones_,
        lambda weight: weight.__setitem__(0, 1.0),
        lambda weight: setattr(weight, "data", torch.ones_like(weight)),
    ],
)
def test_nothing_that_is_written_to_a_packed_weight_is_lost(write):
    model, plain = packed()
    for one in (model, plain):
        with torch.no_grad():
            write(one.encoder.sentence_encoder.layers[1].fc1.weight)
    assert_same(model, plain, builders.inputs("layerdrop_roberta"))


@usable
def test_loading_and_moving_packed_models():
    model, plain = packed()
    other = builders.build("layerdrop_roberta").eval()
    for one in (model, plain):
        one.load_state_dict(other.state_dict())
    assert_same(model, plain, builders.inputs("layerdrop_roberta"))
    layerdrop_plugin.optimize_for_inference(model)
    assert count(model.cpu().float()) > 20  # packed again
    assert count(model.double()) == 0
    assert model.encoder.lm_head.dense.weight.dtype == torch.float64


@usable
def test_there_is_no_second_copy_but_of_a_table_of_embeddings_that_is_used_as_output_layer():
    """Peak memory of building a model, packing it and asking it, over that of the same without packing."""
    inputs = builders.inputs("layerdrop_roberta", 1, 4)

    @torch.no_grad()
    def answer(pack, options):
        sizes = {"encoder_embed_dim": 64, "encoder_ffn_embed_dim": 256, "symbols": 1000}
        model = builders.build("layerdrop_roberta", **sizes).eval()
        if pack:
            layerdrop_plugin.optimize_for_inference(model)
        model(**inputs, **options)

    table = 4 * 64 * 1005
    layer = 4 * 64 * 256
    for options, copied in (({"features_only": True}, 0), ({}, table)):
        plain, with_packed = (memory.peak(functools.partial(answer, pack, options)) for pack in (False, True))
        assert with_packed <= plain + copied + 2 * layer, (options, plain, with_packed)


@usable
def test_a_model_in_training_and_others_models_are_refused():
    with pytest.raises(LayerdropError, match="training mode"):
        layerdrop_plugin.optimize_for_inference(builders.build("layerdrop_roberta").train())
    with pytest.raises(LayerdropError, match="no model of this plugin"):
        layerdrop_plugin.optimize_for_inference(builders.build("roberta").eval())
    with pytest.raises(LayerdropError, match="float32 or bfloat16"):
        layerdrop_plugin.optimize_for_inference(builders.build("layerdrop_roberta").eval(), torch.float16)


@usable
def test_fairseqs_hook_packs_and_refuses_training_as_fairseq_does():
    model = builders.build("layerdrop_transformer").eval()
    model.prepare_for_inference_(Namespace(generation=Namespace(beam=2)))
    assert count(model) > 20
    with pytest.raises(RuntimeError, match="cannot train"):
        model.train()


@pytest.mark.parametrize("arch", ARCHS)
def test_without_the_ops_nothing_happens(arch, no_ops):
    model, plain = packed(arch)
    assert count(model) == 0
    assert_same(model, plain, builders.inputs(arch))
    with pytest.raises(LayerdropError, match="no products in bfloat16"):
        layerdrop_plugin.optimize_for_inference(model, torch.bfloat16)


@usable
@pytest.mark.parametrize(
    "chosen, worth, least", [("0", True, None), ("1", False, 1), ("", True, 2**16), ("", False, None)]
)
def test_the_environment_or_a_trial_decides(chosen, worth, least, monkeypatch):
    monkeypatch.setenv("LAYERDROP_PACK", chosen)
    monkeypatch.setattr(onednn_linear, "worth_packing", lambda: worth)
    assert onednn_linear.least_size() == least


@usable
def test_small_layers_are_left_alone_where_a_trial_decides(monkeypatch):
    monkeypatch.delenv("LAYERDROP_PACK")
    monkeypatch.setattr(onednn_linear, "worth_packing", lambda: True)
    model = layerdrop_plugin.optimize_for_inference(builders.build("layerdrop_roberta", encoder_embed_dim=160).eval())
    assert {len(weight) for weight in model.packed_weights} == {160}  # 3 x 160 x 160, queries, keys and values
    assert count(model) == 12


@usable
def test_products_in_bfloat16_round_and_keep_the_weights():
    try:
        onednn_linear.check_dtype(torch.bfloat16)
    except LayerdropError as error:
        pytest.skip(str(error))
    model, plain = packed()
    layerdrop_plugin.optimize_for_inference(model, torch.bfloat16)
    inputs = builders.inputs("layerdrop_roberta")
    with torch.no_grad():
        found, expected = (one(**inputs, features_only=True)[0] for one in (model, plain))
    assert 1e-4 < (found - expected).abs().max() < 0.1
    assert all(a.equal(b) for a, b in zip(model.state_dict().values(), plain.state_dict().values(), strict=True))
