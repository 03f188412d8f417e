"""Importance is refused for a loss that is no sum over a batch's examples."""

import copy

import one_by_one
import pytest
import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.importance.additivity import check_additivity, examples


class MeanLoss(FairseqCriterion):
    """Whatever depends on the batch: here the mean."""

    def forward(self, model, sample, reduce=True):
        loss = model(**sample["net_input"])[0].square().mean()
        return loss, 1, {"loss": loss.detach(), "sample_size": 1}

    @staticmethod
    def reduce_metrics(logging_outputs):
        """Nothing to say."""


def test_a_loss_that_is_no_sum_is_refused(run):
    register_criterion("mean_loss_of_a_test", dataclass=type("MeanLossConfig", (FairseqDataclass,), {}))(MeanLoss)
    criterion, _ = run("masked_lm", base_criterion="mean_loss_of_a_test")
    model = one_by_one.model_of("masked_lm")
    criterion(model, one_by_one.sample_of("masked_lm", 1))  # of one example nothing can be said
    with pytest.raises(LayerdropError, match="sum of the losses of 4 parts") as error:
        criterion(model, one_by_one.sample_of("masked_lm", 4))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", one_by_one.KINDS)
def test_the_check_changes_nothing(kind):
    model = one_by_one.model_of(kind, encoder_layerdrop=0.5, decoder_layerdrop=0.5, dropout=0.3).train()
    next(model.children()).eval()
    criterion, sample = one_by_one.criterion_of(kind), one_by_one.sample_of(kind)
    before = [module.training for module in model.modules()], torch.get_rng_state(), copy.deepcopy(sample)
    drawn = [stack.micro_batch for stack in model.modules() if hasattr(stack, "micro_batch")]
    check_additivity(lambda part: criterion(model, part)[0], sample, (model, criterion), 1)
    assert [module.training for module in model.modules()] == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert [stack.micro_batch for stack in model.modules() if hasattr(stack, "micro_batch")] == drawn
    torch.testing.assert_close(sample, before[2])
    assert criterion.training


def test_examples_of_a_batch():
    sample = one_by_one.sample_of("translation", 3) | {
        "names": ["a", "b", "c"],
        "weight": torch.tensor(2.0),
        "rate": 0.5,
    }
    one = examples(sample, [1], 1)
    assert torch.equal(one["net_input"]["src_tokens"], sample["net_input"]["src_tokens"][1:2])
    assert (one["names"], one["rate"], one["nsentences"]) == (["b"], 0.5, 1)
    assert sum(examples(sample, [row], 1)["ntokens"] for row in range(3)) == sample["ntokens"]
    assert examples(sample | {"ntokens": 30}, [1], 1)["ntokens"] == 10
