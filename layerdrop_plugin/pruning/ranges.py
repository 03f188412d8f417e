"""Many ascending numbers in a short text: ``0-5,9,12-40``."""

import re
from collections.abc import Iterable

from ..errors import LayerdropError

_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")


def format_ranges(numbers: Iterable[int]) -> str:
    """*numbers* as ranges, both ends included, in their order."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def count_ranges(text: str) -> int:
    """How many numbers *text* names, whether or not they ascend; parts that are no ranges name none."""
    matches = map(_RANGE.fullmatch, map(str.strip, text.split(",")))
    return sum(max(0, int(match[2] or match[1]) - int(match[1]) + 1) for match in matches if match)


def parse_ranges(text: str, what: str) -> tuple[int, ...]:
    """The reverse of :func:`format_ranges`; *what* names the numbers in an error.

    Raises:
        LayerdropError: no ranges, or such as do not ascend or go beyond 999,999: a short text is no endless list.
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
