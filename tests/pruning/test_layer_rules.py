from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.layer_rules import RULES, stack_plan
from layerdrop_plugin.pruning.shape import StackShape

COUNTED = ("even", "first", "last", "outer", "spread")  # rules whose argument is a number of layers


def kept(spec: str, layers: int) -> list[int]:
    return list(stack_plan(spec, StackShape(layers, heads=1, ffn=1, embed_dim=1), "encoder").layers)


@pytest.mark.parametrize(
    ("spec", "layers", "expected"),
    [
        ("every-other:0.5", 12, [1, 3, 5, 7, 9, 11]),  # the paper's example
        ("every-other:0", 4, [0, 1, 2, 3]),
        ("every-other:0.2", 6, [1, 2, 3, 4]),
        ("every-other:1/3", 6, [1, 2, 4, 5]),
        ("every-other:0.3333333", 6, [1, 2, 4, 5]),
        ("every-other:2/3", 6, [2, 5]),  # floor(1/(1-p)) = 3 although 1/(1 - 2/3) < 3 in floating point
        ("every-other:0.6666666666666666", 6, [2, 5]),
        ("every-other:0.75", 12, [3, 7, 11]),
        ("every-other:0.9", 12, [9]),
        ("every-other-from-1:0.5", 16, [0, 2, 4, 6, 8, 10, 12, 14]),  # the released example of its authors
        ("every-other-from-1:0.5", 1, [0]),
        ("every-other-from-1:1/3", 6, [0, 1, 3, 4]),
        ("every-other-from-1:2/3", 6, [1, 4]),
        ("every-other-from-1:0", 4, [0, 1, 2, 3]),
        ("keep:0,2,4", 6, [0, 2, 4]),
        ("even:6", 12, [1, 3, 5, 7, 9, 11]),
        ("even:4", 12, [2, 5, 8, 11]),
        ("even:1", 5, [4]),
        ("first:2", 6, [0, 1]),
        ("last:2", 6, [4, 5]),
        ("outer:4", 6, [0, 1, 4, 5]),
        ("outer:3", 6, [0, 1, 5]),
        ("outer:1", 6, [0]),
        ("spread:4", 12, [0, 4, 7, 11]),
        ("spread:3", 6, [0, 3, 5]),
        ("spread:1", 6, [5]),
    ],
)
def test_examples(spec, layers, expected):
    assert kept(spec, layers) == expected


@given(st.sampled_from(COUNTED), st.integers(1, 30), st.data())
def test_n_is_the_number_kept(name, layers, data):
    count = data.draw(st.integers(1, layers))
    layers_kept = kept(f"{name}:{count}", layers)
    assert len(layers_kept) == count
    assert layers_kept == sorted(set(layers_kept))
    if name == "even":
        gaps = [b - a for a, b in zip(layers_kept, layers_kept[1:], strict=False)]
        assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(("name", "first"), [("every-other", 0), ("every-other-from-1", 1)])
@given(p=st.fractions(0, 1, max_denominator=100), layers=st.integers(1, 30))
def test_every_other_follows_the_formula_with_depth_counted_as_its_name_says(name, first, p, layers):
    depths = range(first, first + layers)
    if p == 1:
        expected = []
    elif p == 0:
        expected = list(depths)
    elif p <= Fraction(1, 2):
        expected = [d for d in depths if d % (1 // p) != 0]
    else:
        expected = [d for d in depths if d % (1 // (1 - p)) == 1 // (1 - p) - 1]
    if expected:
        assert [layer + first for layer in kept(f"{name}:{p}", layers)] == expected
    else:
        with pytest.raises(LayerdropError, match="^every-other.*: (want a rate|the plan keeps no layer)"):
            kept(f"{name}:{p}", layers)


@pytest.mark.parametrize(
    "spec",
    ["", "every-other", "every-other:", "every-other:1", "every-other:-0.1", "every-other:x", "every-other:1/0"]
    + [
        "every-other-from-1:1",
        "every-other-from-1:x",
        "every-other-from-1",
        "every-other:nan",
        "keep:",
        "keep:0,0",
        "keep:6",
        "keep:-1",
        "keep:a",
        "keep:2,1",
        "nonsense:2",
    ]
    + [
        f"{name}:{bad}"
        for name in ("even", "first", "last", "outer", "spread")
        for bad in ("0", "7", "-1", "x", "1.5", "")
    ],
)
def test_bad_specs_are_refused_in_one_line(spec):
    with pytest.raises(LayerdropError) as caught:
        kept(spec, 6)
    assert "\n" not in str(caught.value)


def test_a_rate_that_leaves_nothing_is_refused():
    for spec, layers in (("every-other:0.9", 3), ("every-other:0.5", 1), ("every-other-from-1:2/3", 1)):
        with pytest.raises(LayerdropError, match=f"^{spec}: the plan keeps no layer of the encoder"):
            kept(spec, layers)


def test_every_strategy_is_described():
    assert all(strategy.__doc__ for strategy in RULES.values())
