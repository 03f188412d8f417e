"""What a pickle, an option or a JSON file may hold: plain values are read as they are, others are refused."""

import argparse
import collections
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.safe_reading import json_file, state
from layerdrop_plugin.safe_reading.literals import literal


def _plain(floats):
    return st.recursive(
        st.none() | st.booleans() | st.integers(-(2**40), 2**40) | floats | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=12,
    )


PLAIN = _plain(st.floats(allow_nan=False))


class Call:
    """Unpickling it calls a function."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def loaded(value, path):
    torch.save({"value": value}, path)
    return checkpoint.load(path)["value"]


@given(PLAIN)
def test_plain_values_are_read_as_they_are(tmp_path_factory, value):
    assert loaded(value, tmp_path_factory.getbasetemp() / "plain.pt") == value


@pytest.mark.parametrize(
    "value",
    [
        np.float64(1.5), np.int32(-3), np.bool_(True), np.str_("text"), np.arange(6).reshape(2, 3),
        np.array(["a", "bcd"]), np.array([1.5, 2], ">f4"), np.asfortranarray(np.ones((2, 3))), np.dtype("float32"),
        argparse.Namespace(a=1), collections.OrderedDict(a=[np.float32(2)]), {1, 2}, (1, (2, "x")), b"bytes",
    ],
)  # fmt: skip
def test_what_fairseqs_checkpoints_hold_is_read_as_it_is(tmp_path, value):
    found, value = loaded(value, tmp_path / "value.pt"), pickle.loads(pickle.dumps(value, 2))
    assert type(found) is type(value)
    if isinstance(value, np.ndarray):
        assert found.dtype == value.dtype and np.array_equal(found, value)
    else:
        assert found == value


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()], dtype=object),
        Call(np.dtype, "O"),
        Call(np.ndarray, (4,), "f4"),
        Call(np.dtype, [("a", "i4")]),
        Call(open, "executed", "w"),
        Call(eval, "1"),
        Call(bytes, 1 << 40),
        Call(collections.Counter, {"a": 1}, 2),
    ],
)
def test_other_objects_are_refused(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LayerdropError, match="value.pt"):
        loaded(value, tmp_path / "value.pt")
    assert not (tmp_path / "executed").exists()


def _nested(depth: int) -> list:
    return [_nested(depth - 1)] if depth else []


def _shared(depth: int) -> list:
    value: list = [0]
    for _ in range(depth):
        value = [value, value]
    return value


@pytest.mark.parametrize("value", [_nested(60), _shared(30)])
def test_nested_and_shared_lists_are_refused_at_once(tmp_path, value):
    with pytest.raises(LayerdropError, match="levels|more than"):
        loaded(value, tmp_path / "value.pt")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"a": "${oc.env:HOME}"}, "option cfg.a .* would be looked up"),
        ({"a": {"b": "\0"}}, "option cfg.a.b is no text"),
        ({1: 2}, "which is no name"),
        ({"a": object()}, "is a object"),
        ({"a": 1 << 70}, "beyond 64 bits"),
        ({"a": [0] * 50_000}, "too large"),
    ],
)
def test_options_that_are_no_data_are_refused_by_name(options, said):
    with pytest.raises(LayerdropError, match=said):
        state.check_options(options, "cfg")


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (torch.tensor([1.0, float("nan")]), "not finite"),
        (torch.tensor([1.0, float("inf")], dtype=torch.float16), "not finite"),
        (torch.ones(2, device="meta"), "meta tensor"),
        (torch.eye(3).to_sparse(), "no dense tensor"),
        (torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "quantised"),
        (torch.ones(2, dtype=torch.complex64), "complex"),
        (torch.ones(1).expand(10**8), "share their memory"),
        ("x", "no tensor"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_by_name(weight, said):
    state.check_weights({"good": torch.full((3,), 3e38)}, 100)  # finite, though their sum is not
    with pytest.raises(LayerdropError, match=said):
        state.check_weights({"good": torch.ones(2), "bad": weight}, 100)


@given(_plain(st.floats(allow_nan=False, allow_infinity=False)))  # infinity has no literal
def test_literals_are_read_as_python_reads_them(value):
    assert literal(repr(value)) == value


def test_sums_and_products_of_literals_are_computed():
    assert literal("[(512, 10, 5)] + [(512, 3, 2)] * 4 + [2 * (1,)]") == [(512, 10, 5), *[(512, 3, 2)] * 4, (1, 1)]
    assert literal(" (0.9, 0.98) ", {}, {}) == (0.9, 0.98) and literal("-3 * 2") == -6


@pytest.mark.parametrize(
    "text",
    ["open('x')", "a", "[x for x in [1]]", "9**9**9", "[1] * 200_000", "[" * 5000, "1+", "lambda: 1", "'a' * 10**9",
     "f'{1}'", "[1].append", "\0", None],
)  # fmt: skip
def test_anything_else_is_no_literal(text):
    with pytest.raises(LayerdropError, match="is not a literal"):
        literal(text)


@given(PLAIN.filter(lambda value: json.loads(json.dumps(value)) == value))
def test_json_is_read_as_python_reads_it(value):
    assert json_file.parse(json.dumps(value)) == value


@pytest.mark.parametrize("text", ['{"a": 1, "b": {"c": 1, "c": 2}}', "[" * 60 + "]" * 60, "[" * 10**5, "{", "1" * 5000])
def test_json_that_is_doubtful_is_refused(tmp_path, text):
    (tmp_path / "file.json").write_text(text)
    with pytest.raises(LayerdropError, match="the plan .*file.json is not JSON"):
        json_file.read_json(tmp_path / "file.json", "the plan")
