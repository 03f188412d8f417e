"""Losses per token: from the log of fairseq-validate to a result."""

import math

import pytest
import torch
from samples import log_file, save_dataset, save_dictionary, save_model, save_translation_data, save_translator

from layerdrop_plugin.data_folder import find_split
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.results import loss
from layerdrop_plugin.results.fairseq_log import FairseqLog
from layerdrop_plugin.results.record import Subject

BLOCKS = "loaded 7 blocks from: /some where/lm/valid"
MASKED = {"loss": "4.63", "ppl": "24.76", "wps": "0", "wpb": "12", "bsz": "7"}
TRANSLATED = {"loss": "4.4", "nll_loss": "4.261", "ppl": "19.18", "wps": "0", "wpb": "6", "bsz": "2"}


@pytest.fixture
def data(tmp_path):
    """Data of a language model: 5 tokens in 2 lines."""
    symbols = save_dictionary(tmp_path / "dict.txt", 20)
    save_dataset(tmp_path / "valid", [torch.tensor([4, 5, 2]), torch.tensor([6, 2])], symbols)
    return tmp_path


def read(tmp_path, values, said, split="valid"):
    log = FairseqLog(log_file(tmp_path, values, split, said))
    return loss.read_loss(log, find_split(tmp_path, split))


def test_a_masked_language_model_is_evaluated_on_all_blocks(tmp_path, data):
    examples, tokens, printed, metrics = read(tmp_path, MASKED, BLOCKS)
    assert (examples, tokens, printed) == (7, 12, 4.63)
    assert metrics == {"nll_loss": 4.63, "nll_loss_nats": pytest.approx(4.63 * math.log(2)), "ppl": 24.76}
    with pytest.raises(
        LayerdropError, match="results for 6 of the 7 examples of 'valid'.*required-batch-size-multiple"
    ):
        read(tmp_path, MASKED | {"bsz": "6"}, BLOCKS)
    with pytest.raises(LayerdropError, match="loss = inf"):
        read(tmp_path, MASKED | {"loss": "inf"}, BLOCKS)


def test_a_language_model_is_evaluated_on_all_tokens(tmp_path, data):
    values = {"loss": "4.345", "ppl": "20.32", "wpb": "5", "bsz": "1"}
    assert read(tmp_path, values, "")[:2] == (1, 5)
    with pytest.raises(LayerdropError, match="results for 4 of the 5 tokens of 'valid'"):
        read(tmp_path, values | {"wpb": "4"}, "")


def test_of_a_label_smoothed_loss_the_likelihood_counts(tmp_path):
    data = save_translation_data(tmp_path, [[1, 2], [3]])
    path = save_translator(data, tmp_path / "model.pt", 1)
    log = log_file(tmp_path, TRANSLATED)
    point = {"task": "translation", "train": "p = 0.2", "seed": 1, "kept": 1, "side": "decoder"}
    found = loss.score(log, Subject(find_split(data, "test"), "small", 1, path, point=point))
    assert (found["metric"], found["loss"], found["tokens"]) == ({"name": "nll_loss", "value": 4.261}, 4.4, 6)
    assert (found["examples"], found["interval"], found["point"]) == (2, None, point)
    assert (found["checkpoint"]["encoder_layers"], found["checkpoint"]["decoder_layers"]) == (2, 1)
    with pytest.raises(LayerdropError, match="results for 2 of the 3 examples"):
        save_translation_data(tmp_path, [[1, 2], [3], [4]])
        loss.score(log, Subject(find_split(data, "test"), "small", 1, path))


def test_a_log_of_another_model_is_refused(tmp_path, data):
    words = "--arch transformer_lm --decoder-layers 1 --decoder-embed-dim 8 --decoder-attention-heads 2"
    path = save_model(data, tmp_path / "lm.pt", f"{words} --task language_modeling --tokens-per-sample 8")
    (tmp_path / "other.pt").write_text("x")
    log = log_file(tmp_path, MASKED, "valid", f"loading model(s) from {tmp_path}/other.pt")
    with pytest.raises(LayerdropError, match="evaluated .*other.pt, not .*lm.pt"):
        loss.score(log, Subject(find_split(data, "valid"), "lm", 1, path))
    found = loss.score(log_file(tmp_path, MASKED, "valid", BLOCKS), Subject(find_split(data, "valid"), "lm", 1, path))
    assert (found["checkpoint"]["encoder_layers"], found["checkpoint"]["decoder_layers"]) == (None, 1)
