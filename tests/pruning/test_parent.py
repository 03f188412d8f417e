from collections import Counter

import builders
import pytest

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning import families, parent, scores
from layerdrop_plugin.pruning.parent import Parent

PROPERTIES = ("family", "weights", "shape", "positions", "fingerprint", "sha256", "learned_weights", "parameters")


@pytest.fixture
def calls(monkeypatch):
    """How often the functions behind a parent's properties were called."""
    counted = Counter()

    def count(module, name, called):
        function = getattr(module, name)

        def counting(*args):
            counted[called] += 1
            return function(*args)

        monkeypatch.setattr(module, name, counting)

    for name in ("family_of", "_stack_shape", "fingerprint"):
        count(parent, name, name)
    for name in ("sha256", "read"):
        count(checkpoint, name, name)
    return counted


def test_each_property_is_computed_once(calls, tmp_path):
    checkpoint.write(builders.state_of(builders.build("layerdrop_roberta")), tmp_path / "parent.pt")
    read = Parent.load(tmp_path / "parent.pt")
    assert calls == {"read": 1, "family_of": 1, "_stack_shape": 1}  # to compare weights and configuration
    first = [getattr(read, name) for name in PROPERTIES]
    assert all(getattr(read, name) is value for name, value in zip(PROPERTIES, first, strict=True))
    read.vocabulary_size()
    assert calls == {"read": 1, "family_of": 1, "_stack_shape": 1, "fingerprint": 1, "sha256": 1}


@pytest.mark.parametrize("name", ["roberta", "transformer", "bart", "transformer_lm"])
def test_what_is_known_of_a_model(name):
    model = builders.build(f"layerdrop_{name}")
    found = Parent(builders.state_of(model, f"layerdrop_{name}"))
    assert found.family is families.FAMILIES[name] and found.architecture == f"layerdrop_{name}"
    assert tuple(stack for stack, _ in found.shape.items()) == found.family.stacks
    assert found.shape.uniform
    assert found.weights.keys() == model.state_dict().keys()
    assert found.parameters == sum(weight.numel() for weight in model.parameters())
    assert found.fingerprint == scores.fingerprint(model.state_dict())
    assert found.positions == (64 if name == "roberta" else None)
    assert found.vocabulary_size() == found.vocabulary_size("target") == 25
    assert found.sha256 is None and found.path is None


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(LayerdropError, match="does not exist"):
        Parent.load(tmp_path / "none.pt")
