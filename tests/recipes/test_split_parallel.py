"""Splits of sentence pairs: groups stay whole, equal pairs never part."""

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .conftest import RECIPES
from .pairs import LANGUAGES, SPLITS, lines, write, write_pair

sys.path.insert(0, str(RECIPES / "data"))
from split_parallel import Pair, split_pairs, well_matched, without_repeats
from textfile import chosen


def split_parallel(out, *arguments):
    """Run `split_parallel.py split` into the folder `out`; returns the CompletedProcess."""
    out.mkdir(exist_ok=True)
    script = [sys.executable, RECIPES / "data" / "split_parallel.py", "split", *LANGUAGES, "--out", out]
    return subprocess.run([*script, *map(str, arguments)], capture_output=True, text=True, check=False)


TEXTS = st.sampled_from(["a", "A", "b", "c c", "C c", "d", "e", "f", "g", "h"])
PAIRS = st.lists(st.builds(Pair, TEXTS, TEXTS, TEXTS), max_size=60)


@given(PAIRS, st.randoms())
def test_a_group_is_in_one_split_whatever_else_there_is(pairs, random):
    splits = split_pairs(pairs, 0.3, 0.3)
    assert sorted(sum(splits.values(), [])) == sorted(pairs)
    groups = {split: {pair.group.casefold() for pair in rows} for split, rows in splits.items()}
    assert sum(map(len, groups.values())) == len(set().union(*groups.values()))
    some = random.sample(pairs, len(pairs) // 2)
    for split, rows in split_pairs(some, 0.3, 0.3).items():
        assert set(rows) <= set(splits[split])


@given(PAIRS)
def test_equal_pairs_never_part(pairs):
    parted = split_pairs(pairs, 0.3, 0.3)
    splits = without_repeats(parted)
    texts = {split: {pair.text() for pair in rows} for split, rows in splits.items()}
    assert sum(map(len, texts.values())) == len({pair.text() for pair in pairs})
    assert splits["train"] == parted["train"]


@given(st.lists(st.text()), st.integers(1, 10), st.integers(1, 10))
def test_a_smaller_limit_chooses_from_what_a_larger_one_does(texts, limit, more):
    few, many = chosen(texts, limit), chosen(texts, limit + more)
    assert len(few) == min(limit, len(texts))
    assert list(few) == sorted(few) and set(few) <= set(many)


@given(st.integers(0, 50), st.integers(0, 50))
def test_sides_that_match(source, target):
    fits = well_matched("x" * source, "x" * target, 40)
    assert fits == well_matched("x" * target, "x" * source, 40)
    assert fits == (min(source, target) > 0 and max(source, target) <= min(40, 3 * min(source, target)))


@pytest.mark.recipe
def test_groups_stay_whole_and_do_not_share_pairs(tmp_path):
    source, target = write_pair(tmp_path, "all", [i % 450 for i in range(500)])
    groups = write(tmp_path / "chapters", (f"chapter {i // 10}" for i in range(500)))
    options = ["--src", source, "--tgt", target, "--groups", groups, "--valid", "0.3", "--test", "0.3"]
    done = split_parallel(tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    dropped = int(re.search(r"50 groups; (\d+) pairs are in two splits", done.stdout)[1])
    texts = {split: lines(tmp_path / "out" / f"{split}.es") for split in SPLITS}
    assert dropped > 0 and sum(map(len, texts.values())) == 500 - dropped
    assert sum(len(set(text)) for text in texts.values()) == 450
    chapters = [{int(text.split()[-1]) // 10 for text in texts[split]} for split in SPLITS]
    assert sum(map(len, chapters)) == 45
