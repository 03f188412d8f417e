"""Numbers of parts that a plan keeps: check them, and write many as a short text of ranges: ``0-5,9,12-40``."""

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


def count_ranges(text: str) -> int:
    """Count the numbers in the ranges in *text*, ascending or not; parts that are not ranges count 0."""
    matches = map(_RANGE.fullmatch, map(str.strip, text.split(",")))
    return sum(max(0, int(match[2] or match[1]) - int(match[1]) + 1) for match in matches if match)


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


def plain_numbers(kept: tuple[int, ...] | None, listed: int) -> list[int] | str | None:
    """Plain form of *kept*: a list, of more than *listed* numbers ranges; None of None."""
    if kept is None:
        return None
    return list(kept) if len(kept) <= listed else format_ranges(kept)


def read_kept(kept: object, what: str) -> tuple[int, ...] | None:
    """The reverse of :func:`plain_numbers`.

    Raises:
        LayerdropError: neither numbers nor ranges.
    """
    if kept is None:
        return None
    return parse_ranges(kept, f"the plan's {what}") if isinstance(kept, str) else read_numbers(kept, what)


def read_numbers(data: object, what: str) -> tuple[int, ...]:
    """The whole numbers in the list *data*.

    Raises:
        LayerdropError: *data* is something else.
    """
    if not isinstance(data, list) or not all(type(number) is int for number in data):
        raise LayerdropError(f"the plan's {what} must be whole numbers, not {data}")
    return tuple(data)


def check_ascending(numbers: tuple[int, ...], size: int, part: str, place: str) -> None:
    """Raise LayerdropError unless *numbers* are different numbers below *size*, ascending."""
    if len(set(numbers)) < len(numbers):
        seen = set()
        repeated = next(number for number in numbers if number in seen or seen.add(number))
        raise LayerdropError(f"the plan repeats {part} {repeated} of {place}: name each one once")
    beyond = [number for number in numbers if not 0 <= number < size]
    if beyond:
        has = f"has {size} {part}s, 0 to {size - 1}" if size else f"has no {part}s left"
        raise LayerdropError(f"the plan keeps {part} {beyond[0]}, but {place} {has}")
    if list(numbers) != sorted(numbers):
        raise LayerdropError(f"the plan's {part}s of {place} must ascend: {sorted(numbers)}")
