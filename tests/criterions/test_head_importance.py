"""``--criterion head_importance`` within one process: its options, and that it is the base criterion otherwise."""

import builders
import one_by_one
import pytest
import torch
from estimating import build, root_of
from fairseq import criterions
from fairseq.logging import metrics

from layerdrop_plugin.errors import LayerdropError


@pytest.mark.parametrize("kind", one_by_one.KINDS)
def test_it_is_the_base_criterion(kind, run):
    """Its name, losses, gradients, logging outputs and metrics; a checkpoint names it alone."""
    criterion, root = run(kind)
    plain, results = one_by_one.criterion_of(kind), []
    assert type(criterion).__name__ == type(plain).__name__
    assert isinstance(criterion, type(plain))
    for one in (criterion, plain):
        model, seen = one_by_one.model_of(kind), {}
        for sample in one_by_one.samples_of(kind, [3, 3]):
            loss, size, log = one(model, sample)
            loss.backward()
            seen |= {"loss": loss.item(), "size": size, **log}
        with metrics.aggregate(new_root=True) as logged:
            type(one).reduce_metrics([log])
        results.append((seen, logged.get_smoothed_values(), [weight.grad for weight in model.parameters()]))
    assert results[0][:2] == results[1][:2]
    for mine, expected in zip(results[0][2], results[1][2], strict=True):
        assert (mine is None and expected is None) or torch.equal(mine, expected)
    assert root.criterion._name == one_by_one.KINDS[kind][1]
    assert not any("importance" in key or "base" in key for key in root.criterion)


def test_options_of_the_base(run):
    criterion, root = run("translation", base_criterion_args='{"label_smoothing": 0.3, "ignore_prefix_size": 2}')
    assert (criterion.eps, criterion.ignore_prefix_size, criterion.sentence_avg) == (0.3, 2, False)
    assert root.criterion.label_smoothing == 0.3
    criterion, root = run("sentence_prediction", classification_head_name="mine", regression_target=True)
    assert (criterion.classification_head_name, criterion.regression_target) == ("mine", True)


def test_options_that_follow_the_run(data, tmp_path):
    root = root_of(data, tmp_path, base_criterion="label_smoothed_cross_entropy")
    root.optimization.sentence_avg = True
    assert build(root).sentence_avg is True
    assert root.criterion.sentence_avg is True


@pytest.mark.parametrize("where", ["checkpoint_last", "restore_file", "finetune_from_model", "prune_from"])
def test_the_checkpoints_criterion_is_the_default(where, data, tmp_path):
    """With its options, except those that follow others of the run; and options given go before it."""
    saved = {"_name": "label_smoothed_cross_entropy", "label_smoothing": 0.2, "sentence_avg": True, "old": 1}
    state = builders.state_of(builders.build("layerdrop_roberta"))
    state["cfg"]["criterion"] = saved
    file = tmp_path / ("checkpoint_last.pt" if where == "checkpoint_last" else "begin.pt")
    torch.save(state, file)
    root = root_of(data, tmp_path, base_criterion_args='{"ignore_prefix_size": 1}')
    if where == "prune_from":
        root.task.prune_from = str(file)
    elif where != "checkpoint_last":
        root.checkpoint[where] = str(file)
    criterion = build(root)
    assert (criterion.eps, criterion.ignore_prefix_size, criterion.sentence_avg) == (0.2, 1, False)
    state["cfg"]["criterion"] = None
    torch.save(state, file)
    with pytest.raises(LayerdropError, match="does not say with which criterion"):
        build(root_of(data, tmp_path) if where == "checkpoint_last" else _again(root))


def _again(root):
    root.criterion = {"_name": "head_importance"}
    return root


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_criterion": None}, "needs --base-criterion NAME"),
        ({"base_criterion": "label_smoothed_crossentropy"}, "did you mean label_smoothed_cross_entropy"),
        ({"base_criterion": "head_importance"}, "is a wrapper itself"),
        ({"base_criterion": "sentence_ranking"}, "does not declare its options"),
        (
            {"base_criterion_args": '{"label_smoothin": 0.1}'},
            "has no option 'label_smoothin': it has ignore_prefix_size",
        ),
        ({"base_criterion_args": '{"_name": "x"}'}, "has no option '_name'"),
        ({"base_criterion_args": '{"label_smoothing": "much"}'}, "cannot be 'much'"),
        ({"base_criterion_args": "0.1"}, "must be a JSON object"),
        ({"base_criterion_args": "label_smoothing=0.1"}, "is not JSON"),
        ({"base_criterion_args": '{"regression_target": true}'}, "give --regression-target instead"),
        ({"base_criterion_args": '{"classification_head_name": "x"}'}, "give --classification-head-name instead"),
        ({"importance_file": "/nowhere/importance.json"}, "folder /nowhere does not exist"),
    ],
)
def test_bad_options(options, message, run):
    with pytest.raises(LayerdropError, match=message) as error:
        run("translation", **options)
    assert "\n" not in str(error.value)


def test_runs_that_cannot_estimate(data, tmp_path):
    root = root_of(data, tmp_path, base_criterion="masked_lm")
    root.distributed_training.ddp_backend = "fully_sharded"
    with pytest.raises(LayerdropError, match="cannot run under --ddp-backend fully_sharded"):
        build(root)
    with pytest.raises(LayerdropError, match="a task that has a configuration"):
        criterions.build_criterion(root.criterion, one_by_one.Task())
