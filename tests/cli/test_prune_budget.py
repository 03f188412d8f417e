"""``layerdrop prune --budget`` with real files, and what it refuses in one line."""

import checkpoints
import pytest

from layerdrop_plugin.cli.main import main
from layerdrop_plugin.pruning.budget import BUDGET_HELP, METRICS
from layerdrop_plugin.pruning.flops import flop_costs
from layerdrop_plugin.pruning.parameters import parameter_costs
from layerdrop_plugin.pruning.parent import Parent


@pytest.fixture(scope="module")
def classifier(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    return checkpoints.save(folder / "model.pt", data, "classification", "--encoder-layers 3")


@pytest.fixture(scope="module")
def scores(data, classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp("scores") / "importance.json"
    main(["importance", str(data / "nlu"), "--path", classifier, "--out", str(path), "--subset", "valid", "--cpu"])
    return path


def test_a_child_within_its_budget(data, classifier, scores, tmp_path, layerdrop):
    child = tmp_path / "child.pt"
    words = ("--budget", "flops:0.6", "--budget-scores", scores, "--budget-data", data / "nlu", "--cpu")
    status, printed, error = layerdrop("prune", classifier, child, *words, "--length", 7, "--batch", 1)
    assert (status, error) == (0, "")
    assert "budget flops:0.6, shares of the whole model:" in printed
    assert printed.count("chosen") == 1 and "whole " in printed and "loss per example" in printed
    found = [flop_costs(one, 1, 7).whole(one.shape) for one in map(Parent.load, (child, classifier))]
    assert found[0] <= 0.6 * found[1]
    assert f"wrote {child}" in printed


def test_layers_that_are_named_need_no_data(classifier, scores, tmp_path, layerdrop):
    child = tmp_path / "child.pt"
    words = ("--budget", "params-without-embeddings:0.5", "--budget-scores", scores, "--min-heads", 1)
    status, printed, _ = layerdrop("prune", classifier, child, *words, "--encoder-layers", "keep:0,2")
    assert status == 0 and "loss" not in printed
    parent, small = Parent.load(classifier), Parent.load(child)
    shares = [parameter_costs(one, embeddings=False).whole(one.shape) for one in (small, parent)]
    assert shares[0] <= 0.5 * shares[1] and small.shape.encoder.layers == 2
    assert all(size >= 1 for size in small.shape.encoder.sizes["self_attn"])


def test_children_are_compared_as_reconstructed(data, classifier, scores, tmp_path, layerdrop):
    words = ("--budget", "flops:0.7", "--budget-scores", scores, "--budget-data", data / "nlu", "--cpu", "--dry-run")
    as_cut = layerdrop("prune", classifier, tmp_path / "x.pt", *words)[1]
    status, printed, error = layerdrop("prune", classifier, tmp_path / "x.pt", *words, "--reconstruct", data / "nlu")
    assert (status, error) == (0, ""), error
    assert "reconstructed (full)" in printed
    tables = [text.split("whole model:")[1].split("whole ")[0] for text in (as_cut, printed)]
    assert tables[0] != tables[1] and not (tmp_path / "x.pt").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--budget flops:0.5", "give --budget-scores FILE"),
        ("--budget flops:0 --budget-scores SCORES", "want a share above 0 and at most 1"),
        ("--budget flops:1.5 --budget-scores SCORES", "want a share above 0 and at most 1"),
        ("--budget speed:0.5 --budget-scores SCORES", "METRIC being one of params, params-without-embeddings, flops"),
        ("--budget params:0.01 --budget-scores SCORES", "the floor is params:0."),
        ("--budget params:0.8 --budget-scores nowhere.json", "cannot read the importance file nowhere.json"),
        ("--budget flops:0.5 --budget-scores SCORES", "give --budget-data DATA, or say which layers to keep"),
        ("--budget latency:0.5 --budget-scores SCORES", "a budget of latency runs the model: give its data"),
        ("--budget latency:0.5 --budget-scores SCORES --device cuda:9", "there is no device 'cuda:9' here"),
        ("--budget flops:0.5 --budget-scores SCORES --device cpu", "--device is of --budget latency:SHARE"),
        ("--budget params:0.5 --budget-scores SCORES --length 9", "--length is of a budget of flops or latency"),
        ("--budget flops:0.5 --budget-scores SCORES --heads SCORES:0.5", "--heads and --budget both say what is kept"),
        ("--budget flops:0.5 --budget-scores SCORES --plan x.json", "--plan and --budget both say what is kept"),
        ("--budget flops:0.5 --budget-scores SCORES --vocab x.txt", "prune the vocabulary first"),
        ("--budget flops:0.5 --budget-scores SCORES --ranking per-kind", "leave it out with --budget"),
        ("--budget flops:0.5 --budget-scores SCORES --min-heads -1", "a minimum of -1 heads"),
        ("--budget flops:0.5 --budget-scores SCORES --budget-subset test", "is of --budget-data DATA"),
        ("--budget flops:0.5 --budget-scores SCORES --seed 2", "--seed says which examples"),
        ("--encoder-layers even:1 --batch 3", "--batch is of --budget METRIC:SHARE: give that too"),
        ("--encoder-layers even:1 --budget-data x", "--budget-data is of --budget METRIC:SHARE"),
        (
            "--budget flops:0.5 --budget-scores SCORES --encoder-layers even:1 --budget-layer-scores SCORES",
            "--budget-layer-scores says which layers to keep, and so do the rules",
        ),
    ],
)
def test_bad_requests_leave_nothing(words, message, classifier, scores, tmp_path, layerdrop):
    before = sorted(tmp_path.iterdir())
    words = words.replace("SCORES", str(scores)).split()
    status, _, error = layerdrop("prune", classifier, tmp_path / "child.pt", *words)
    assert status == 1 and message in error and "\n" not in error
    assert sorted(tmp_path.iterdir()) == before


def test_the_help_names_every_metric():
    assert all(f"{metric}:0.5" in BUDGET_HELP for metric in METRICS)
