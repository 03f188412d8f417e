"""``--criterion head_importance`` within one process: its options, and what it does beside the base criterion."""

import copy
import json
import shutil

import builders
import one_by_one
import pytest
import torch
from fairseq import criterions
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from omegaconf import OmegaConf

from layerdrop_plugin.data_folder import find_split
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.importance import methods, running_estimate
from layerdrop_plugin.importance.additivity import check_additivity, examples
from layerdrop_plugin.importance.estimation import sum_gradients
from layerdrop_plugin.pruning.scores import Importance


def root_of(data, folder, **options):
    """The configuration of a run with ``--criterion head_importance`` and further options of that."""
    known = CRITERION_DATACLASS_REGISTRY["head_importance"]()
    return OmegaConf.create(
        one_by_one.ROOT
        | {
            "checkpoint": {
                "save_dir": str(folder),
                "restore_file": "checkpoint_last.pt",
                "checkpoint_suffix": "",
                "finetune_from_model": None,
            },
            "common": {"tpu": False, "log_interval": 2, "seed": 1},
            "dataset": {"train_subset": "train"},
            "distributed_training": {"distributed_rank": 0, "ddp_backend": "pytorch_ddp"},
            "criterion": OmegaConf.to_container(OmegaConf.structured(known), enum_to_str=True)
            | {"_name": "head_importance"}
            | options,
            "task": {"data": str(data / "lm")},
        }
    )


def build(root):
    task = one_by_one.Task()
    task.cfg = root.task
    return criterions.build_criterion(root.criterion, task)


@pytest.fixture(autouse=True)
def no_end(monkeypatch):
    """The process that runs the tests goes on."""
    monkeypatch.setattr(running_estimate, "Finalize", lambda *_, **__: None)


@pytest.fixture
def run(data, tmp_path):
    """Build the criterion of a run; returns it and the run's configuration."""

    def start(kind, **options):
        name = one_by_one.KINDS[kind][1]
        root = root_of(data, tmp_path, **({"base_criterion": name} | options))
        return build(root), root

    return start


def update(criterion, model, samples, factor=1.0, succeeds=True):
    """What fairseq's trainer does with *samples* in one update."""
    logs = []
    criterion.train()
    for sample in samples:
        loss, _, log = criterion(model, sample)
        (loss * factor).backward()
        logs.append(log)
    if succeeds:
        with metrics.aggregate(new_root=True) as seen:
            type(criterion).reduce_metrics(logs)
        return seen.get_smoothed_values()
    return None


@pytest.mark.parametrize("kind", one_by_one.KINDS)
@pytest.mark.parametrize("per", ["example", "token"])
def test_what_a_run_estimates(kind, per, run, tmp_path):
    """As one pass does; the file is there after every second update. Validation and lost updates do not count."""
    criterion, _ = run(kind, importance_per=per)
    model, samples = one_by_one.model_of(kind), one_by_one.samples_of(kind, [3, 2, 4])
    plain = one_by_one.criterion_of(kind)
    update(criterion, model, samples[:2], factor=64.0)
    assert not (tmp_path / "importance.json").exists()
    update(criterion, model, samples[:1], factor=float("nan"), succeeds=False)
    update(criterion, model, samples[1:2], succeeds=False)
    with torch.no_grad():
        log = criterion.eval()(model, samples[0])[2]
    type(criterion).reduce_metrics([log])
    update(criterion, model, samples[2:], factor=2.0)
    found = Importance.load(tmp_path / "importance.json")
    sums = sum_gradients(model, lambda sample: plain(model, sample)[0], samples, per == "token")
    expected, error = methods.importance(None, sums)
    for mine, theirs in ((found.scores, expected), (found.standard_error, error)):
        assert mine.keys() == theirs.keys()
        for key, rows in theirs.items():
            torch.testing.assert_close(torch.tensor(mine[key]), torch.tensor(rows), rtol=1e-5, atol=1e-8)
    assert (found.examples, found.per, found.model, found.method) == (9, per, None, "importance")
    assert found.loss == pytest.approx(sums.loss)
    assert found.signature["criterion"]["_name"] == one_by_one.KINDS[kind][1]


def resumed(folder, task, data, reset=None, **options):
    """The criterion of a run that goes on from a checkpoint whose extra state is what *task* wants kept."""
    torch.save(task.get_checkpoint_dict(), folder / "checkpoint_last.pt")
    kept = torch.load(folder / "checkpoint_last.pt", weights_only=True)
    root = root_of(data, folder, base_criterion="masked_lm", **options)
    if reset:
        root.checkpoint[reset] = True
    criterion = build(root)
    criterion.task.set_checkpoint_dict(kept["Task"])
    return criterion


def test_an_estimate_goes_on_from_a_checkpoint(run, data, tmp_path):
    """As it is after each update, in plain data; the file is the uninterrupted run's."""
    model, samples = one_by_one.model_of("masked_lm"), one_by_one.samples_of("masked_lm", [3, 2, 4, 1])
    files = []
    for stops in ((), (1,), (1, 2, 3)):
        criterion, _ = run("masked_lm")
        assert criterion.task.get_checkpoint_dict() == {}
        for number, sample in enumerate(samples):
            if number in stops:
                criterion = resumed(tmp_path, criterion.task, data)
            model.set_num_updates(number)
            update(criterion, model, [sample])
        files.append((tmp_path / "importance.json").read_text())
        (tmp_path / "checkpoint_last.pt").unlink(missing_ok=True)
    assert files[0] == files[1] == files[2]
    found = Importance.load(tmp_path / "importance.json")
    assert (found.examples, found.signature["updates"], found.signature["since_update"]) == (10, 4, 0)


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"importance_per": "token"}, "the checkpoint's sums of importance are of another unit"),
        ({"base_criterion_args": '{"tpu": true}'}, "the checkpoint's sums of importance are of another criterion"),
        ({"reset": "reset_meters"}, None),
        ({"reset": "reset_optimizer"}, None),
    ],
)
def test_an_estimate_of_something_else_is_not_added_to(changes, warning, run, data, tmp_path, caplog):
    model, samples = one_by_one.model_of("masked_lm"), one_by_one.samples_of("masked_lm", [3, 2])
    criterion, _ = run("masked_lm")
    update(criterion, model, samples[:1])
    criterion = resumed(tmp_path, criterion.task, data, **changes)
    model.set_num_updates(7)
    update(criterion, model, samples[1:])
    type(criterion).estimate.write()
    found = Importance.load(tmp_path / "importance.json")
    assert (found.examples, found.signature["since_update"]) == (2, 7)
    assert (f"{warning}: the estimate begins anew after 7 updates" in caplog.text) == (warning is not None)


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


def test_data_of_an_unknown_kind_has_no_hash(data, tmp_path):
    root = root_of(data, tmp_path, base_criterion="masked_lm")
    root.task.data = str(tmp_path)
    assert build(root).estimate.described["data"] is None


def test_the_data_of_a_translation_is_hashed_in_either_direction(data, tmp_path):
    hashes = set()
    for subset in ("train", "valid"):
        for source, target in (("a", "b"), ("b", "a")):  # of a folder named a-b
            root = root_of(data, tmp_path, base_criterion="masked_lm")
            root.task = {"data": str(data / "nmt"), "source_lang": source, "target_lang": target}
            root.dataset.train_subset = subset
            found = build(root).estimate.described["data"]
            assert found == find_split(data / "nmt", subset).sha256()
            hashes.add(found)
    assert len(hashes) == 2


def test_the_data_hash_covers_all_files_and_folders_of_the_training_set(data, tmp_path):
    hashes = set()
    for number in range(3):
        folder = shutil.copytree(data / "lm", tmp_path / str(number))
        for suffix in ("bin", "idx"):
            shutil.copy(folder / f"valid.{suffix}", folder / f"train{number or ''}.{suffix}")
        root = root_of(data, tmp_path, base_criterion="masked_lm")
        root.task.data = str(folder) if number < 2 else f"{tmp_path}/0:{tmp_path}/1"
        hashes.add(build(root).estimate.described["data"])
        assert len(hashes) == number + 1 and None not in hashes


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


def test_the_file_is_whole_or_not_there(run, tmp_path, monkeypatch):
    criterion, _ = run("masked_lm")
    model, samples = one_by_one.model_of("masked_lm"), one_by_one.samples_of("masked_lm", [2])
    for _ in range(2):
        update(criterion, model, samples)
    before = (tmp_path / "importance.json").read_text()
    monkeypatch.setattr("os.replace", _no_space)
    update(criterion, model, samples)
    with pytest.raises(LayerdropError, match="cannot write"):
        update(criterion, model, samples)
    assert (tmp_path / "importance.json").read_text() == before
    assert [path.name for path in tmp_path.glob("*importance*")] == ["importance.json"]
    assert json.loads(before)["examples"] == 4


def test_a_long_run_writes_its_file_ever_less_often(run, monkeypatch):
    criterion, root = run("masked_lm")
    model, samples = one_by_one.model_of("masked_lm"), one_by_one.samples_of("masked_lm", [1])
    estimate, written = type(criterion).estimate, []
    monkeypatch.setattr(estimate, "write", lambda: written.append(estimate.updates))
    for _ in range(60):
        update(criterion, model, samples)
    assert written == [*range(2, 22, 2), 22, 26, 30, 34, 38, 42, 48, 54, 60]
    assert root.common.log_interval == 2


def _no_space(*_):
    raise OSError(28, "No space left on device")
