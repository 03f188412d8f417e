"""Learned drop rates: their mean and bounds, what they find, where they are kept."""

import copy

import builders
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.modules.layer_stack import LayerStack
from layerdrop_plugin.modules.learned_rates import HIGHEST, LOWEST, LearnedRates, rates_of
from layerdrop_plugin.pruning.gates import stacks_of

NAMES = ["roberta", "transformer", "transformer_lm"]
LEARN = {"encoder_layerdrop": 0.3, "decoder_layerdrop": 0.4, "learn_layerdrop": True}
KEYS = ("rates", "hidden", "output", "bias", "input_mean", "input_updates", "loss_mean", "loss_variance", "updates")


@settings(deadline=None)
@given(st.lists(st.floats(-30, 30), min_size=2, max_size=30), st.floats(0.051, 0.949), st.floats(-9, 9))
def test_rates_have_their_mean_and_bounds_and_follow_the_scores(scores, rate, shift):
    scores = torch.tensor(scores, dtype=torch.float64)
    rates = rates_of(scores, rate)
    assert abs(rates.mean().item() - rate) < 1e-9
    assert rates.min() >= LOWEST
    assert rates.max() <= HIGHEST
    assert (rates[scores.argsort()].diff() >= 0).all()
    torch.testing.assert_close(rates_of(scores + shift, rate), rates, atol=1e-6, rtol=0)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 6), st.floats(0.1, 0.9), st.floats(0, 1))
def test_the_score_of_a_draw_is_the_gradient_of_its_log_probability(seed, layers, rate, factor):
    generator = torch.Generator().manual_seed(seed)
    learned = LearnedRates(rate, layers, 4)
    learned.rates.copy_(rates_of(torch.randn(layers, generator=generator).double(), rate))
    kept = torch.rand(layers, generator=generator) < 0.5 if factor > 0.01 else torch.ones(layers).bool()
    learned.record_draw(kept.nonzero()[:, 0].tolist(), factor)
    learned.add_loss(torch.tensor(3.0), 2)
    p = learned.rates.double().requires_grad_()
    (torch.where(kept, 1 - factor * p, factor * p)).log().nan_to_num().sum().backward()
    sums = learned.take_sums()
    torch.testing.assert_close(sums["size_score"], 2 * p.grad)
    torch.testing.assert_close(sums["loss_score"], 3 * p.grad)


def test_the_expected_gradient_is_that_of_the_expected_loss():
    """Over all draws of three layers, each with its probability; c moves with the scores."""
    learned = LearnedRates(0.4, 3, 4, learning_rate=1.0)
    learned.bias.copy_(torch.tensor([0.3, -0.5, 0.1]))
    learned.updates.fill_(50)
    learned.loss_mean.fill_(2.0)
    learned.loss_variance.fill_(1.0)
    learned.rates.copy_(rates_of(learned.bias.double(), 0.4))
    cost = torch.tensor([0.7, 0.1, -0.4], dtype=torch.float64)  # of dropping a layer
    draws = [[layer for layer in range(3) if number >> layer & 1] for number in range(8)]

    def loss_of(kept):
        return torch.tensor(2.0) + sum(cost[layer] for layer in range(3) if layer not in kept)

    numeric = []
    for layer in range(3):
        moved = [rates_of(learned.bias.double() + sign * 1e-5 * torch.eye(3)[layer], 0.4) for sign in (1, -1)]
        numeric.append(((moved[0] - moved[1]) * cost).sum().item() / 2e-5)
    before, step = learned.bias.clone(), torch.zeros(3)
    p = learned.rates.double()
    for kept in draws:
        one = copy.deepcopy(learned)
        one.record_draw(kept, 1.0)
        one.add_loss(loss_of(kept), 1)
        one.update(one.take_sums())
        chance = torch.stack([1 - p[d] if d in kept else p[d] for d in range(3)]).prod()
        step += chance * (before - one.bias)
    torch.testing.assert_close(step, torch.tensor(numeric), atol=1e-4, rtol=0)


class PostNormLayer(nn.Module):
    """x -> LayerNorm(x + W x), and x itself where W is absent."""

    def __init__(self, width, absent, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.zeros(width, width) if absent else torch.randn(width, width, generator=generator)

    def forward(self, x):
        return nn.functional.layer_norm(x + x @ self.weight / 3, x.shape[-1:])


class Whole(nn.Module):
    """What an encoder does with its layers and their rates."""

    def __init__(self, absent, layers=6, width=8, rate=0.4, learning_rate=0.1, seed=1):
        super().__init__()
        modules = [PostNormLayer(width, layer in absent, layer) for layer in range(layers)]
        self.layers = LayerStack(modules, [rate] * layers, seed=seed)
        self.learned_rates = LearnedRates(rate, layers, width, seed=seed, learning_rate=learning_rate)
        self.layers.learn(self.learned_rates)

    def forward(self, x):
        with self.layers.forward_pass():
            for layer in self.layers:
                x = layer(x)
        return x


def learn(model, updates, begin=0, micro_batches=1):
    """Train the rates of *model*, whose loss is the distance of its output to that of all layers."""
    rates = model.learned_rates
    for update in range(begin, begin + updates):
        generator = torch.Generator().manual_seed(update)
        rates.discard_update()
        for _ in range(micro_batches):
            x = nn.functional.layer_norm(torch.randn(5, 2, 8, generator=generator), (8,))
            model.eval()
            whole = model(x)
            model.train()
            model.layers.set_num_updates(update)
            rates.add_loss((model(x) - whole).square().sum(), x.numel())
        rates.update(rates.take_sums())
    return rates.current()


@pytest.mark.parametrize(("absent", "seed"), [((1, 4), 1), ((0, 5), 2)])
def test_absent_layers_of_a_post_norm_stack_are_found(absent, seed):
    rates = learn(Whole(absent, seed=seed), 300)
    assert abs(sum(rates) / 6 - 0.4) < 1e-6
    others = [rate for layer, rate in enumerate(rates) if layer not in absent]
    assert min(rates[layer] for layer in absent) > 0.75
    assert max(others) < 0.55


def test_a_layer_that_does_harm_is_dropped_most():
    model = Whole((), layers=4)
    target = copy.deepcopy(model)
    target.layers[2].weight.zero_()
    rates = model.learned_rates
    for update in range(300):
        x = nn.functional.layer_norm(torch.randn(5, 2, 8, generator=torch.Generator().manual_seed(update)), (8,))
        model.layers.set_num_updates(update)
        rates.add_loss((model.train()(x) - target.eval()(x)).square().sum(), x.numel())
        rates.update(rates.take_sums())
    assert rates.current()[2] == max(rates.current()) > 0.7


def test_a_copy_that_is_saved_and_loaded_learns_what_the_uninterrupted_one_does():
    whole, begun = Whole((1,)), Whole((1,))
    expected = learn(whole, 60)
    learn(begun, 35)
    resumed = Whole((1,), seed=1)
    resumed.load_state_dict(begun.state_dict())
    resumed.layers.micro_batch = 0
    assert learn(resumed, 25, begin=35) == expected != [0.4] * 6


def test_workers_add_their_sums():
    """Two micro-batches in one worker, and one in each of two with the same draws."""
    alone, rates = Whole((1,)), []
    workers = [Whole((1,)), Whole((1,))]
    for update in range(30):
        generator, sums = torch.Generator().manual_seed(update), []
        x = torch.randn(5, 4, 8, generator=generator)
        for model, part in ((alone, x), (workers[0], x[:, :1]), (workers[1], x[:, 1:])):
            model.layers.set_num_updates(update)
            model.learned_rates.add_loss(model.train()(part).abs().sum(), part.shape[1])
            sums.append(model.learned_rates.take_sums())
        together = {name: value + sums[2][name] for name, value in sums[1].items()}
        for name, value in sums[0].items():
            torch.testing.assert_close(together[name], value, atol=1e-4, rtol=1e-5)
        alone.learned_rates.update(sums[0])
        for model in workers:
            model.learned_rates.update(together)
        rates.append(alone.learned_rates.current())
        assert workers[0].learned_rates.current() == workers[1].learned_rates.current()
        torch.testing.assert_close(workers[0].learned_rates.rates, alone.learned_rates.rates, atol=1e-4, rtol=0)
    assert rates[0] != rates[-1]


def test_sums_that_overflow_and_forwards_without_a_draw_teach_nothing():
    model = Whole((1,))
    learn(model, 15)
    before = copy.deepcopy(model.learned_rates.state_dict())
    rates = model.learned_rates
    model.eval()(torch.randn(5, 2, 8))
    rates.add_loss(torch.tensor(1.0), 1)
    assert rates.take_sums()["size"] == 0
    rates.update(rates.take_sums())
    for loss in (float("inf"), float("nan")):
        model.train()(torch.randn(5, 2, 8))
        rates.add_loss(torch.tensor(loss), 1)
        rates.update(rates.take_sums())
    assert all(value.equal(before[name]) for name, value in rates.state_dict().items())


def prefix(arch, stack):
    return f"{stack}.sentence_encoder.learned_rates." if arch == "roberta" else f"{stack}.learned_rates."


@pytest.mark.parametrize("name", NAMES)
def test_every_stack_with_a_rate_learns_and_padding_counts_for_nothing(name):
    model = builders.build(f"layerdrop_{name}", **LEARN).train()
    plain = builders.build(f"layerdrop_{name}", **LEARN | {"learn_layerdrop": False})
    assert not any("learned" in key for key in plain.state_dict())
    stacks = stacks_of(model)
    keys = {prefix(name, stack) + key for stack in stacks for key in KEYS}
    assert model.state_dict().keys() - plain.state_dict().keys() == keys
    assert [key for key, _ in model.named_parameters()] == [key for key, _ in plain.named_parameters()]
    inputs = builders.inputs(name)
    for stack in stacks.values():
        stack.rates = [0.3] * 4
        stack.learned.rates.fill_(1e-9)  # no layer is dropped
        stack.learned._current = None
    model(**inputs)[0].sum().backward()
    sums = {}
    for kind, stack in stacks.items():
        stack.learned.add_loss(torch.tensor(1.0), 1)
        sums[kind] = stack.learned.take_sums()
    tokens = {"encoder": inputs["src_tokens"], "decoder": inputs.get("prev_output_tokens", inputs["src_tokens"])}
    for kind, found in sums.items():
        assert found["tokens"].tolist() == [tokens[kind].ne(1).sum().item()] * 4
        assert found["inputs"].abs().sum(1).gt(0).all()


@pytest.mark.parametrize("name", NAMES)
def test_activation_checkpointing_changes_neither_draws_nor_sums(name):
    torch.manual_seed(0)
    plain = builders.build(f"layerdrop_{name}", **LEARN).train()
    checkpointed = builders.build(f"layerdrop_{name}", **LEARN, checkpoint_activations=True).train()
    checkpointed.load_state_dict(plain.state_dict())
    found = []
    for model in (plain, checkpointed):
        model.set_num_updates(3)
        model(**builders.inputs(name))[0].float().sum().backward()
        for stack in stacks_of(model).values():
            stack.learned.add_loss(torch.tensor(1.0), 1)
            found.append(stack.learned.take_sums())
    half = len(found) // 2
    for mine, theirs in zip(found[:half], found[half:], strict=True):
        for key, value in mine.items():
            torch.testing.assert_close(theirs[key], value, atol=1e-5, rtol=1e-5)


def test_half_precision_leaves_the_rates_in_single_precision():
    model = builders.build("layerdrop_roberta", **LEARN)
    learned = model.encoder.sentence_encoder.learned_rates
    before = copy.deepcopy(learned.state_dict())
    model.half()
    assert next(model.parameters()).dtype is torch.float16
    assert all(value.dtype is torch.float32 and value.equal(before[name]) for name, value in learned.named_buffers())
    for update in range(12):
        model.set_num_updates(update)
        learned.add_loss(model.train()(**builders.inputs("roberta"))[0].square().mean(), 1)
        learned.update(learned.take_sums())
    assert learned.updates == 12
    assert all(value.dtype is torch.float32 and value.isfinite().all() for value in learned.state_dict().values())
    assert learned.input_mean.abs().sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_weights_with_learned_rates_and_without_load_into_each_other(name, caplog):
    """Also those of another depth; the rates begin anew."""
    caplog.set_level("INFO")
    learning = builders.build(f"layerdrop_{name}", **LEARN)
    for stack in stacks_of(learning).values():
        stack.learned.rates[0] = 0.1
    plain = builders.build(f"layerdrop_{name}")
    plain.load_state_dict(learning.state_dict(), strict=True)
    assert "are left out, as --learn-layerdrop is not given" in caplog.text
    other = builders.build(f"layerdrop_{name}", **LEARN)
    other.load_state_dict(plain.state_dict(), strict=True)
    assert "begin anew" in caplog.text
    for kind, stack in stacks_of(other).items():
        assert stack.learned.current() == pytest.approx([LEARN[f"{kind}_layerdrop"]] * 4)
    other.load_state_dict(learning.state_dict(), strict=True)
    assert all(stack.learned.current()[0] == pytest.approx(0.1) for stack in stacks_of(other).values())
    kept = {f"{stack}_layers_to_keep": "0,2" for stack in stacks_of(other)}
    shallow = builders.build(f"layerdrop_{name}", **LEARN, **kept)
    shallow.load_state_dict(learning.state_dict(), strict=True)
    assert all(len(stack.learned.current()) == 2 for stack in stacks_of(shallow).values())


def test_models_with_learned_rates_can_be_scripted_traced_and_copied():
    model = builders.build("layerdrop_roberta", **LEARN).eval()
    expected = model(**builders.inputs("roberta"))[0]
    tokens = tuple(builders.inputs("roberta").values())
    for other in (torch.jit.trace(builders.Logits(model), tokens), builders.Logits(copy.deepcopy(model))):
        torch.testing.assert_close(other(*tokens), expected)
    scripted = torch.jit.script(model.encoder.sentence_encoder)
    assert not any("learned" in name for name, _ in scripted.named_buffers())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder_layerdrop": 0.0}, "--learn-layerdrop learns rates whose mean is not 0: give --encoder-layerdrop P"),
        ({"encoder_layerdrop": 0.05}, "keeps every rate from 0.05 to 0.95: --encoder-layerdrop 0.05 must lie between"),
        ({"encoder_layerdrop": 0.97}, "--encoder-layerdrop 0.97 must lie between them"),
        ({"encoder_layerdrop_schedule": "linear"}, "takes the place of --encoder-layerdrop-schedule"),
        ({"encoder_layers": 1}, "nothing to learn with one encoder layer"),
        ({"learn_layerdrop_lr": 0.0}, "--learn-layerdrop-lr wants a number above 0, not 0.0"),
        ({"learn_layerdrop_lr": float("nan")}, "--learn-layerdrop-lr wants a number above 0"),
        ({"learn_layerdrop": False, "learn_layerdrop_lr": 0.1}, "--learn-layerdrop-lr says how --learn-layerdrop"),
        ({"ddp_backend": "fully_sharded"}, "--encoder-layerdrop does not work under --ddp-backend fully_sharded"),
    ],
)
def test_what_cannot_be_learned_is_refused_in_one_line(options, message):
    with pytest.raises(LayerdropError, match=message):
        builders.build("layerdrop_roberta", **{"encoder_layerdrop": 0.3, "learn_layerdrop": True} | options)
