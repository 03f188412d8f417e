"""Rules for layers by scores: which layers are kept, ties, and what is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.rules import Rules
from layerdrop_plugin.pruning.scores import Scores
from layerdrop_plugin.pruning.shape import ModelShape, StackShape


def write(path, row, method="contribution", model=None, stack="encoder"):
    """Write a file with the scores *row* of a stack's layers; returns its path."""
    about = {"method": method, "model": model, "data": None, "examples": 1, "loss": None, "per": None, "signature": {}}
    Scores.of({f"{stack}.layers": row}, {f"{stack}.layers": [0.0] * len(row)}, **about).save(path)
    return path


def kept(spec: str, layers: int, model=None) -> tuple[int, ...]:
    shape = ModelShape(encoder=StackShape(layers, heads=1, ffn=1, embed_dim=1))
    return Rules({"encoder": spec}).plan(shape, model).encoder.layers


@given(row=st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 2.0]), min_size=1, max_size=8), data=st.data())
def test_the_layers_with_the_highest_scores_are_kept(row, data, tmp_path_factory):
    file = write(tmp_path_factory.getbasetemp() / "layers.json", row, "loss")
    count = data.draw(st.integers(1, len(row)))
    left = kept(f"scores:{file}:{count}", len(row))
    assert left == kept(f"loss:{file}:{count}", len(row))
    assert len(left) == count and list(left) == sorted(left)
    removed = set(range(len(row))) - set(left)
    assert all((row[gone], gone) < (row[layer], layer) for gone in removed for layer in left)


def test_a_threshold_drops_layers_whose_cosine_reaches_it(tmp_path):
    file = write(tmp_path / "a:b.json", [0.5, 0.125, 0.25, 0.0])  # cosines 0.5, 0.875, 0.75, 1
    assert kept(f"contribution:{file}:0.875", 4) == (0, 2)
    assert kept(f"contribution:{file}:.88", 4) == (0, 1, 2)
    assert kept(f"contribution:{file}:1.0", 4) == (0, 1, 2)
    assert kept(f"contribution:{file}:2", 4) == (0, 2)
    assert kept(f"contribution:{file}:1", 4) == (0,)
    with pytest.raises(LayerdropError, match=r"all layers have a cosine similarity of 0\.5 or more: use a higher T"):
        kept(f"contribution:{file}:0.5", 4)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("contribution:4", "want contribution:FILE:N, such as contribution:contribution.json:4"),
        ("loss:", "want loss:FILE:N"),
        ("loss:nowhere.json:2", "cannot read the importance file nowhere.json"),
        ("loss:FILE:2", "has scores by contribution: estimate them with layerdrop importance --method loss"),
        ("scores:FILE:0.5", "want FILE:N, N being the number of layers to keep"),
        ("contribution:FILE:", "T being a cosine similarity"),
        ("contribution:FILE:1.5", "T being a cosine similarity"),
        ("contribution:FILE:-1", "T being a cosine similarity"),
        ("contribution:FILE:0.0", "T being a cosine similarity"),
        ("contribution:FILE:nan", "T being a cosine similarity"),
        ("contribution:FILE:0", "has 3 layers, so keep between 1 and 3"),
        ("scores:FILE:4", "has 3 layers, so keep between 1 and 3"),
        ("scores:SHORT:1", "has scores of 2 encoder layers, but the model has 3"),
        ("scores:OTHER:1", "was estimated on a model with other weights"),
        ("scores:DECODER:1", "has scores of decoder.layers, which the model does not have"),
    ],
)
def test_bad_rules_are_refused_in_one_line(spec, message, tmp_path):
    files = {
        "FILE": write(tmp_path / "file.json", [0.1, 0.2, 0.3]),
        "SHORT": write(tmp_path / "short.json", [0.1, 0.2]),
        "OTHER": write(tmp_path / "other.json", [0.1, 0.2, 0.3], model="another"),
        "DECODER": write(tmp_path / "decoder.json", [0.1, 0.2, 0.3], stack="decoder"),
    }
    for name, file in files.items():
        spec = spec.replace(name, str(file))
    with pytest.raises(LayerdropError, match=re.escape(message)) as caught:
        kept(spec, 3, "this model")
    assert "\n" not in str(caught.value)


def test_files_without_scores_of_layers_are_refused(tmp_path):
    about = {"method": "x", "model": None, "data": None, "examples": 1, "loss": None, "per": None, "signature": {}}
    Scores.of({"encoder.ffn": [[1.0]]}, {"encoder.ffn": [[0.0]]}, **about).save(tmp_path / "ffn.json")
    with pytest.raises(LayerdropError, match=r"there are no scores of encoder\.layers"):
        kept(f"scores:{tmp_path}/ffn.json:1", 1)


def test_rules_by_scores_say_which_files_they_read():
    rules = Rules({"encoder": "loss:a:b.json:2", "decoder": "even:2"}, ffn="c.json:0.5")
    assert rules.files == ["a:b.json", "c.json"] and rules.read_scores
    assert not Rules({"encoder": "even:2"}).read_scores
