"""Ascending numbers as a short text of ranges: ``0-5,9,12-40``."""

import re
from collections.abc import Iterable

from ..errors import LayerdropError

_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")


def format_ranges(numbers: Iterable[int]) -> str:
    """Format ascending *numbers* as ranges, which include both ends."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def parse_ranges(text: str, what: str) -> tuple[int, ...]:
    """Parse the ranges in *text*; *what* names the numbers in error messages.

    Raises:
        LayerdropError: *text* does not consist of ascending ranges of numbers up to 999,999, the limit that prevents a
            short text from filling the memory.
    """
    numbers: list[int] = []
    for part in map(str.strip, text.split(",")):
        match = _RANGE.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if first > last or (numbers and first <= numbers[-1]):
            raise LayerdropError(
                f"{what} have {part[:20]!r} where a number or range such as 12-40 below a million should be, ascending"
            )
        numbers.extend(range(first, last + 1))
    return tuple(numbers)
