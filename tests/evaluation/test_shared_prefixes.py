"""Subsets of layers measured together: the losses of the models by themselves, and how many layers run."""

import contextlib
import itertools
import math
import shutil
import weakref

import checkpoints
import numpy as np
import pytest

from layerdrop_plugin import checkpoint
from layerdrop_plugin.evaluation import losses, session
from layerdrop_plugin.evaluation.layer_search import question, run
from layerdrop_plugin.evaluation.search_state import SearchState
from layerdrop_plugin.evaluation.shared_prefixes import measure_alone, measure_subsets, plan_of
from layerdrop_plugin.pruning.gates import stacks_of
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.prune import prune

LAYERS = "--encoder-layers 4"
BOTH = f"{LAYERS} --decoder-layers 4"
REGRESSION = "--num-classes 1 --regression-target --best-checkpoint-metric loss"
FAMILIES = {  # name -> kind of model, stack, options beside the sizes
    "classification": ("classification", "encoder", LAYERS),
    "regression": ("classification", "encoder", f"{LAYERS} {REGRESSION}"),
    "masked_lm": ("masked_lm", "encoder", LAYERS),
    "encoder": ("translation", "encoder", BOTH),
    "decoder": ("translation", "decoder", BOTH),
    "pre-norm decoder": ("translation", "decoder", f"{BOTH} --encoder-normalize-before --decoder-normalize-before"),
    "language_modeling": ("language_modeling", "decoder", "--decoder-layers 4"),
}


@pytest.fixture(scope="module")
def families(data, tmp_path_factory):
    """name -> the checkpoint's path, its session, and the stack to search."""
    folder, found = tmp_path_factory.mktemp("families"), {}
    numbers = shutil.copytree(data / "nlu", folder / "numbers")
    labels = (data / "valid.label").read_text().split()
    (numbers / "label" / "valid.label").write_text("".join(f"{float(label) + 0.5}\n" for label in labels))
    for name, (kind, stack, more) in FAMILIES.items():
        if name == "decoder":  # the model of "encoder"
            found[name] = *found["encoder"][:2], stack
            continue
        path = checkpoints.save(folder / f"{name}.pt", data, kind, more)
        read = numbers if name == "regression" else data / checkpoints.KINDS[kind][0]
        found[name] = path, session.load(path, read, batch_size=7, cpu=True), stack
    return found


@contextlib.contextmanager
def recorded(stack):
    """Two lists: weak references to the outputs of the layers that ran, and how many were alive whenever one began."""
    outputs, alive = [], []

    def begins(*_):
        alive.append(sum(output() is not None for output in outputs))

    def ends(_layer, _inputs, output):
        outputs.append(weakref.ref(output[0] if isinstance(output, tuple) else output))

    with contextlib.ExitStack() as hooks:
        for layer in stack:
            hooks.callback(layer.register_forward_pre_hook(begins).remove)
            hooks.callback(layer.register_forward_hook(ends).remove)
        yield outputs, alive


@pytest.mark.parametrize("name", FAMILIES)
def test_subsets_lose_what_their_models_lose_by_themselves(name, families):
    _, loaded, stack = families[name]
    for keep in (1, 2, 3):
        subsets = list(itertools.combinations(range(4), keep))
        for sample in itertools.islice(loaded.batches("valid"), 2):
            found = measure_subsets(loaded, sample, stack, subsets[::-1])
            assert set(found) == set(subsets)
            for subset, measured in found.items():
                alone = measure_alone(loaded, sample, stack, subset)
                assert np.allclose(measured.losses, alone.losses, rtol=1e-6, atol=1e-6)
                assert np.array_equal(measured.tokens, alone.tokens)
            assert len({measured.losses.sum() for measured in found.values()}) == len(subsets)
    assert all(layers.active_layers is None for layers in stacks_of(loaded.model).values())


@pytest.mark.parametrize("name", ["classification", "masked_lm", "encoder", "decoder", "language_modeling"])
def test_the_best_of_an_exhaustive_search_is_the_best_child(name, families, tmp_path):
    path, loaded, stack = families[name]
    asked = question(loaded, stack, 3, "exhaustive", 8, "loss")
    batches = loaded.batches("valid", 10)
    compared = run(loaded, batches, asked, SearchState(tmp_path / "state.json", {}))[3]
    parent, children = Parent.load(path), {}
    for subset in itertools.combinations(range(4), 3):
        checkpoint.write(prune(parent, plan_of(stack, subset)).state, tmp_path / "child.pt")
        child = session.load(tmp_path / "child.pt", loaded.data, batch_size=7, cpu=True)
        measured = losses.measure_all(child, child.batches("valid", 10))
        children[subset] = measured.loss_per_token if child.per_token else measured.loss
        assert compared.values(subset, loaded.per_token)["loss"] == pytest.approx(children[subset], rel=1e-6, abs=1e-6)
    assert compared.ranked("loss") == sorted(children, key=children.get)


@pytest.mark.parametrize("name", ["classification", "encoder", "decoder", "language_modeling"])
def test_layers_run_and_activations_kept_are_as_few_as_promised(name, families):
    _, loaded, stack = families[name]
    layers = stacks_of(loaded.model)[stack]
    sample = next(iter(loaded.batches("valid")))
    for keep in (1, 2, 3):
        with recorded(layers) as (outputs, alive):
            measure_subsets(loaded, sample, stack, itertools.combinations(range(4), keep))
        assert len(outputs) == math.comb(4 + 1, keep) - 1
        assert max(alive) == keep - 1  # with the stack's input, and the output of the layer that begins: keep + 1


def test_the_encoder_runs_once_in_a_batch_for_all_subsets_of_the_decoder(families):
    _, loaded, stack = families["decoder"]
    sample = next(iter(loaded.batches("valid")))
    with recorded(stacks_of(loaded.model)["encoder"]) as (outputs, _):
        measure_subsets(loaded, sample, stack, itertools.combinations(range(4), 2))
    assert len(outputs) == 4
