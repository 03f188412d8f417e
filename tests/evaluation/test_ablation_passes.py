"""Ablations: gates against surgery, the encoder's single run, the statistics that come out."""

import json

import builders
import checkpoints
import numpy as np
import pytest
import torch

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.evaluation import ablation, ablation_summary, losses, session, translations
from layerdrop_plugin.evaluation.ablation import ALL_BUT_ONE, EACH, Ablated, Head
from layerdrop_plugin.evaluation.losses import Measured
from layerdrop_plugin.evaluation.significance import halves
from layerdrop_plugin.pruning.gates import gates_of, stacks_of
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune
from layerdrop_plugin.reports import ablation as page


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
    batches = list(loaded.batches("test"))[:1]
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
    kind, per_token, seed = "classification", False, 1


def measured_of(rng, examples=200):
    """A made-up ablation of two layers of two heads: one head matters, one helps when it is gone, two do nothing."""
    whole = Measured(rng.normal(1.0, 0.3, examples), np.ones(examples, int), np.arange(examples) % 4 > 0)
    worse = Measured(whole.losses + 0.5 + rng.normal(0, 0.1, examples), whole.tokens, np.arange(examples) % 2 > 0)
    better = Measured(whole.losses - 0.1 + rng.normal(0, 0.1, examples), whole.tokens, whole.correct)
    same = Measured(whole.losses + rng.normal(0, 0.1, examples) - 0.002, whole.tokens, whole.correct)
    heads = {Head("encoder.self_attn", layer, number): m for (layer, number), m in
             zip(((0, 0), (0, 1), (1, 0), (1, 1)), (worse, same, better, whole), strict=True)}  # fmt: skip
    return Ablated(whole, heads, np.arange(examples))


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
    assert record["selection"] == {"chosen_on": 100, "tested_on": 100}
    assert [(entry["layer"], entry["head"]) for entry in record["best"]] == [(0, 1), (1, 0)]
    assert record["best"][1]["loss"]["significant"] and not record["best"][0]["loss"]["significant"]
    assert record["summary"]["loss"]["tests"] == 4 and json.loads(json.dumps(record)) == record
    assert ablation_summary.describe(measured_of(np.random.default_rng(0)), FakeSession, EACH)["selection"] is None


def test_the_best_of_heads_that_do_nothing_is_no_better_than_chance():
    rng, found = np.random.default_rng(0), {"half": 0, "all": 0}
    for _ in range(100):
        noise = rng.normal(0, 1, (17, 60))
        whole, *heads = (Measured(losses, np.ones(60, int)) for losses in noise)
        made = {Head("encoder.self_attn", 0, number): of for number, of in enumerate(heads)}
        record = ablation_summary.describe(Ablated(whole, made, np.arange(60)), FakeSession, ALL_BUT_ONE)
        found["half"] += record["best"][0]["loss"]["p"] < 0.05
        found["all"] += min(record["heads"], key=lambda entry: entry["loss"]["change"])["loss"]["p"] < 0.05
    assert found["half"] <= 10 and found["all"] >= 20  # of 100; tested where they were chosen many seem to help


def test_what_is_chosen_and_what_is_tested_are_halves_of_the_examples():
    for count in (10, 21, 1000):
        chosen_on, tested_on = halves(count, 1)
        assert sorted([*chosen_on, *tested_on]) == list(range(count)) and len(chosen_on) == count // 2
        assert not np.array_equal(halves(count, 2)[0], chosen_on) and np.array_equal(halves(count, 1)[1], tested_on)
    assert halves(9, 1) is None


def test_too_few_examples_choose_nothing_and_say_so():
    record = ablation_summary.describe(measured_of(np.random.default_rng(0), 9), FakeSession, ALL_BUT_ONE)
    assert record["best"] is None and record["selection"] == {"chosen_on": 0, "tested_on": 0}
    assert not any("best" in entry for entry in record["heads"])
    line = page.findings(record)[-1]
    assert "9 examples are too few to choose heads" in line and "tests of best heads were left out" in line
    assert page.shown(record) and "were chosen by loss" not in " ".join(page._notes(record | {"seed": 1}))


def test_the_extremes_are_chosen_by_loss():
    heads = [{"kind": "encoder.self_attn", "layer": 0, "head": number} for number in range(7)]
    changes = {Head("encoder.self_attn", 0, number): change for number, change in enumerate((5, 1, 4, 2, 3, 0, 6))}
    assert [entry["head"] for entry in ablation_summary.choose(heads, changes, "extremes", 2)] == [5, 1, 0, 6]
    assert (
        len(ablation_summary.choose(heads, changes, "all", 2))
        == len(ablation_summary.choose(heads, changes, "extremes", 4))
        == 7
    )


@pytest.fixture(scope="module")
def ablations(data, tmp_path_factory):
    """A session of a translation model, and by mode what its ablation measured."""
    path = checkpoints.save(tmp_path_factory.mktemp("translator") / "model.pt", data, "translation")
    loaded = session.load(path, data / "nmt", cpu=True)
    return loaded, {mode: ablation.ablate(loaded, loaded.batches("test"), mode) for mode in ablation.MODES}


def translated(monkeypatch):
    """A list that gets the numbers of the sentences that are translated."""
    numbers, examples = [], translations.examples
    monkeypatch.setattr(translations, "examples", lambda *args: numbers.extend(args[2]) or examples(*args))
    return numbers


def test_bleu_is_added_for_the_extremes_by_other_examples(ablations, monkeypatch):
    loaded, measured = ablations[0], ablations[1][EACH]
    record, numbers = ablation_summary.describe(measured, loaded, EACH), translated(monkeypatch)
    assert "accuracy" not in record["summary"] and record["per"] == "token"
    ablation_summary.add_bleu(record, measured, loaded, "test", "extremes", extremes=1, most=6, beam=2)
    assert json.loads(json.dumps(record)) == record
    tested = [entry for entry in record["heads"] if "bleu" in entry]
    assert len(tested) == record["summary"]["bleu"]["tests"] == 2
    chosen_on, _ = halves(21, loaded.seed)
    changes = {head: without.losses[chosen_on].sum() for head, without in measured.heads.items()}
    ends = {min(changes, key=changes.get), max(changes, key=changes.get)}
    assert {Head(entry["kind"], entry["layer"], entry["head"]) for entry in tested} == ends
    assert len(numbers) == 6 and not set(numbers) & set(chosen_on)
    assert record["selection"] == {"chosen_on": 10, "tested_on": 11}
    assert record["bleu"]["examples"] == 6 and "nrefs:1|bs:1000" in record["bleu"]["signature"]
    assert (
        "The heads that BLEU is measured of were chosen by loss on 10 examples" in page._notes(record | {"seed": 1})[-1]
    )


def test_bleu_of_the_best_heads_is_measured_on_other_examples(ablations, monkeypatch):
    loaded, measured = ablations[0], ablations[1][ALL_BUT_ONE]
    record, numbers = ablation_summary.describe(measured, loaded, ALL_BUT_ONE), translated(monkeypatch)
    ablation_summary.add_bleu(record, measured, loaded, "test", "all", extremes=1, most=200, beam=1)
    assert all("bleu" in entry for entry in record["best"]) and len(record["best"]) == 6
    assert sorted(numbers) == halves(21, loaded.seed)[1].tolist()
    assert "The best heads were chosen by loss on 10 examples" in page._notes(record | {"seed": 1})[-1]


def test_bleu_of_all_heads_chooses_none_and_of_too_few_examples_is_left_out(ablations, monkeypatch):
    loaded, measured = ablations[0], ablations[1][EACH]
    numbers = translated(monkeypatch)
    record = ablation_summary.describe(measured, loaded, EACH)
    ablation_summary.add_bleu(record, measured, loaded, "test", "extremes", extremes=6, most=3, beam=1)  # of 12 heads
    assert record["summary"]["bleu"]["tests"] == 12 and record["selection"] is None and len(numbers) == 3
    few = ablation.ablate(loaded, loaded.batches("test", 8), EACH)
    record = ablation_summary.describe(few, loaded, EACH)
    ablation_summary.add_bleu(record, few, loaded, "test", "extremes", extremes=1, most=3, beam=1)
    assert record["bleu"] is None and "bleu" not in record["summary"] and len(numbers) == 3
    assert (
        "8 examples are too few" in page.findings(record)[-1]
        and "tests of BLEU were left out" in page.findings(record)[-1]
    )
