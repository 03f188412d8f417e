"""Rounds of timing with a clock of our own: disturbances, disagreement, and whose turn it is."""

import statistics

import pytest

from layerdrop_plugin.evaluation import rounds

SPEED = {"parent": 2.0, "child": 1.0, "twin": 1.0}  # seconds per batch


class Machine:
    """A workload and its clock; within the seconds *busy* everything takes *times* as long."""

    def __init__(self, busy=(), times=10.0):
        self.now, self.busy, self.times, self.turns = 0.0, busy, times, []

    def clock(self):
        return self.now

    def run(self, name, batches):
        self.turns.append((name, tuple(batches)))
        for _ in batches:
            slow = any(begin <= self.now < end for begin, end in self.busy)
            self.now += SPEED[name] * (self.times if slow else 1.0)
        return len(batches)

    def count(self, _name, outputs):
        return 100 * outputs

    def time(self, names, work, repeats):
        return rounds.time_rounds(self, names, work, repeats, clock=self.clock)


def ratios(seconds, kind="a"):
    return [one / of for one, of in zip(seconds["child"][kind], seconds["parent"][kind], strict=True)]


def test_every_round_times_every_model_once_on_all_the_work_and_the_first_round_only_warms_up():
    machine = Machine(busy=[(0.0, 1.0)])
    seconds, counts = machine.time(["parent", "child"], {"a": ["xy", "z"], "b": ["w"]}, 3)
    assert seconds == {"parent": {"a": [6.0] * 3, "b": [2.0] * 3}, "child": {"a": [3.0] * 3, "b": [1.0] * 3}}
    assert counts == {name: {"a": 300, "b": 100} for name in seconds}
    assert sorted(machine.turns) == sorted(
        (name, work) for name in seconds for work in (("x", "y"), ("z",), ("w",)) for _ in range(4)
    )


def test_the_model_that_begins_is_another_at_each_turn():
    machine = Machine()
    machine.time(list(SPEED), {"a": ["x", "y"]}, 2)
    orders = [tuple(name for name, _ in machine.turns[start : start + 3]) for start in range(0, 18, 3)]
    assert orders[:2] == [("twin", "parent", "child"), ("parent", "child", "twin")]
    assert [order[0] for order in orders] == ["twin", "parent", "parent", "child", "child", "twin"]
    assert {work for _, work in machine.turns[:3]} == {("x",)}  # all models before the next batch
    for at in range(3):  # each model equally often at each place
        assert sorted(order[at] for order in orders) == sorted([*SPEED] * 2)


def test_kinds_of_work_are_spread_over_the_whole_time():
    machine = Machine()
    machine.time(["parent"], {"a": ["x"], "b": ["y"]}, 3)
    assert [work for _, work in machine.turns] == [("x",), ("y",)] * 4


def test_a_disturbance_in_one_round_does_not_move_the_median_and_is_seen():
    quiet, disturbed = Machine(), Machine(busy=[(25.0, 27.0)])
    work = {"a": ["x", "y"]}
    (expected, _), (found, _) = (machine.time(["parent", "child"], work, 5) for machine in (quiet, disturbed))
    assert found != expected
    assert statistics.median(ratios(found)) == statistics.median(ratios(expected)) == 0.5
    assert rounds.spread(ratios(found))["unreliable"] and not rounds.spread(ratios(expected))["unreliable"]


def test_a_long_disturbance_falls_on_all_models():
    found = {}
    for turns in (["x"] * 16, ["x" * 16]):
        machine = Machine(busy=[(110.0, 400.0)])  # from the middle of one round to the middle of a later one
        seconds, _ = machine.time(["parent", "child"], {"a": turns}, 5)
        assert max(seconds["parent"]["a"]) > 5 * min(seconds["parent"]["a"])
        found[len(turns)] = rounds.spread(ratios(seconds))
    assert found[16]["least"] > 0.44 and found[16]["greatest"] < 0.56 and not found[16]["unreliable"]
    assert found[1]["unreliable"]  # with one turn a round the models do not share it


@pytest.mark.parametrize(
    ("found", "unreliable"),
    [
        ([1.75, 1.875, 2.0], False),
        ([1.75, 2.0, 2.25], False),  # exactly a quarter
        ([1.7, 2.0, 2.25], True),
        ([0.9, 1.0, 10.14], True),
        ([1.0, 1.0], False),
        ([1.0, 1.3], True),
        ([1.0], True),  # nothing to compare it with
        ([0.0, 0.0, 0.0], False),  # a model that writes nothing
    ],
)
def test_rounds_that_disagree_by_more_than_a_quarter_are_marked(found, unreliable):
    spread = rounds.spread(found)
    assert spread == {"rounds": found, "least": min(found), "greatest": max(found), "unreliable": unreliable}
    assert ("unreliable" in rounds.written(statistics.median(found), spread)) is unreliable


def test_ratios_for_people():
    assert rounds.written(1.794) == "1.79"
    assert rounds.written(1.79, rounds.spread([1.71, 1.85, 1.79])) == "1.79 (1.71 to 1.85)"
    assert rounds.written(1.79, rounds.spread([1.2, 1.79, 10.14])) == "1.79 (1.20 to 10.14, unreliable)"
    assert rounds.written(1.79, rounds.spread([1.79])) == "1.79 (1 round, unreliable)"


def test_doubts_name_the_model_the_batch_and_the_rounds():
    def times(*found):
        spread = {"1": rounds.spread([2.0] * len(found)), "32": rounds.spread(found)}
        return {"repeats": len(found), "models": [{"name": "parent"}, {"name": "child", "spread": spread}]}

    assert rounds.doubts(times(1.0, 1.1)) == []
    (line,) = rounds.doubts(times(1.0, 1.2, 10.14))
    assert line.startswith(
        "The ratio of 'child' to 'parent' at batch 32 is not reliable: single rounds say 1.00 to 10.14"
    )
    assert rounds.doubts(times(1.0, 10.14), {"1"}) == []
    (line,) = rounds.doubts(times(1.0))
    assert line.startswith("Ratios of 1 round are not reliable") and "3 or more" in line
    assert rounds.doubts({"repeats": 1, "models": [{"name": "parent"}, {"name": "child"}]}) == []  # an old file
