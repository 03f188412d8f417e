import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.modules.drop_rates import SCHEDULES, drop_rate, layer_rates, warmup_factor


@pytest.mark.parametrize("value", [-0.1, 1, 1.5, "abc", "nan", None, "1"])
def test_a_rate_outside_the_interval_is_refused(value):
    with pytest.raises(LayerdropError, match="--encoder-layerdrop"):
        drop_rate(value)


@given(st.sampled_from(sorted(SCHEDULES)), st.floats(0, 0.99), st.integers(1, 30))
def test_the_mean_rate_is_p_whatever_the_schedule(schedule, p, layers):
    try:
        rates = layer_rates(p, layers, schedule)
    except LayerdropError as error:
        assert "would be dropped" in str(error)
        return
    assert math.isclose(sum(rates) / layers, p, abs_tol=1e-9)
    assert all(0 <= rate < 1 for rate in rates)
    assert rates == sorted(rates)


@given(st.floats(0.01, 0.4), st.integers(2, 30))
def test_schedules_follow_their_formulas(p, layers):
    linear = layer_rates(p, layers, "linear")
    exponential = layer_rates(p, layers, "exponential")
    for depth in range(layers):
        assert math.isclose(linear[depth], 2 * p * (depth + 1) / (layers + 1))
        growth = math.exp(depth * math.log(2) / (layers - 1)) - 1
        assert math.isclose(exponential[depth], exponential[-1] * growth, abs_tol=1e-12)


@pytest.mark.parametrize(("schedule", "p"), [("linear", 0.6), ("exponential", 0.5)])
def test_a_schedule_in_which_a_rate_would_reach_one_is_refused(schedule, p):
    with pytest.raises(LayerdropError, match="layer 11 of 12"):
        layer_rates(p, 12, schedule)


def test_warmup_rises_to_one():
    assert [warmup_factor(update, 4) for update in (0, 1, 2, 4, 9)] == [0, 0.25, 0.5, 1, 1]
    assert warmup_factor(0, 0) == 1
