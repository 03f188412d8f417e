"""Refitting a child to its parent: what must be recovered exactly, and that held-out losses fall on a trained model."""

import dataclasses

import checkpoints
import pytest
import torch
from torch.nn import functional as F

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation import session
from layerdrop_plugin.evaluation.losses import measure_all
from layerdrop_plugin.evaluation.observed import LEAST_GAIN, norm_slope
from layerdrop_plugin.evaluation.reconstruct import reconstruct
from layerdrop_plugin.evaluation.reconstruct_child import reconstruct_child
from layerdrop_plugin.pruning import surgery
from layerdrop_plugin.pruning.gates import stacks_of
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune

PRENORM = "--encoder-normalize-before --decoder-normalize-before"
MODELS = {  # name -> kind of model, options beside the sizes
    "classification": ("classification", "--encoder-layers 4"),
    "pre-norm": ("classification", "--encoder-layers 3 --encoder-normalize-before"),
    "masked_lm": ("masked_lm", "--encoder-layers 3"),
    "translation": ("translation", "--encoder-layers 3 --decoder-layers 3"),
    "pre-norm translation": ("translation", f"--encoder-layers 3 --decoder-layers 3 {PRENORM}"),
    "language_modeling": ("language_modeling", "--decoder-layers 3"),
}


@pytest.fixture(scope="module")
def models(data, tmp_path_factory):
    """name -> the checkpoint and its session, seven examples a batch."""
    folder, found = tmp_path_factory.mktemp("models"), {}
    for name, (kind, more) in MODELS.items():
        parent = Parent.load(checkpoints.save(folder / f"{name}.pt", data, kind, more))
        found[name] = parent, session.load(parent, data / checkpoints.KINDS[kind][0], batch_size=7, cpu=True)
    return found


def child_of(models, name, plan, change=None):
    """A session of the parent and a live child of it by *plan*, both after *change* of the parent's model."""
    parent, of_parent = models[name]
    if change is not None:
        of_parent = of_parent.with_child(prune(parent, Plan()))  # a copy to change
        with torch.no_grad():
            change(of_parent.model)
        parent = Parent(parent.state | {"model": of_parent.model.state_dict()}, parent.path)
    return of_parent, of_parent.with_child(prune(parent, plan)).model


def alike(layer, kind):
    """Make heads, or FFN units, 0 and 1 of a sublayer compute the same; their output weights stay different."""
    if kind == "ffn":
        layer.fc1.weight[1], layer.fc1.bias[1] = layer.fc1.weight[0], layer.fc1.bias[0]
        return
    attention = layer.sublayer(kind)
    for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
        width = attention.head_dim
        projection.weight[width : 2 * width] = projection.weight[:width]
        projection.bias[width : 2 * width] = projection.bias[:width]


PLACES = [
    *(("classification", "encoder", kind) for kind in ("self_attn", "ffn")),
    *(("pre-norm", "encoder", kind) for kind in ("self_attn", "ffn")),
    *((name, "decoder", "encoder_attn") for name in ("translation", "pre-norm translation")),
    ("translation", "encoder", "self_attn"),
    ("language_modeling", "decoder", "self_attn"),
]


@pytest.mark.parametrize(("name", "stack", "kind"), PLACES)
def test_without_penalty_one_of_two_equal_parts_takes_over(models, name, stack, kind):
    """In double precision the child of a parent with two equal heads or units gives the parent's outputs to 1e-5."""
    parts = 12 if kind == "ffn" else 2
    plan = Plan(**{stack: StackPlan((0, 1, 2, 3)[: 4 if name == "classification" else 3])})
    chosen = plan.get(stack)
    plan = Plan(**{stack: dataclasses.replace(chosen, **{kind: {1: (0, *range(2, parts))}})})
    of_parent, child = child_of(models, name, plan, lambda model: alike(stacks_of(model)[stack][1], kind))
    of_parent.model.double(), child.double()
    batches = of_parent.batches("valid")
    sample = next(iter(batches))["net_input"]
    with torch.no_grad():
        expected = of_parent.model(**sample, features_only=True)[0]
        assert not torch.allclose(child(**sample, features_only=True)[0], expected, atol=1e-3)
        found = reconstruct(of_parent, child, plan, batches, penalties=(0,))
        torch.testing.assert_close(child(**sample, features_only=True)[0], expected, atol=1e-5, rtol=0)
    (refit,) = found.refits
    assert (str(refit.repair), refit.penalty) == (f"{stack} layer 1 {kind}", 0)
    assert refit.left < 1e-10


def test_a_scale_makes_up_for_a_part_that_did_the_same(models):
    """Two units with equal weights on both sides: twice the one that is left is both."""

    def change(model):
        layer = stacks_of(model)["encoder"][0]
        alike(layer, "ffn")
        layer.fc2.weight[:, 1] = layer.fc2.weight[:, 0]

    plan = Plan(encoder=StackPlan((0, 1, 2, 3), ffn={0: (0, *range(2, 12))}))
    of_parent, child = child_of(models, "classification", plan, change)
    of_parent.model.double(), child.double()
    before = stacks_of(child)["encoder"][0].fc2.weight.detach().clone()
    found = reconstruct(of_parent, child, plan, of_parent.batches("valid"), "scale", penalties=(0,))
    after = stacks_of(child)["encoder"][0].fc2.weight
    torch.testing.assert_close(after[:, 0], 2 * before[:, 0], atol=1e-6, rtol=0)
    torch.testing.assert_close(after[:, 1:], before[:, 1:], atol=1e-6, rtol=0)
    assert list(found.weights) == ["encoder.sentence_encoder.layers.0.fc2.weight"]


def test_a_prenorm_layer_that_adds_a_constant_is_made_up_for(models):
    def change(model):
        for projection in (layer := stacks_of(model)["encoder"][1]).self_attn.out_proj, layer.fc2:
            projection.weight.zero_()

    plan = Plan(encoder=StackPlan((0, 2)))
    of_parent, child = child_of(models, "pre-norm", plan, change)
    of_parent.model.double(), child.double()
    reconstruct(of_parent, child, plan, of_parent.batches("valid"), penalties=(0,))
    sample = next(iter(of_parent.batches("train")))["net_input"]
    with torch.no_grad():
        outputs = [model(**sample, features_only=True)[0] for model in (of_parent.model, child)]
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=0)


def test_a_postnorm_layer_is_fitted_through_its_layernorm(models):
    """The residual is what has to be added to the LayerNorm's input so that it gives the parent's output."""
    plan = Plan(encoder=StackPlan((0, 2, 3)))
    of_parent, child = child_of(models, "classification", plan)
    of_parent.model.double(), child.double()
    sample, layer = next(iter(of_parent.batches("valid"))), stacks_of(child)["encoder"][0]
    seen = {}
    hooks = [
        layer.final_layer_norm.register_forward_hook(lambda _, x, y: seen.update(z=x[0], y=y)),
        stacks_of(of_parent.model)["encoder"][2].register_forward_pre_hook(lambda _, x: seen.update(wanted=x[0])),
    ]
    with torch.no_grad():
        for model in (child, of_parent.model):
            model(**sample["net_input"], features_only=True)
    for hook in hooks:
        hook.remove()
    norm, z = layer.final_layer_norm, seen["z"]
    z, y = (x if x.shape == seen["wanted"].shape else x.transpose(0, 1) for x in (z, seen["y"]))
    assert (norm.weight.abs() > LEAST_GAIN * norm.weight.abs().mean()).all()
    target = z + (seen["wanted"] - y) * norm_slope(layer, "ffn", z)
    mean, deviation = z.mean(-1, keepdim=True), (z.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    torch.testing.assert_close((target - mean) / deviation * norm.weight + norm.bias, seen["wanted"])


@pytest.mark.parametrize("name", ["classification", "masked_lm", "translation", "pre-norm translation"])
def test_padding_plays_no_part(models, name):
    """One example a batch has no padding at all."""
    stacks = [stack for stack, _ in stacks_of(models[name][1].model).items()]
    plan = Plan(**{stack: StackPlan((0, 2), ffn={0: (1, 2, 3)}, self_attn={2: (1,)}) for stack in stacks})
    found = []
    for size in (1, 7):
        of_parent, child = child_of(models, name, plan)
        of_parent = dataclasses.replace(of_parent, batch_size=size)
        of_parent.model.double(), child.double()
        found.append(reconstruct(of_parent, child, plan, of_parent.batches("valid"), penalties=(0.01,)))
        of_parent.model.float()
    one, seven = found
    assert [refit.rows for refit in one.refits] == [refit.rows for refit in seven.refits]
    assert one.held_out.tolist() == seven.held_out.tolist()
    assert one.weights.keys() == seven.weights.keys()
    for weight, value in one.weights.items():
        torch.testing.assert_close(value, seven.weights[weight], atol=1e-6, rtol=0)


def test_layers_before_the_first_loss_and_all_other_weights_stay(models):
    plan = Plan(encoder=StackPlan((0, 1, 3)))
    of_parent, child = child_of(models, "classification", plan)
    before = {name: value.clone() for name, value in child.state_dict().items()}
    found = reconstruct(of_parent, child, plan, of_parent.batches("train"))
    changed = {name for name, value in child.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(found.weights)
    assert {name.split("layers.")[1] for name in changed} <= {
        *("1.fc2.weight", "1.fc2.bias", "2.fc2.weight", "2.fc2.bias"),
    }
    assert "encoder.sentence_encoder.layers.1.fc2.weight" in changed
    assert all(torch.equal(value, child.state_dict()[name]) for name, value in found.weights.items())


def test_the_last_layer_of_a_classifier_is_judged_by_its_first_tokens(models):
    plan = Plan(encoder=StackPlan((0, 1)))
    of_parent, child = child_of(models, "pre-norm", plan)
    judged = {}
    with torch.no_grad():
        for model in (of_parent.model, child):
            for sample in of_parent.batches("train"):
                states = model(**sample["net_input"], features_only=True, return_all_hiddens=True)[1]["inner_states"]
                judged.setdefault(model, {}).update(zip(sample["id"].tolist(), states[-1][0].double(), strict=True))
    found = reconstruct(of_parent, child, plan, of_parent.batches("train"))
    (last,) = found.refits
    differences = [judged[of_parent.model][number] - judged[child][number] for number in found.held_out.tolist()]
    assert last.before == pytest.approx(float(torch.stack(differences).square().sum()), rel=1e-4)


@pytest.mark.parametrize("by", ["full", "scale"])
def test_held_out_errors_never_rise(models, by):
    plan = Plan(
        StackPlan((0, 2), self_attn={2: (0,)}, ffn={0: (1, 2), 2: None}), StackPlan((0, 1), encoder_attn={0: ()})
    )
    of_parent, child = child_of(models, "translation", plan)
    found = reconstruct(of_parent, child, plan, of_parent.batches("train"), by)
    assert [str(refit.repair) for refit in found.refits] == [
        "encoder layer 0 ffn",
        "encoder layer 2 self_attn",
        *(["decoder layer 0 encoder_attn"] if by == "full" else []),  # which has no heads left to scale
        *("decoder layer 0 ffn", "decoder layer 1 ffn"),
    ]
    assert all(refit.after <= refit.before for refit in found.refits)
    assert min(refit.left for refit in found.refits) < 0.9


def trained(model, batches, head, updates=80):
    """Train a classifier for a few *updates*."""
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(updates // len(batches)):
        for sample in batches:
            logits, _ = model(**sample["net_input"], features_only=True, classification_head_name=head)
            optimizer.zero_grad()
            F.cross_entropy(logits, sample["target"].view(-1)).backward()
            optimizer.step()


@pytest.fixture(scope="module")
def fine_tuned(models, data, tmp_path_factory):
    """A classifier of four layers that has learnt something, and its session."""
    path = checkpoints.save(
        tmp_path_factory.mktemp("trained") / "parent.pt", data, "classification", "--encoder-layers 4"
    )
    parent = Parent.load(path)
    of_parent = session.load(parent, data / "nlu", batch_size=16, cpu=True)
    torch.manual_seed(1)
    trained(of_parent.model, of_parent.batches("train"), of_parent.task.cfg.classification_head_name)
    weights = {name: value.detach().clone() for name, value in of_parent.model.state_dict().items()}
    return Parent(parent.state | {"model": weights}, path), of_parent


FEW = Plan(encoder=StackPlan((0, 1, 2, 3), dict.fromkeys(range(4), (0,)), ffn=dict.fromkeys(range(4), (0,))))


@pytest.mark.parametrize("plan", [Plan(encoder=StackPlan((0, 3))), FEW], ids=["layers", "parts"])
def test_a_trained_model_gets_back_loss_on_other_data(fine_tuned, plan):
    """On a split that the reconstruction has not seen, at least half of what cutting cost comes back."""
    parent, of_parent = fine_tuned
    child = prune(parent, plan)
    cut, whole = (
        measure_all(each, of_parent.batches("valid")).loss for each in (of_parent.with_child(child), of_parent)
    )
    found, measured = reconstruct_child(of_parent, parent, child)
    after = measure_all(of_parent.with_child(child), of_parent.batches("valid")).loss
    assert cut > whole + 0.1
    assert after < (cut + whole) / 2
    held_out = of_parent.batches_of("train", found.held_out)
    assert measured["reconstructed"].loss == pytest.approx(
        measure_all(of_parent.with_child(child), held_out).loss, abs=1e-5
    )
    assert measured["cut"].loss > measured["reconstructed"].loss


def test_the_child_says_how_it_was_refitted(models):
    parent, of_parent = models["masked_lm"]
    child = prune(parent, Plan(encoder=StackPlan((0, 2))))
    before = child.fingerprint
    reconstruct_child(of_parent, parent, child, "valid", 20, "scale")
    assert child.fingerprint != before
    (ancestor,) = surgery.origin_of(child.cfg)["ancestors"]
    assert ancestor["reconstruction"] == {
        **{
            "by": "scale",
            "projections": 2,
            "examples": len(of_parent.examples("valid", 20)),
            "split": "valid",
            "seed": 1,
        },
        "data_sha256": of_parent.split("valid").sha256(),
    }
    again = prune(child, Plan(encoder=StackPlan((1,))))
    assert [surgery.reconstruction_of(of) for of in again.cfg["layerdrop"]["ancestors"]] == [
        *(surgery.reconstruction_of(ancestor), None),
    ]


def test_nothing_to_reconstruct_is_refused(models):
    of_parent, child = child_of(models, "classification", Plan())
    for plan, by in (
        (Plan(), "full"),
        (Plan(encoder=StackPlan((0, 1, 2, 3))), "full"),
        (Plan(encoder=StackPlan((0, 1, 2, 3), ffn={0: ()})), "scale"),
    ):
        with pytest.raises(LayerdropError, match="nothing to reconstruct"):
            reconstruct(of_parent, child, plan, of_parent.batches("valid"), by)


def test_one_example_cannot_be_held_out(models):
    plan = Plan(encoder=StackPlan((0,)))
    of_parent, child = child_of(models, "classification", plan)
    with pytest.raises(LayerdropError, match="too few"):
        reconstruct(of_parent, child, plan, of_parent.batches("valid", 1))


def test_fewer_tokens_than_columns_are_warned_of(models, caplog):
    caplog.set_level("WARNING")
    plan = Plan(encoder=StackPlan((0,)))
    of_parent, child = child_of(models, "classification", plan)
    reconstruct(of_parent, child, plan, of_parent.batches("valid"))
    assert not caplog.records
    reconstruct(of_parent, child, plan, of_parent.batches_of("valid", of_parent.examples("valid")[:2]))
    assert "more columns than there are tokens to fit them on (up to 13 for" in caplog.text
