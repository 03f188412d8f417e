import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning.ranges import format_ranges, parse_ranges


@given(st.sets(st.integers(0, 40), min_size=1).map(sorted))
def test_ranges_are_read_as_they_were_written(numbers):
    assert parse_ranges(format_ranges(numbers), "numbers") == tuple(numbers)


def test_ranges_are_written_with_both_ends():
    assert format_ranges([0, 1, 2, 3, 4, 5, 9, 12, 13]) == "0-5,9,12-13"
    assert parse_ranges(" 0-5, 9", "numbers") == (0, 1, 2, 3, 4, 5, 9)


@pytest.mark.parametrize(
    "text", ["", "a", "1,", "3-1", "-1", "1-", "1--2", "1.5", "0-5,5", "4,2", "2,2", "0-9999999", "٣", "1-2-3"]
)
def test_what_is_no_ascending_ranges_is_refused(text):
    with pytest.raises(LayerdropError, match="numbers have '.*' where a number or range such as 12-40"):
        parse_ranges(text, "numbers")
