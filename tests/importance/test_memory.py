"""What recording gradients and checking a loss cost beside the passes themselves."""

import builders
import memory
import one_by_one
import pytest
import torch

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.importance import recorder
from layerdrop_plugin.importance.additivity import check_additivity
from layerdrop_plugin.importance.recorder import COUNTS, POWERS, Recorder

ROWS, HEADS, UNITS, TOKENS = 100, 2, 600, 20
LOSS_SCALE = torch.tensor(8.0, dtype=torch.float64)


def recorded(gradients, per_token):
    """Sums of powers (powers, units) of the *gradients* of an FFN's units, and the memory that two batches took."""
    recording = Recorder(one_by_one.model_of("masked_lm", encoder_layers=1, encoder_ffn_embed_dim=UNITS), per_token)
    assert [sum(sizes) for sizes in recording.sizes.values()] == [HEADS, UNITS, 1]
    sample, found = {"net_input": {"src_tokens": builders.batch(ROWS)}}, []

    def two_batches():
        for _ in range(2):
            batch = recording.start_batch(sample, found.append)
            batch.loss, batch.loss_scale = torch.ones((), dtype=torch.float64), LOSS_SCALE
            batch.add_gradient(slice(HEADS, HEADS + UNITS), gradients)
            batch.finish()

    most = memory.peak(two_batches)
    assert torch.equal(found[0], found[1])
    return found[0][len(COUNTS) :].view(len(POWERS), -1)[:, HEADS : HEADS + UNITS], most


@pytest.mark.parametrize("per_token", [False, True])
def test_a_recorder_takes_a_bounded_memory_beyond_the_gradients(per_token, monkeypatch):
    """64 MB in use, less here; and the gradients of one batch are gone when the next one begins."""
    assert 16 * recorder.CHUNK <= 64 * 2**20
    monkeypatch.setattr(recorder, "CHUNK", 2**14)
    # fairseq's (tokens, batch, units), seen as (batch, units, tokens)
    gradients = torch.randn(TOKENS, ROWS, UNITS).permute(1, 2, 0) if per_token else torch.randn(ROWS, UNITS)
    _, most = recorded(gradients, per_token)
    kept = 0 if per_token else ROWS * (HEADS + UNITS + 1) * 4
    assert most < kept + 16 * recorder.CHUNK + 500_000  # the sums and what a batch consists of


@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize("chunk", [1, 7 * ROWS, 2**30])
def test_sums_are_the_same_however_many_gradients_are_taken_at_once(chunk, per_token, monkeypatch):
    monkeypatch.setattr(recorder, "CHUNK", chunk)
    gradients = torch.randn(*(ROWS, UNITS, 3) if per_token else (ROWS, UNITS))
    found, _ = recorded(gradients, per_token)
    exact = gradients.double() / LOSS_SCALE
    exact = exact.transpose(1, 2).flatten(0, 1) if per_token else exact
    expected = torch.stack([exact.abs(), exact**2, exact, exact**4]).sum(1)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def checked(rows, loss_fn):
    """Numbers of rows of the passes in which *loss_fn* (one number for each row) of a batch is checked."""
    passes = []

    def loss(sample):
        values = sample["net_input"]["src_tokens"].double()[:, 1]
        passes.append(len(values))
        return loss_fn(values)

    sample = {"net_input": {"src_tokens": builders.batch(rows)}, "nsentences": rows}
    check_additivity(loss, sample, [torch.nn.Linear(1, 1)], 1)
    return passes


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 40, 2500])
def test_the_check_runs_a_handful_of_examples(rows):
    passes = checked(rows, torch.sum)
    assert len(passes) <= 8
    assert sum(passes) <= 2 * rows + 12
    assert passes.count(1) == min(rows, 4) + (rows in (1, 5))


NO_SUMS = {
    "mean": torch.mean,
    "hardest half": lambda values: values.topk((len(values) + 1) // 2).values.sum(),
    "neighbours": lambda values: (values * values.roll(1)).sum(),
    "halves": lambda values: (values[: len(values) // 2] * values[len(values) // 2 :][: len(values) // 2]).sum(),
    "share": lambda values: values.softmax(0).max(),
}


@pytest.mark.parametrize("name", NO_SUMS)
@pytest.mark.parametrize("rows", [2, 5, 16, 41, 300])
def test_the_check_finds_what_is_no_sum_over_examples(name, rows):
    with pytest.raises(LayerdropError, match=r"is not the sum of the losses of \d parts of them") as error:
        checked(rows, NO_SUMS[name])
    assert "\n" not in str(error.value)


def test_the_check_finds_what_only_many_examples_show():
    with pytest.raises(LayerdropError, match="loss of 40 examples .* 2 parts of them"):
        checked(40, lambda values: values.topk(min(8, len(values))).values.sum())
