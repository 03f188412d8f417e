import math

import builders
import pytest
import torch

from layerdrop_plugin.importance import methods
from layerdrop_plugin.importance.recorder import GradientSums
from layerdrop_plugin.pruning.scores import Scores

SIZES = {"encoder.self_attn": [2, 0], "encoder.layers": [1, 1]}
GRADIENTS = torch.tensor([[1.0, -2.0, 0.5, 0.0], [3.0, 2.0, -0.5, 0.0], [-1.0, 3.0, 0.5, 0.0]], dtype=torch.float64)


def sums_of(gradients, per_token=False, tokens=0):
    """Sums of *gradients* (examples, parts)."""
    sums = GradientSums(SIZES, per_token)
    for row in gradients:
        head = torch.tensor([1.0, 2.0, tokens, 0.0], dtype=torch.float64)
        sums.add(torch.cat([head, row.abs(), row**2, row, row**4]))
    return sums


@pytest.mark.parametrize(
    ("method", "of_one"), [("importance", torch.abs), ("fisher", torch.square), ("taylor", torch.neg)]
)
def test_means_and_their_standard_errors(method, of_one):
    scores, errors = methods.METHODS[method](None, sums_of(GRADIENTS))
    mean = of_one(GRADIENTS).mean(0).tolist()
    error = (of_one(GRADIENTS).std(0, correction=0) / math.sqrt(3)).tolist()
    for found, expected in ((scores, mean), (errors, error)):
        assert found == {
            "encoder.self_attn": [pytest.approx(expected[:2]), []],
            "encoder.layers": pytest.approx(expected[2:], abs=1e-12),
        }


def test_means_over_tokens():
    scores, _ = methods.importance(None, sums_of(GRADIENTS, per_token=True, tokens=5))
    assert scores["encoder.self_attn"] == [pytest.approx([5 / 15, 7 / 15]), []]
    assert sums_of(GRADIENTS).loss == 2.0


def test_the_first_order_predicts_the_loss_without_a_part():
    """Signed: of f(ξ) = 3 ξ, whose gradient is 3, the loss falls by 3 when the part is removed."""
    assert methods.taylor(None, sums_of(torch.full((1, 4), 3.0)))[0]["encoder.layers"] == [-3.0, -3.0]


@pytest.mark.parametrize("arch", ["layerdrop_roberta", "layerdrop_transformer", "layerdrop_transformer_lm"])
def test_magnitude_is_the_norm_of_a_parts_weights(arch):
    model = builders.build(arch)
    scores, errors = methods.magnitude(model)
    stacks = {"encoder": getattr(model, "encoder", None), "decoder": getattr(model, "decoder", None)}
    checked = 0
    for stack, module in stacks.items():
        layers = getattr(getattr(module, "sentence_encoder", module), "layers", [])
        for depth, layer in enumerate(layers):
            attention, unit = layer.self_attn, 3
            for head in range(2):
                rows = slice(head * 8, head * 8 + 8)
                of_head = [p.weight[rows] for p in (attention.q_proj, attention.k_proj, attention.v_proj)]
                of_head += [p.bias[rows] for p in (attention.q_proj, attention.k_proj, attention.v_proj)]
                of_head.append(attention.out_proj.weight[:, rows])
                assert scores[f"{stack}.self_attn"][depth][head] == pytest.approx(_norm(of_head))
            of_unit = [layer.fc1.weight[unit], layer.fc1.bias[unit], layer.fc2.weight[:, unit]]
            assert scores[f"{stack}.ffn"][depth][unit] == pytest.approx(_norm(of_unit))
            assert scores[f"{stack}.layers"][depth] == pytest.approx(_norm(layer.parameters()))
            checked += 1
    assert checked
    assert _flat(errors) == {0.0}


def _norm(tensors):
    return math.sqrt(sum(float(tensor.detach().double().square().sum()) for tensor in tensors))


def _flat(rows):
    return {number for of in rows.values() for row in of for number in (row if isinstance(row, list) else [row])}


def test_random_scores_are_those_of_the_seed():
    model = builders.build("layerdrop_transformer")
    first, again, other = (methods.random(model, None, seed)[0] for seed in (1, 1, 2))
    assert first == again != other
    assert len(_flat(first)) == 4 * (2 + 24 + 1) + 4 * (2 + 2 + 24 + 1)  # all different
    assert all(0 <= number < 1 for number in _flat(first))


@pytest.mark.parametrize("method", ["magnitude", "random"])
def test_parts_that_are_gone(method):
    model = builders.build(
        "layerdrop_roberta", encoder_self_attn_heads="2,1,0,-", encoder_ffn_units="24,3,0,-", encoder_layerdrop=0.0
    )
    scores, errors = methods.METHODS[method](model, None, 1)
    assert [len(row) for row in scores["encoder.self_attn"]] == [2, 1, 0, 0]
    assert [len(row) for row in scores["encoder.ffn"]] == [24, 3, 0, 0]
    assert len(scores["encoder.layers"]) == 4
    about = {"model": None, "data": None, "examples": 0, "loss": None, "per": None, "signature": {}}
    assert Scores.of(scores, errors, method=method, **about).method == method
