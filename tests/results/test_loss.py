"""Losses per token of translations, from the log of fairseq-validate."""

import math

import pytest
from samples import log_file, save_translation_data

from layerdrop_plugin.data_folder import find_split
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.results.fairseq_log import FairseqLog
from layerdrop_plugin.results.loss import read_loss

TRANSLATED = {"loss": "4.4", "nll_loss": "4.261", "ppl": "19.18", "wps": "0", "wpb": "6", "bsz": "2"}


def read(tmp_path, sentences, **changes):
    split = find_split(save_translation_data(tmp_path, sentences), "test")
    return read_loss(FairseqLog(log_file(tmp_path, TRANSLATED | changes)), split)


def test_of_a_label_smoothed_loss_the_likelihood_counts(tmp_path):
    tokens, loss, metrics = read(tmp_path, [[1, 2], [3]])
    assert (tokens, loss) == (6, 4.4)
    assert metrics == {"nll_loss": 4.261, "nll_loss_nats": pytest.approx(4.261 * math.log(2)), "ppl": 19.18}


def test_all_sentences_must_have_been_evaluated_with_a_finite_loss(tmp_path):
    with pytest.raises(LayerdropError, match="results for 2 of the 3 examples.*required-batch-size-multiple 1"):
        read(tmp_path, [[1, 2], [3], [4]])
    with pytest.raises(LayerdropError, match="nll_loss = inf"):
        read(tmp_path, [[1, 2], [3]], nll_loss="inf")


def test_only_the_last_results_count_and_only_of_this_split(tmp_path):
    first, last = '{"test_loss": "1", "test_bsz": "5"}', '{"test_loss": "3", "test_bsz": "4"}'
    (tmp_path / "log").write_text("\n".join([first, last, '{"test1_loss": "2", "test1_bsz": "6"}']))
    assert FairseqLog(tmp_path / "log").results("test") == {"loss": "3", "bsz": "4"}
    with pytest.raises(LayerdropError, match="no results for the split 'valid'"):
        FairseqLog(tmp_path / "log").results("valid")
    with pytest.raises(LayerdropError, match="cannot read .*missing"):
        FairseqLog(tmp_path / "missing")
