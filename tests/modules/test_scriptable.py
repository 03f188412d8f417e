"""torch.jit.script, torch.jit.trace, pickle and deepcopy take our models wherever they take fairseq's."""

import copy
import io

import builders
import pytest
import torch
from fairseq.models.transformer import TransformerDecoder, TransformerEncoder, TransformerModel
from fairseq.sequence_generator import SequenceGenerator, SequenceGeneratorWithAlignment

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.importance.recorder import Recorder
from layerdrop_plugin.models.transformer import LayerDropTransformerModel
from layerdrop_plugin.modules.scriptable import as_stock
from layerdrop_plugin.pruning.gates import gated, gates_of
from layerdrop_plugin.pruning.plan import Plan, StackPlan

NAMES = ["roberta", "transformer", "transformer_lm"]
SIZES = {"encoder_attention_heads": 4, "encoder_ffn_embed_dim": 12}
DROPS = {"layerdrop": 0.3, "headdrop": 0.2, "ffndrop": 0.2, "sublayerdrop": 0.2}
DROPPING = {f"{stack}_{name}": rate for stack in ("encoder", "decoder") for name, rate in DROPS.items()}
SHORT = {f"{stack}_{kind}": sizes for stack in ("encoder", "decoder")
         for kind, sizes in (("self_attn_heads", "4,2,1,3"), ("ffn_units", "12,5,1,7"))}  # fmt: skip
PRUNED = {f"{stack}_{kind}": sizes for stack in ("encoder", "decoder")
          for kind, sizes in (("self_attn_heads", "4,0,-,3"), ("ffn_units", "0,-,1,7"))}  # fmt: skip


def build(name, **changes):
    torch.manual_seed(0)
    return builders.build(f"layerdrop_{name}", **SIZES | changes)


def reread(scripted):
    """Saved and loaded."""
    file = io.BytesIO()
    torch.jit.save(scripted, file)
    file.seek(0)
    return torch.jit.load(file)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("changes", [{}, DROPPING, PRUNED], ids=["whole", "dropping", "pruned"])
def test_traced_models_compute_the_same(name, changes):
    """Heads, units and sublayers may be gone; other shapes of inputs than those traced."""
    model = build(name, **changes).eval()
    model(**builders.inputs(name))  # fairseq's decoder keeps its causal mask, which the tracer's own check trips over
    traced = reread(torch.jit.trace(builders.Logits(model), tuple(builders.inputs(name).values())))
    for size, length in ((3, 9), (2, 6)):
        inputs = builders.inputs(name, size, length, seed=5)
        torch.testing.assert_close(traced(*inputs.values()), model(**inputs)[0], atol=1e-5, rtol=0)


def test_a_trace_has_no_weights_of_its_own():
    """Weights that are one product in evaluation stay parameters, which can be loaded and moved."""
    model = build("transformer").eval()
    model(**builders.inputs("transformer"))
    traced = torch.jit.trace(builders.Logits(model), tuple(builders.inputs("transformer").values()))
    assert {name.removeprefix("model.") for name, _ in traced.named_parameters()} == dict(
        model.named_parameters()
    ).keys()
    for parameter in traced.parameters():
        parameter.data.zero_()
    assert not traced(*builders.inputs("transformer").values()).any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("changes", [{}, DROPPING, PRUNED], ids=["whole", "dropping", "pruned"])
def test_pickled_and_copied_models_compute_the_same_and_train(name, changes):
    model, inputs = build(name, **changes), builders.inputs(name)
    model.train()(**inputs)  # a draw leaves its masks in the gates
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    expected = model.eval()(**inputs)[0]
    for again in (torch.load(file, weights_only=False), copy.deepcopy(model)):
        assert torch.equal(again.eval()(**inputs)[0], expected)
        again.train()(**inputs)[0].sum().backward()
        assert all(parameter.grad is not None for parameter in again.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_copy_does_not_report_to_the_originals_recorder():
    model = build("roberta").eval()
    found, sample = [], {"net_input": builders.inputs("roberta")}
    Recorder(model).start_batch(sample, found.append)
    again = copy.deepcopy(model)
    assert all(gate.probe is not None for gates in gates_of(model).values() for gate in gates)
    assert all(gate.probe is None for gates in gates_of(again).values() for gate in gates)
    with gated(model, Plan(StackPlan((0, 1, 2, 3), {1: (0,)}))):
        closed = copy.deepcopy(model)
        expected = model(**sample["net_input"])[0]
    assert torch.equal(closed(**sample["net_input"])[0], expected)


@pytest.mark.parametrize("changes", [{}, DROPPING, SHORT], ids=["whole", "dropping", "smaller"])
def test_scripted_translation_models_compute_the_same(changes):
    """Saved, loaded, and the model that was scripted is still ours."""
    model = build("transformer", **changes).eval()
    scripted = reread(torch.jit.script(model))
    inputs = builders.inputs("transformer")
    torch.testing.assert_close(scripted(**inputs)[0], model(**inputs)[0], atol=1e-5, rtol=0)
    assert type(model) is LayerDropTransformerModel
    assert not any(type(module) in (TransformerModel, TransformerEncoder) for module in model.modules())
    model.train()(**inputs)[0].sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("kind", [SequenceGenerator, SequenceGeneratorWithAlignment])
def test_a_scripted_search_finds_the_same(kind):
    """The search goes on working, with a beam that shares its sentences before and fairseq's classes afterwards."""
    model = build("transformer").eval()
    generator = kind([model], builders.dictionary(), beam_size=3, max_len_b=8)
    sample = {"net_input": {name: value for name, value in builders.pairs().items() if name.startswith("src_")}}
    expected = generator.generate([model], sample)
    for found in (reread(torch.jit.script(generator))(sample), generator.generate([model], sample)):
        for mine, theirs in zip(sum(found, []), sum(expected, []), strict=True):
            assert torch.equal(mine["tokens"], theirs["tokens"])
            assert mine["score"].item() == pytest.approx(theirs["score"].item(), abs=1e-5)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_scripted_encoders_and_decoders_compute_the_same(checkpointed):
    """Of the models that fairseq writes so that only these can be scripted."""
    tokens = builders.batch()
    encoder = build("roberta", checkpoint_activations=checkpointed).eval().encoder.sentence_encoder
    found = torch.jit.script(encoder)(tokens)["encoder_out"][0]
    torch.testing.assert_close(found, encoder(tokens)["encoder_out"][0], atol=1e-5, rtol=0)
    decoder = build("transformer_lm", checkpoint_activations=checkpointed).eval().decoder
    torch.testing.assert_close(torch.jit.script(decoder)(tokens)[0], decoder(tokens)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_stock_classes_share_the_weights(name):
    model = build(name, **SHORT).eval()
    stock = as_stock(model)
    assert not [type(module) for module in stock.modules() if type(module).__module__.startswith("layerdrop_plugin")]
    assert all(a is b for a, b in zip(stock.parameters(), model.parameters(), strict=True))
    inputs = builders.inputs(name)
    torch.testing.assert_close(stock(**inputs)[0], model(**inputs)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changes", "lacking"),
    [
        ({"decoder_self_attn_heads": "4,0,4,4"}, "no attention without heads: use torch.jit.trace"),
        ({"encoder_ffn_units": "12,0,12,12"}, "no FFN without units"),
        ({"decoder_encoder_attn_heads": "4,4,-,4"}, "no layers without encoder_attn"),
    ],
)
def test_what_fairseqs_classes_cannot_be_is_not_scripted(changes, lacking):
    with pytest.raises(LayerdropError, match=lacking):
        torch.jit.script(build("transformer", **changes).eval())


@pytest.mark.parametrize(
    "plan", [StackPlan((0, 2)), StackPlan((0, 1, 2, 3), {1: (0,)}), StackPlan((0, 1, 2, 3), ffn={1: None})]
)
def test_a_closed_gate_is_not_scripted(plan):
    model = build("transformer").eval()
    with gated(model, Plan(encoder=plan)), pytest.raises(LayerdropError, match="have no gates"):
        torch.jit.script(model)


def test_attention_and_layers_alone_can_be_scripted():
    layer = build("transformer").eval().decoder.layers[0]
    x, scripted = torch.randn(5, 2, 16), torch.jit.script(layer)
    torch.testing.assert_close(scripted(x)[0], layer(x)[0], atol=1e-5, rtol=0)
    found = torch.jit.script(layer.self_attn)(x, x, x)
    torch.testing.assert_close(found[0], layer.self_attn(x, x, x)[0], atol=1e-5, rtol=0)


def test_decoders_of_fairseq_are_what_ours_stand_for():
    model = as_stock(build("transformer"))
    assert [type(part) for part in (model, model.encoder, model.decoder)] == [
        *(TransformerModel, TransformerEncoder, TransformerDecoder)
    ]
