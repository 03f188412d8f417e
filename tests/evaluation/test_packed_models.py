"""Where models are only read they are packed, and nowhere else: fairseq-validate, RoBERTa's hub, our own commands."""

from argparse import Namespace

import builders
import checkpoints
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.models.roberta import RobertaHubInterface

from layerdrop_plugin.evaluation import losses, session, translations
from layerdrop_plugin.fairseq_patches.inference import _only_read
from layerdrop_plugin.importance.estimation import estimate
from layerdrop_plugin.modules import onednn_linear
from layerdrop_plugin.modules.onednn_linear import PackedWeight

pytestmark = pytest.mark.skipif(not onednn_linear.works(), reason="this torch or CPU has no packed products")


def count(model):
    return sum(type(parameter) is PackedWeight for parameter in model.parameters())


def test_validation_packs_what_it_loads_and_loading_for_training_does_not(data, tmp_path):
    path = checkpoints.save(tmp_path / "lm.pt", data, "masked_lm")
    (model,), *_ = checkpoint_utils.load_model_ensemble_and_task([path])
    assert count(model) == 0
    with _only_read():
        (model,), *_ = checkpoint_utils.load_model_ensemble_and_task([path])
    assert count(model) > 0
    assert count(checkpoint_utils.load_model_ensemble_and_task([path])[0][0]) == 0


def test_robertas_hub_packs_for_answers_without_gradients_and_can_be_trained():
    model, plain = (builders.build("layerdrop_roberta").eval() for _ in range(2))
    plain.load_state_dict(model.state_dict())
    hub, other = (RobertaHubInterface(Namespace(bpe=None), builders.FakeTask(), one) for one in (model, plain))
    tokens = builders.batch()
    optimizer = torch.optim.SGD(hub.parameters(), 0.1)
    other_optimizer = torch.optim.SGD(other.parameters(), 0.1)
    assert hub.extract_features(tokens).requires_grad and count(model) == 0
    for _ in range(2):
        with torch.no_grad():
            found = hub.extract_features(tokens)
            assert count(model) > 20
            torch.testing.assert_close(found, plain(tokens, features_only=True)[0], atol=1e-4, rtol=0)
        for one, steps in ((hub, optimizer), (other, other_optimizer)):
            one.train()
            steps.zero_grad()
            one.extract_features(tokens).square().mean().backward()
            steps.step()
            one.eval()
        assert count(model) == 0
    for one, two in zip(model.parameters(), plain.parameters(), strict=True):
        builders.assert_equal_but_for_rounding(one, two)


@pytest.mark.parametrize("kind", ["masked_lm", "classification", "translation", "language_modeling"])
def test_our_commands_pack_for_losses_and_estimates_of_importance_unpack(kind, data, tmp_path, monkeypatch):
    path = checkpoints.save(tmp_path / "model.pt", data, kind)
    folder = data / checkpoints.KINDS[kind][0]
    monkeypatch.setenv("LAYERDROP_PACK", "0")
    plain = session.load(path, folder)
    expected = losses.measure_all(plain, plain.batches("valid"))
    scores = estimate(plain, "valid")
    assert count(plain.model) == 0
    monkeypatch.setenv("LAYERDROP_PACK", "1")
    packed = session.load(path, folder)
    for _ in range(2):
        found = losses.measure_all(packed, packed.batches("valid"))
        assert count(packed.model) > 10
        assert found.losses == pytest.approx(expected.losses, abs=1e-3)
        again = estimate(packed, "valid")
        assert count(packed.model) < 10  # idle layers may stay
        for key, rows in scores.scores.items():
            builders.assert_equal_but_for_rounding(torch.tensor(again.scores[key]), torch.tensor(rows))
    if kind == "translation":
        answers = [translations.translator(one, one.batches("valid"), beam=2)() for one in (plain, packed)]
        assert answers[0] == answers[1]
        assert count(packed.model) > 10


def test_latency_and_evaluate_in_bfloat16_say_so(data, tmp_path):
    try:
        onednn_linear.check_dtype(torch.bfloat16)
    except Exception as error:
        pytest.skip(str(error))
    path = checkpoints.save(tmp_path / "model.pt", data, "classification")
    builders.run(
        *("layerdrop", "evaluate", data / "nlu", "--path", path, "--out", tmp_path / "out", "--inference-dtype", "bf16")
    )
    assert "bf16" in (tmp_path / "out" / "evaluate.json").read_text()
    command = ("layerdrop", "latency", data / "nlu", "--path", path, "--out", tmp_path / "l.json", "--repeats", "1")
    builders.run(*command, "--batch-sizes", "1", "--max-sentences", "4", "--inference-dtype", "bf16")
    assert "bfloat16" in (tmp_path / "l.json").read_text()
