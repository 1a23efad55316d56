"""Where a compact text has a value, or enough of it, within a bound on the number of places that are looked at.

Whoever chooses a value may also choose a text, and both so that the beginnings of a thousand values are found at a
thousand places.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from runtime.limits import REDACTED_PLACES

# So many characters at the beginning of a value, or at its end, are looked for first.
HEAD = 12
# The shortest prefix that is recognised where a text ends.
SHORTEST_END = 6
# Comparing a value's beginning with one place of the text takes a small part of looking at a place.
PIECES_OF_PLACE = 10
_CUT = ("…", "...", "[trunc", "(trunc", "<trunc")


class TooMany(Exception):
    """A text has more places to look at than REDACTED_PLACES."""


class Budget:
    """Counts the places at which a text was looked at."""

    def __init__(self) -> None:
        self._left = REDACTED_PLACES

    def spend(self, places: int = 1) -> None:
        """Count. Raises TooMany."""
        self._left -= places
        if self._left < 0:
            raise TooMany


def parts_of_length(text: str, length: int) -> set[str]:
    """All sequences of so many characters in a text."""
    return {text[at : at + length] for at in range(len(text) - length + 1)}


def places_of(part: str, text: str) -> list[int]:
    """Where a text has the part."""
    found, at = [], text.find(part)
    while at >= 0:
        found.append(at)
        at = text.find(part, at + 1)
    return found


def ends_of(text: str) -> list[int]:
    """Where the text says that it was cut, and where it ends, in order."""
    return sorted({len(text), *(place for mark in _CUT for place in places_of(mark, text))})


def is_cut(text: str, start: int, length: int) -> bool:
    """Whether a text ends, or says that it was cut, before it has so many characters from ``start`` on."""
    end = start + length
    return end > len(text) or any(mark in text[start : end + len(mark)] for mark in _CUT)


def endings(text: str) -> list[str]:
    """The last characters of a text, from SHORTEST_END to fewer than HEAD of them."""
    first = max(0, len(text) - HEAD + 1)
    return [text[at:] for at in range(first, len(text) - SHORTEST_END + 1)]


def occurrences(needle: str, text: str, ends: Sequence[int], budget: Budget) -> Iterator[tuple[int, int]]:
    """Where a text has the needle, at least half of it, or its beginning where the text is cut: at one of ``ends``,
    which are in order."""
    half = needle[: (len(needle) + 1) // 2]
    places = places_of(needle[:HEAD], text)
    budget.spend(1 + len(places) // PIECES_OF_PLACE)
    for start in places:
        following = bisect_left(ends, start + HEAD)
        may_be_cut = following < len(ends) and ends[following] <= start + len(half)
        if may_be_cut or text.startswith(half, start):
            budget.spend()
            end = start + _common_length(needle, text, start)
            if (end - start) * 2 >= len(needle) or end in ends:
                yield start, end
    for length in range(min(len(needle), HEAD) - 1, SHORTEST_END - 1, -1):
        if text.endswith(needle[:length]):
            yield len(text) - length, len(text)
            break


def second_halves(value: str, reversed_text: str, budget: Budget) -> Iterator[tuple[int, int]]:
    """Where a text has at least the second half of a value."""
    for start, end in _reversed(occurrences(value[::-1], reversed_text, (), budget), len(reversed_text)):
        if (end - start) * 2 >= len(value):
            yield start, end


def _reversed(spans: Iterable[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    return ((length - end, length - start) for start, end in spans)


def _common_length(needle: str, text: str, start: int) -> int:
    """How many characters of the needle a text has at ``start``."""
    low, high = 0, min(len(needle), len(text) - start)
    while low < high:
        middle = (low + high + 1) // 2
        if text.startswith(needle[low:middle], start + low):
            low = middle
        else:
            high = middle - 1
    return low
