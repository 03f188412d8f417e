"""Gram matrices of gradients from one pass, against one example at a time."""

import checkpoints
import pytest
import torch

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation import session
from layerdrop_plugin.importance.estimation import criterion_of_session, sum_gradients, summed_loss
from layerdrop_plugin.importance.gram import GramMatrices
from layerdrop_plugin.importance.rearrangement import rearrange_on_data
from layerdrop_plugin.importance.recorder import Recorder
from layerdrop_plugin.pruning.gates import gates_of, model_shape
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.rearrange import rearrange

PLACES = [("encoder.ffn", 1), ("decoder.encoder_attn", 0)]


@pytest.fixture(scope="module")
def translator(data, tmp_path_factory):
    path = checkpoints.save(tmp_path_factory.mktemp("translator") / "parent.pt", data, "translation")
    return session.load(path, data / "nmt", batch_size=8, cpu=True)


def gram_matrices(of):
    """The Gram matrices of 12 examples, from one pass."""
    samples = of.batches("valid", 12)
    grams = GramMatrices(Recorder(of.model).sizes, PLACES)
    loss_fn = summed_loss(of, criterion_of_session(of), samples)
    sum_gradients(of.model, loss_fn, samples, per_example=grams.add)
    return grams.matrices


def test_the_matrices_are_those_of_single_examples(translator):
    """∂L/∂ξ of each example by autograd, and the sum of g gᵀ over the examples."""
    found = gram_matrices(translator)
    loss_fn = summed_loss(translator, criterion_of_session(translator), translator.batches("valid", 2))
    alone = [
        next(iter(translator.batches_of("valid", translator.examples("valid", 12)[number : number + 1])))
        for number in range(12)
    ]
    for (key, layer), matrix in found.items():
        gate = gates_of(translator.model)[key][layer]
        rows = []
        for sample in alone:
            gate.value = torch.ones(gate.parts, requires_grad=True)
            rows.append(torch.autograd.grad(loss_fn(sample), gate.value)[0])
            gate.value = None
        gradients = torch.stack(rows)
        assert matrix.shape == (gate.parts, gate.parts)
        torch.testing.assert_close(matrix, gradients.T @ gradients, atol=1e-4, rtol=1e-4)


def test_a_plan_is_rearranged_by_them(translator):
    plan = Plan(encoder=StackPlan((0, 1), ffn={1: (0, 1, 2)}), decoder=StackPlan((0, 1), encoder_attn={0: (0,)}))
    shape = model_shape(translator.model)
    found, exchanges = rearrange_on_data(translator, plan, "valid", 12)
    assert found == rearrange(plan, shape, gram_matrices(translator))[0]
    assert list(exchanges) == PLACES
    assert all(exchange.after <= exchange.before for exchange in exchanges.values())
    assert exchanges["encoder.ffn", 1].parts
    assert all(gate is None or gate.probe is None for gates in gates_of(translator.model).values() for gate in gates)


def test_a_plan_without_choice_is_refused_before_the_data_are_read(translator):
    with pytest.raises(LayerdropError, match="nothing to rearrange"):
        rearrange_on_data(translator, Plan(encoder=StackPlan((0,))), "no such subset")
