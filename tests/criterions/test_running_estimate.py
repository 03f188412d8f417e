"""What ``--criterion head_importance`` estimates during a run: sums, its file, resuming, and the data's hash."""

import json
import shutil

import one_by_one
import pytest
import torch
from estimating import build, root_of, update

from layerdrop_plugin.data_folder import find_split
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.importance import methods
from layerdrop_plugin.importance.estimation import sum_gradients
from layerdrop_plugin.pruning.scores import Scores


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
    found = Scores.load(tmp_path / "importance.json")
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
    found = Scores.load(tmp_path / "importance.json")
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
    found = Scores.load(tmp_path / "importance.json")
    assert (found.examples, found.signature["since_update"]) == (2, 7)
    assert (f"{warning}: the estimate begins anew after 7 updates" in caplog.text) == (warning is not None)


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
