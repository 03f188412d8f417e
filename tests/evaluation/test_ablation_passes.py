"""Ablations: gates against surgery, the encoder's single run, the statistics that come out."""

import json

import builders
import checkpoints
import numpy as np
import pytest
import torch

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation import ablation, ablation_summary, losses, session
from layerdrop_plugin.evaluation.ablation import ALL_BUT_ONE, EACH, Ablated, Head
from layerdrop_plugin.evaluation.losses import Measured
from layerdrop_plugin.pruning.gates import gates_of, stacks_of
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune


def plan_of(head, mode, layers):
    """The plan of a model of 2 heads a layer that an ablation of *head* amounts to."""
    kept = (1 - head.number,) if mode == EACH else (head.number,)
    stack, kind = head.kind.split(".")
    return Plan(**{stack: StackPlan(tuple(range(layers)), **{kind: {head.layer: kept}})})


@pytest.mark.parametrize("mode", ablation.MODES)
@pytest.mark.parametrize("kind", ["classification", "translation", "masked_lm", "language_modeling"])
def test_an_ablated_model_loses_what_its_child_loses(kind, mode, files, sessions, tmp_path):
    path, data = files[kind]
    loaded = sessions[kind]
    batches = loaded.batches("test", 10)
    measured = ablation.ablate(loaded, batches, mode)
    assert np.array_equal(measured.whole.losses, losses.measure_all(loaded, batches).losses)
    kinds = {"translation": 3}.get(kind, 1)
    assert len(measured.heads) == kinds * 2 * 2 and all(gate.value is None for gate in all_gates(loaded.model))
    for number, head in enumerate(list(measured.heads)[:: 3 if kind == "translation" else 1]):
        state = prune(Parent.load(path), plan_of(head, mode, 2)).state
        checkpoint.write(state, tmp_path / f"{number}.pt")
        child = session.load(tmp_path / f"{number}.pt", data, batch_size=7, cpu=True)
        expected = losses.measure_all(child, child.batches("test", 10))
        assert np.allclose(measured.heads[head].losses, expected.losses, atol=1e-4)
        assert not np.allclose(measured.heads[head].losses, measured.whole.losses, atol=1e-6)


@pytest.mark.parametrize("kind", ["classification", "translation"])
def test_layers_below_an_ablation_run_once(kind, sessions):
    loaded, calls = sessions[kind], []
    batches = loaded.batches("test")[:1]
    stacks = stacks_of(loaded.model)
    hooks = [stack[0].register_forward_hook(lambda *_: calls.append(1)) for stack in stacks.values()]
    try:
        measured = ablation.ablate(loaded, batches, EACH)
    finally:
        for hook in hooks:
            hook.remove()
    of_first = sum(head.layer == 0 for head in measured.heads)
    of_encoder = sum(head.kind == "encoder.self_attn" for head in measured.heads)
    below_decoder = of_encoder if kind == "translation" else 0  # which sees another encoder's output
    assert len(calls) == len(stacks) + of_first + below_decoder
    assert all(stack.active_layers is None for stack in stacks.values())
    for head in measured.heads:
        with ablation.ablated(loaded.model, head, EACH):
            assert np.array_equal(
                measured.heads[head].losses, losses.measure(loaded, batches[0]).losses[order(batches)]
            )


def order(batches):
    return np.argsort(batches[0]["id"].numpy())


def all_gates(model):
    return [gate for gates in gates_of(model).values() for gate in gates if gate is not None]


def test_the_encoder_runs_once_in_a_batch_for_all_ablations_of_the_decoder(sessions):
    loaded = sessions["translation"]
    batches = loaded.batches("test")
    calls = []
    hook = loaded.model.encoder.register_forward_hook(lambda *_: calls.append(1))
    try:
        measured = ablation.ablate(loaded, batches, EACH)
    finally:
        hook.remove()
    of_encoder = sum(head.kind.startswith("encoder.") for head in measured.heads)
    assert of_encoder == 4 and len(measured.heads) == 12
    assert len(calls) == len(batches) * (1 + of_encoder)


def test_gates_that_are_closed_already_stay_closed(sessions):
    model = sessions["classification"].model
    gate = gates_of(model)["encoder.self_attn"][1]
    gate.value = torch.tensor([0.0, 1.0])
    try:
        for mode, head, left in ((EACH, 1, [0.0, 0.0]), (ALL_BUT_ONE, 1, [0.0, 1.0]), (EACH, 0, [0.0, 1.0])):
            with ablation.ablated(model, Head("encoder.self_attn", 1, head), mode):
                assert gate.value.tolist() == left
        assert gate.value.tolist() == [0.0, 1.0]
    finally:
        gate.value = None


def test_models_with_absent_heads():
    model = builders.build("layerdrop_roberta", encoder_self_attn_heads="2,1,0,-")
    assert [(head.layer, head.number) for head in ablation.heads_of(model)] == [(0, 0), (0, 1), (1, 0)]
    assert [(head.layer, head.number) for head in ablation.heads_of(model, ALL_BUT_ONE)] == [(0, 0), (0, 1)]
    none = builders.build("layerdrop_roberta", encoder_self_attn_heads="1,1,0,-")
    with pytest.raises(LayerdropError, match="no attention with 2 or more heads"):
        ablation.heads_of(none, ALL_BUT_ONE)


class FakeSession:
    kind, per_token = "classification", False


def measured_of(rng, examples=200):
    """A made-up ablation of two layers of two heads: one head matters, one helps when it is gone, two do nothing."""
    whole = Measured(rng.normal(1.0, 0.3, examples), np.ones(examples, int), np.arange(examples) % 4 > 0)
    worse = Measured(whole.losses + 0.5 + rng.normal(0, 0.1, examples), whole.tokens, np.arange(examples) % 2 > 0)
    better = Measured(whole.losses - 0.1 + rng.normal(0, 0.1, examples), whole.tokens, whole.correct)
    same = Measured(whole.losses + rng.normal(0, 0.1, examples) - 0.002, whole.tokens, whole.correct)
    heads = {Head("encoder.self_attn", layer, number): m for (layer, number), m in
             zip(((0, 0), (0, 1), (1, 0), (1, 1)), (worse, same, better, whole), strict=True)}  # fmt: skip
    return Ablated(whole, heads)


def test_findings():
    record = ablation_summary.describe(measured_of(np.random.default_rng(0)), FakeSession, EACH)
    assert json.loads(json.dumps(record)) == record
    worse, same, better, none = record["heads"]
    assert worse["loss"]["change"] == pytest.approx(0.5, abs=0.02) and worse["loss"]["significant"]
    assert better["loss"]["change"] == pytest.approx(-0.1, abs=0.02) and better["loss"]["significant"]
    assert not same["loss"]["significant"] and none["loss"]["p_holm"] == 1.0 and none["loss"]["change"] == 0.0
    assert record["summary"]["loss"] | {"test": ""} == {
        "test": "", "tests": 4, "significant": 2, "worse": 1, "better": 1,
    }  # fmt: skip
    assert worse["accuracy"]["change"] == pytest.approx(-25.0)
    assert (worse["accuracy"]["broken"], worse["accuracy"]["mended"]) == (50, 0)
    assert record["summary"]["accuracy"]["significant"] == record["summary"]["accuracy"]["worse"] == 1
    assert "best" not in worse and record["whole"]["accuracy"] == 75.0


def test_findings_name_the_best_single_head_of_each_layer():
    record = ablation_summary.describe(measured_of(np.random.default_rng(0)), FakeSession, ALL_BUT_ONE)
    assert [entry["best"] for entry in record["heads"]] == [False, True, True, False]
    assert ablation_summary.choose(record["heads"], "all", 3) == sorted(
        record["heads"][1:3], key=lambda entry: entry["loss"]["change"]
    )


def test_the_extremes_are_chosen_by_loss():
    heads = [{"head": number, "loss": {"change": change}} for number, change in enumerate((5, 1, 4, 2, 3, 0, 6))]
    assert [entry["head"] for entry in ablation_summary.choose(heads, "extremes", 2)] == [5, 1, 0, 6]
    assert len(ablation_summary.choose(heads, "all", 2)) == len(ablation_summary.choose(heads, "extremes", 4)) == 7


def test_bleu_is_added_for_the_extremes(data, tmp_path):
    path = checkpoints.save(tmp_path / "model.pt", data, "translation")
    loaded = session.load(path, data / "nmt", cpu=True)
    measured = ablation.ablate(loaded, loaded.batches("test", 8), EACH)
    record = ablation_summary.describe(measured, loaded, EACH)
    assert "accuracy" not in record["summary"] and record["per"] == "token"
    ablation_summary.add_bleu(record, loaded, "test", "extremes", extremes=1, max_examples=6, beam=2)
    assert json.loads(json.dumps(record)) == record
    tested = [entry for entry in record["heads"] if "bleu" in entry]
    assert len(tested) == record["summary"]["bleu"]["tests"] == 2
    changes = sorted(entry["loss"]["change"] for entry in record["heads"])
    assert sorted(entry["loss"]["change"] for entry in tested) == [changes[0], changes[-1]]
    assert record["bleu"]["examples"] == 6 and "nrefs:1|bs:1000" in record["bleu"]["signature"]
