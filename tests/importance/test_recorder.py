import contextlib
import copy

import builders
import one_by_one
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.importance import methods
from layerdrop_plugin.importance.estimation import frozen, sum_gradients
from layerdrop_plugin.importance.recorder import Recorder
from layerdrop_plugin.pruning.gates import gated, gates_of
from layerdrop_plugin.pruning.plan import Plan, StackPlan

SHAPES = st.fixed_dictionaries(
    {
        "encoder_layers": st.integers(1, 3),
        "encoder_ffn_embed_dim": st.sampled_from([5, 24]),
        "encoder_attention_heads": st.sampled_from([1, 2, 4]),
        "decoder_layers": st.integers(1, 3),
        "encoder_normalize_before": st.booleans(),
        "decoder_normalize_before": st.booleans(),
        "encoder_self_attn_heads": st.sampled_from([None, "1", "0", "-"]),
        "decoder_encoder_attn_heads": st.sampled_from([None, "1", "-"]),
    }
)


def shaped(shape):
    """*shape* with the first layer's heads as it says and the others whole."""
    shape = dict(shape)
    for stack in ("encoder", "decoder"):
        for option in (f"{stack}_self_attn_heads", f"{stack}_encoder_attn_heads"):
            if shape.get(option) is not None:
                whole = [str(shape["encoder_attention_heads"])] * (shape[f"{stack}_layers"] - 1)
                shape[option] = ",".join([shape[option], *whole])
    return shape


def assert_scores(found, expected, tolerance=1e-5):
    """Both {key: rows}; differences are measured against the largest score of a kind, and against 0.1."""
    assert found.keys() == expected.keys()
    for key, rows in expected.items():
        mine, row = (
            [score for row in of for score in (row if isinstance(row, list) else [row])] for of in (found[key], rows)
        )
        assert len(found[key]) == len(rows)
        assert len(mine) == len(row)
        assert mine == pytest.approx(row, rel=0, abs=tolerance * max([0.1, *map(abs, row)])), key


def expected_scores(model, each, of):
    """{key: rows} of what *of* makes of a part's gradients (parts, tokens) of all examples *each*."""
    rows = {}
    for key, gates in gates_of(model).items():
        rows[key] = []
        for layer, gate in enumerate(gates):
            row = of([one[key, layer] for one in each]).tolist() if gate is not None and gate.parts else []
            rows[key] += row if key.endswith(".layers") else [row]
    return rows


@pytest.mark.parametrize("kind", one_by_one.KINDS)
@given(shape=SHAPES, sizes=st.lists(st.integers(1, 4), min_size=1, max_size=2), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_scores_are_those_of_one_example_at_a_time(kind, shape, sizes, seed):
    model = one_by_one.model_of(kind, **shaped(shape))
    criterion = one_by_one.criterion_of(kind)
    samples = one_by_one.samples_of(kind, sizes, seed)

    def loss_fn(sample):
        return criterion(model, sample)[0]

    each = one_by_one.gradients(model, loss_fn, samples)
    sums = sum_gradients(model, loss_fn, samples)
    assert sums.examples == len(each) == sum(sizes)
    by_example = {
        "importance": lambda parts: torch.stack([part.sum(1).abs() for part in parts]).mean(0),
        "fisher": lambda parts: torch.stack([part.sum(1).square() for part in parts]).mean(0),
        "taylor": lambda parts: -torch.stack([part.sum(1) for part in parts]).mean(0),
    }
    for method, of in by_example.items():
        assert_scores(methods.METHODS[method](None, sums)[0], expected_scores(model, each, of))
    by_token = sum_gradients(model, loss_fn, samples, per_token=True)
    found, error = methods.importance(None, by_token)
    assert_scores(found, expected_scores(model, each, lambda parts: torch.cat(parts, 1).abs().mean(1)))
    deviation = expected_scores(
        model, each, lambda parts: torch.cat(parts, 1).abs().std(1, correction=0) / torch.cat(parts, 1).size(1) ** 0.5
    )
    assert_scores(error, deviation, 1e-3)
    assert sums.loss == pytest.approx(sum(loss_fn(sample).item() for sample in samples) / sums.examples, rel=1e-5)


def exact_model(arch, norm_first):
    """A small model in double precision (which fairseq's gelu is not), and the loss of a batch of its.

    Without padding, whose vectors of zeros a LayerNorm cannot be differentiated at numerically.
    """
    torch.manual_seed(0)
    norms = {f"{stack}_normalize_before": norm_first for stack in ("encoder", "decoder")}
    model = builders.build(arch, encoder_layers=2, encoder_ffn_embed_dim=6, activation_fn="tanh", **norms)
    inputs = {name: value.masked_fill(value.eq(one_by_one.PAD), 7) for name, value in builders.inputs(arch).items()}
    return model.double().eval(), inputs, lambda _=None: F.log_softmax(model(**inputs)[0], -1)[..., 5].sum()


def assert_differentiated(model, found, loss_fn, places):
    """Each of *places* (key, layer, part): *found* is the loss differentiated numerically by the part's factor."""
    gates, step = gates_of(model), 1e-5
    for key, layer, part in places:
        gate, losses = gates[key][layer], []
        before = gate.value
        for sign in (1, -1):
            gate.value = torch.ones(gate.parts, dtype=torch.float64) if before is None else before.double()
            gate.value[part] += sign * step
            with torch.no_grad():
                losses.append(loss_fn().item())
        gate.value = before
        mine = found[key][layer] if key.endswith(".layers") else found[key][layer][part]
        assert mine == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-6, abs=1e-8), (key, layer, part)


@pytest.mark.parametrize("arch", ["layerdrop_roberta", "layerdrop_transformer"])
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("factors", [(1.0,), (0.0,), (0.0, 0.5, 1.0)])
def test_gradients_are_the_loss_differentiated_numerically(arch, norm_first, factors):
    """For every head, FFN unit and layer, at its gate's value: where it is closed too."""
    model, inputs, loss_fn = exact_model(arch, norm_first)
    places = [
        (key, layer, part)
        for key, gates in gates_of(model).items()
        for layer, gate in enumerate(gates)
        for part in range(gate.parts)
    ]
    for number, (key, layer, part) in enumerate(places):
        gate = gates_of(model)[key][layer]
        if not key.endswith(".layers") or len(factors) > 1:  # or nothing in a closed layer would have a gradient
            gate.value = torch.ones(gate.parts) if gate.value is None else gate.value
            gate.value[part] = factors[number % len(factors)]
    sums = sum_gradients(model, loss_fn, [{"net_input": inputs}])
    found = sums.rows(sums.mean("signed") * sums.examples)
    assert_differentiated(model, found, loss_fn, places)
    assert len(factors) > 1 or all(found["decoder.ffn" if "decoder.ffn" in found else "encoder.ffn"][-1])


@pytest.mark.parametrize("arch", ["layerdrop_roberta", "layerdrop_transformer"])
@pytest.mark.parametrize("norm_first", [False, True])
def test_a_plans_closed_layers_and_parts_have_their_gradients(arch, norm_first):
    model, inputs, loss_fn = exact_model(arch, norm_first)
    closing = StackPlan((1,), {1: (0,)}, ffn={1: (2, 3)})
    with gated(model, Plan(encoder=closing)):
        expected = loss_fn().item()
        sums = sum_gradients(model, loss_fn, [{"net_input": inputs}])
    assert sums.loss * sums.examples == pytest.approx(expected, rel=1e-12)
    gates = gates_of(model)
    for key, layer, kept in (("encoder.self_attn", 1, (0,)), ("encoder.ffn", 1, (2, 3)), ("encoder.layers", 0, ())):
        gate = gates[key][layer]
        gate.value = torch.tensor([float(part in kept) for part in range(gate.parts)])
    found = sums.rows(sums.mean("signed") * sums.examples)
    places = [("encoder.layers", layer, 0) for layer in (0, 1)]
    places += [("encoder.self_attn", layer, part) for layer in (0, 1) for part in (0, 1)]
    places += [("encoder.ffn", 1, part) for part in range(6)]
    assert_differentiated(model, found, loss_fn, places)
    assert found["encoder.layers"][0]
    assert all(found["encoder.ffn"][1])


@pytest.mark.parametrize("kind", one_by_one.KINDS)
def test_gradients_are_those_of_stock_fairseqs_output_projection(kind):
    """For a batch of one, ∂L/∂ξ of a head is the sum of W · ∂L/∂W over its columns of the output projection W."""
    ours = one_by_one.model_of(kind)
    criterion = one_by_one.criterion_of(kind)
    sums = sum_gradients(ours, lambda sample: criterion(ours, sample)[0], [one_by_one.sample_of(kind, 1)])
    found = sums.rows(sums.mean("signed"))
    stock = builders.build(one_by_one.KINDS[kind][0].removeprefix("layerdrop_")).eval()
    if kind == "sentence_prediction":
        stock.register_classification_head("sentence_classification_head", num_classes=3)
    stock.load_state_dict(copy.deepcopy(ours.state_dict()))
    criterion(stock, one_by_one.sample_of(kind, 1))[0].backward()
    checked = 0
    for name, module in stock.named_modules():
        if name.endswith((".self_attn", ".encoder_attn")):
            stack, layer, attention = name.replace(".sentence_encoder", "").replace(".layers", "").split(".")
            weight = module.out_proj.weight
            expected = (weight * weight.grad).unflatten(1, (module.num_heads, -1)).sum((0, 2))
            mine = torch.tensor(found[f"{stack}.{attention}"][int(layer)])
            torch.testing.assert_close(mine, expected.detach(), rtol=1e-4, atol=1e-7)
            checked += 1
    assert checked


def one_batch(model, sample, backward, per_token=False):
    """What a recorder gives of *sample*, *backward* differentiating the loss; None if it gives nothing."""
    found = []
    batch = Recorder(model, per_token).start_batch(sample, found.append)
    backward(batch.attach(one_by_one.criterion_of("masked_lm")(model, sample)[0]))
    return found[0] if found else None


@pytest.mark.parametrize("per_token", [False, True])
def test_factors_of_the_loss_are_divided_out(per_token):
    model, sample = one_by_one.model_of("masked_lm"), one_by_one.sample_of("masked_lm")
    expected = one_batch(model, sample, lambda loss: loss.backward(), per_token)
    found = one_batch(model, sample, lambda loss: (loss * 2.0**12).backward(), per_token)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)
    assert expected[0] == 3


@pytest.mark.parametrize("factor", [0, float("inf"), float("nan")])
@pytest.mark.parametrize("per_token", [False, True])
def test_batches_that_only_keep_a_worker_busy_and_overflows_do_not_count(factor, per_token):
    model, sample = one_by_one.model_of("masked_lm"), one_by_one.sample_of("masked_lm")

    def backward(loss):
        loss *= factor  # in place, as fairseq does
        loss.backward()

    assert not one_batch(model, sample, backward, per_token).any()


def test_an_infinite_gradient_of_one_gate_discards_the_batch():
    model, sample = one_by_one.model_of("masked_lm"), one_by_one.sample_of("masked_lm")
    layer = model.encoder.sentence_encoder.layers[1]
    hook = layer.fc2.register_full_backward_hook(lambda module, given, _: (given[0] * float("inf"),))
    assert not one_batch(model, sample, lambda loss: loss.backward()).any()
    hook.remove()
    assert one_batch(model, sample, lambda loss: loss.backward())[0] == 3


@pytest.mark.parametrize("kind", ["masked_lm", "translation"])
@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize("still", [False, True])
def test_dropped_layers_and_checkpointed_activations(kind, per_token, still):
    """A recomputed forward gives what the first would have, with weights that take gradients and without."""
    drop = {"encoder_layerdrop": 0.5, "decoder_layerdrop": 0.5, "seed": 3}
    results = []
    for checkpointed in (False, True):
        model = one_by_one.model_of(kind, checkpoint_activations=checkpointed, **drop).train()
        criterion, found = one_by_one.criterion_of(kind), []
        recorder = Recorder(model, per_token)
        for update in range(3):  # they draw other layers
            model.set_num_updates(update)
            sample = one_by_one.sample_of(kind, seed=update)
            with frozen(model) if still else contextlib.nullcontext():
                batch = recorder.start_batch(sample, found.append)
                batch.attach(criterion(model, sample)[0]).backward()
        results.append(torch.stack(found))
    assert results[0].all(0).any()
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-7)


def test_dropped_layers_contribute_zero():
    model = one_by_one.model_of("masked_lm", encoder_layerdrop=0.5, seed=3).train()
    stack, criterion = model.encoder.sentence_encoder.layers, one_by_one.criterion_of("masked_lm")
    ran, sample = set(), one_by_one.sample_of("masked_lm")
    for depth, layer in enumerate(stack):
        layer.register_forward_pre_hook(lambda *_, depth=depth: ran.add(depth))
    recorder = Recorder(model)
    sums = recorder.sums()
    recorder.start_batch(sample, sums.add).attach(criterion(model, sample)[0]).backward()
    assert 0 < len(ran) < len(stack)
    found = sums.rows(sums.mean("absolute"))
    for depth in range(len(stack)):
        assert (
            (depth in ran)
            == (found["encoder.layers"][depth] > 0)
            == all(x > 0 for x in found["encoder.self_attn"][depth])
        )


def test_validation_does_not_count():
    model, sample = one_by_one.model_of("masked_lm"), one_by_one.sample_of("masked_lm")
    recorder, found = Recorder(model), []
    recorder.start_batch(sample, found.append)
    with torch.no_grad():
        one_by_one.criterion_of("masked_lm")(model, sample)
    assert not found
    recorder.remove_probes()
    assert all(gate is None or gate.probe is None for gates in gates_of(model).values() for gate in gates)


def test_frozen_restores_what_was():
    model = one_by_one.model_of("masked_lm").train()
    model.encoder.sentence_encoder.layers[1].eval()
    model.encoder.lm_head.bias.requires_grad_(False)
    before = [(m, m.training) for m in model.modules()], [(p, p.requires_grad) for p in model.parameters()]
    with pytest.raises(KeyError), frozen(model):
        assert not any(p.requires_grad for p in model.parameters())
        assert not any(m.training for m in model.modules())
        raise KeyError
    after = [(m, m.training) for m in model.modules()], [(p, p.requires_grad) for p in model.parameters()]
    assert [[flag for _, flag in of] for of in before] == [[flag for _, flag in of] for of in after]


def test_what_cannot_be_recorded_is_refused():
    with pytest.raises(LayerdropError, match="layerdrop_ architecture"):
        Recorder(builders.build("roberta"))
    model, sample = one_by_one.model_of("masked_lm"), one_by_one.sample_of("masked_lm")
    with pytest.raises(LayerdropError, match="cannot be counted"):
        Recorder(model).start_batch({"net_input": {"source": torch.zeros(2)}}, print)
    double = one_by_one.sample_of("masked_lm", 6)
    batch = Recorder(model).start_batch(sample, print)
    loss = batch.attach(one_by_one.criterion_of("masked_lm")(model, double)[0])
    with pytest.raises(LayerdropError, match="6 rows for 3 examples"):
        loss.backward()
    with pytest.raises(LayerdropError, match="no examples"):
        sum_gradients(model, lambda sample: None, [])
