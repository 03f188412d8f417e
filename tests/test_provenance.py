"""What results say about a checkpoint."""

import pytest
import torch
from samples import HISTORY, ORIGIN

from layerdrop_plugin import provenance
from layerdrop_plugin.pruning.parent import Parent


@pytest.fixture
def checkpoint(tmp_path):
    """A file with the state-dict keys of a two-layer RoBERTa, and an optimizer state that must not be counted."""
    embedding = torch.randn(5, 4)
    model = {
        "encoder.sentence_encoder.embed_tokens.weight": embedding,
        "encoder.sentence_encoder.layers.0.fc2.weight": torch.zeros(4, 6),
        "encoder.sentence_encoder.layers.0.fc2.bias": torch.zeros(4),
        "encoder.sentence_encoder.layers.1.fc2.weight": torch.zeros(4, 6),
        "encoder.sentence_encoder.layers.1.fc2.bias": torch.zeros(4),
        "encoder.sentence_encoder.version": torch.tensor([3.0]),
        "encoder.lm_head.weight": embedding.clone(),
        "encoder.lm_head.bias": torch.zeros(5, dtype=torch.float16),
    }
    state = {
        "cfg": {"model": {"_name": "roberta"}, "task": {"_name": "sentence_prediction"}, "layerdrop": ORIGIN},
        "args": None,
        "model": model,
        "last_optimizer_state": torch.zeros(1000),
        "optimizer_history": HISTORY,
        "extra_state": {"train_iterator": {"epoch": 1}},
    }
    path = tmp_path / "checkpoint_best.pt"
    torch.save(state, path)
    return path


def test_tied_weight_counts_once_and_buffers_do_not(checkpoint):
    described, _ = provenance.describe_checkpoint(checkpoint)
    assert described["encoder_layers"] == 2
    assert described["decoder_layers"] is None
    assert (described["heads"], described["ffn_units"]) == (0, 12)
    assert described["parameters"] == 5 * 4 + 2 * (6 * 4 + 4) + 5 == Parent.load(checkpoint, build=False).parameters
    assert described["weight_bytes"] == 4 * (5 * 4 + 2 * (6 * 4 + 4)) + 2 * 5
    assert described["bytes"] == checkpoint.stat().st_size > described["weight_bytes"] + 4000

    state = torch.load(checkpoint)
    state["model"]["encoder.lm_head.weight"] += 1  # untied
    torch.save(state, checkpoint)
    assert provenance.describe_checkpoint(checkpoint)[0]["parameters"] == described["parameters"] + 5 * 4
