"""The search for the values of one call in a text; ``values`` says what counts.

Most texts contain none, so they are searched for the heads of encodings only, and the rest of an encoding is made when
its head was found. Texts are searched in a compact form, without white space, escaped line breaks and backslashes: what
a shell, a regular expression or JSON in JSON escapes, and how many times, differs from program to program. Nor is what
is invisible in them, so it is not looked for either, as the byte order mark that a value may begin with.

Whoever chooses a value may also choose a text, and both so that the beginnings of a thousand values are found at a
thousand places. So the search has a bound, ``REDACTED_PLACES``; a text for which it is not enough is withheld as a
whole.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from runtime.limits import REDACTED_PLACES, REDACTED_VALUES
from runtime.redact.controls import visible, visible_start
from runtime.redact.encodings import Source, encodings, parts_of, values_of
from runtime.redact.patterns import WITHHELD

_SHORTEST, _SHORTEST_ANYWHERE = 4, 8
_HEAD = 12
# So much of a value is enough for the heads of its encodings.
_BEGINNING = 48
# The shortest prefix that is recognised where a text ends.
_SHORTEST_END = 6
# Making the encodings of a value takes as long as looking at so many places, and at one more for so many characters.
_COST_OF_PIECE, _CHARACTERS_OF_PLACE = 20, 32
# In how many places of all values what is not visible is removed before a text is made. Where a value has more, the end
# of it is read for a text, as part of the search: a thousand values of thousands of places took more than a second.
_GAPS = 32 * REDACTED_VALUES
# Comparing a value's beginning with one place of the text takes a small part of that.
_PIECES_OF_PLACE = 10
_COMMON_WORDS = frozenset({
    "admin", "data", "default", "dev", "error", "false", "file", "http", "https", "info", "json", "local", "main",
    "mount", "name", "nil", "none", "null", "prod", "public", "root", "secret", "stub", "test", "text", "token", "true",
    "user", "users", "value", "yaml",
})  # fmt: skip  # one line for each would hide the list
_BACKSLASHES = re.compile(r"\\++[nrt]?")
_CUT = ("…", "...", "[trunc", "(trunc", "<trunc")


class _TooMany(Exception):
    """A text has more places to look at than REDACTED_PLACES."""


class _Budget:
    """Counts the places at which a text was looked at."""

    def __init__(self) -> None:
        self._left = REDACTED_PLACES

    def spend(self, places: int = 1) -> None:
        """Count. Raises _TooMany."""
        self._left -= places
        if self._left < 0:
            raise _TooMany


class Needles:
    """What to look for."""

    def __init__(self) -> None:
        self._pieces: set[str | bytes] = set()
        # By the first and last characters of encodings and values, _HEAD of them or as many as there are. Many values
        # may begin alike, so with each comes what a text must have at the least for it to count.
        self._by_head: dict[str, list[tuple[str, str | bytes]]] = {}
        self._by_tail: dict[str, set[str]] = {}
        self._unread_tails: list[str] = []
        self._gaps_left = _GAPS
        self._by_start: dict[str, set[str]] = {}
        self._head_lengths: set[int] = set()
        self._words: set[str] = set()

    def add(self, sources: Sequence[Source]) -> None:
        """Look for these as well: first of all for each as a whole, since the number of all is limited."""
        for split in (values_of, parts_of):
            for source in sources:
                for piece in split(source):
                    if len(self._pieces) >= REDACTED_VALUES:
                        return
                    self._add_piece(piece)

    def _add_piece(self, piece: str | bytes) -> None:
        if piece in self._pieces:
            return
        self._pieces.add(piece)
        shown = self._visible(piece) if isinstance(piece, str) else ""
        beginning = piece[:_BEGINNING]
        for form in encodings(beginning):
            self._add(form, piece)
        if isinstance(beginning, str) and _compact(visible(beginning)) != _compact(beginning):
            for form in encodings(shown[:_BEGINNING]):  # what is invisible does not count for the length
                self._add(form, piece)

    def _visible(self, piece: str) -> str:
        """What is visible of a value, of its first _BEGINNING visible characters at the least. Adds its tail."""
        gaps = max(self._gaps_left, _BEGINNING + 1)
        shown, removed = visible_start(piece, gaps)
        self._gaps_left -= removed
        if removed < gaps:
            self._add_tail(shown)
        else:
            self._unread_tails.append(piece)
        return shown

    def _add_tail(self, shown: str) -> None:
        if len(whole := _compact(shown)) >= 2 * _HEAD:
            self._by_tail.setdefault(whole[-_HEAD:], set()).add(whole)

    def _read_tails(self, budget: _Budget) -> None:
        while self._unread_tails:
            budget.spend(_cost_of(self._unread_tails[-1]))
            self._add_tail(visible(self._unread_tails.pop()))

    def _add(self, form: str, piece: str | bytes) -> None:
        shown = visible(form)
        if _counts_anywhere(shown):
            for needle in _needles(shown):
                head = needle[:_HEAD]
                self._by_head.setdefault(head, []).append((needle[: max(len(head), (len(needle) + 1) // 2)], piece))
                self._by_start.setdefault(head[:_SHORTEST_END], set()).add(head)
                self._head_lengths.add(len(head))
        else:
            # A text that keeps its lines has the form itself.
            self._words.update(word for word in (form, shown) if _counts_alone(word))

    def mask(self, text: str) -> str:
        """The text with a mark in place of each value."""
        if len(text) < _SHORTEST:
            return text
        try:
            budget = _Budget()
            self._read_tails(budget)
            text = self._mask_anywhere(text, budget)
        except _TooMany:
            return WITHHELD
        for word in self._words:
            if word in text:
                text = _replace_word(text, word)
        return text

    def _mask_anywhere(self, text: str, budget: _Budget) -> str:
        compact = _compact(text)
        heads = self._heads_in(compact)
        tails = _parts_of_length(compact, _HEAD).intersection(self._by_tail) if self._by_tail else set()
        if not heads and not tails:
            return text
        found = {piece for head in heads for piece in self._beginning_at(head, compact, budget)}
        budget.spend(sum(map(_cost_of, found)))
        forms = {shown for piece in found for form in encodings(piece) if _counts_anywhere(shown := visible(form))}
        needles = {needle for form in forms for needle in _needles(form)}
        ends = _ends_of(compact)
        spans = [span for needle in needles for span in _occurrences(needle, compact, ends, budget)]
        backwards = compact[::-1] if tails else ""
        for tail in tails:
            for whole in self._by_tail[tail]:
                spans += _second_halves(whole, backwards, budget)
        return _replace(text, spans)

    def _beginning_at(self, head: str, text: str, budget: _Budget) -> Iterator[str | bytes]:
        """The values of which a text may have half, or the beginning where the text is cut, where it has the head."""
        pieces = self._by_head[head]
        places = _places(head, text)
        budget.spend(1 + len(pieces) * len(places) // _PIECES_OF_PLACE)
        longest = max(len(least) for least, _ in pieces)
        cut = not places or any(_is_cut(text, place, longest) for place in places)
        for least, piece in pieces:
            if cut or any(text.startswith(least, place) for place in places):
                yield piece

    def _heads_in(self, text: str) -> set[str]:
        """The heads that a text has, or with whose first characters it ends."""
        heads: set[str] = set()
        for length in self._head_lengths:
            heads |= _parts_of_length(text, length).intersection(self._by_head)
        for end in _ends(text):
            heads.update(head for head in self._by_start.get(end[:_SHORTEST_END], ()) if head.startswith(end))
        return heads


def _cost_of(piece: str | bytes) -> int:
    return _COST_OF_PIECE + len(piece) // _CHARACTERS_OF_PLACE


def _parts_of_length(text: str, length: int) -> set[str]:
    """All sequences of so many characters in a text."""
    return {text[at : at + length] for at in range(len(text) - length + 1)}


def _places(part: str, text: str) -> list[int]:
    """Where a text has the part."""
    found, at = [], text.find(part)
    while at >= 0:
        found.append(at)
        at = text.find(part, at + 1)
    return found


def _ends_of(text: str) -> list[int]:
    """Where the text says that it was cut, and where it ends, in order."""
    return sorted({len(text), *(place for mark in _CUT for place in _places(mark, text))})


def _is_cut(text: str, start: int, length: int) -> bool:
    """Whether a text ends, or says that it was cut, before it has so many characters from ``start`` on."""
    end = start + length
    return end > len(text) or any(mark in text[start : end + len(mark)] for mark in _CUT)


def _ends(text: str) -> list[str]:
    """The last characters of a text, from _SHORTEST_END to fewer than _HEAD of them."""
    first = max(0, len(text) - _HEAD + 1)
    return [text[at:] for at in range(first, len(text) - _SHORTEST_END + 1)]


def _occurrences(needle: str, text: str, ends: Sequence[int], budget: _Budget) -> Iterator[tuple[int, int]]:
    """Where a text has the needle, at least half of it, or its beginning where the text is cut: at one of ``ends``,
    which are in order."""
    half = needle[: (len(needle) + 1) // 2]
    places = _places(needle[:_HEAD], text)
    budget.spend(1 + len(places) // _PIECES_OF_PLACE)
    for start in places:
        following = bisect_left(ends, start + _HEAD)
        may_be_cut = following < len(ends) and ends[following] <= start + len(half)
        if may_be_cut or text.startswith(half, start):
            budget.spend()
            end = start + _common_length(needle, text, start)
            if (end - start) * 2 >= len(needle) or end in ends:
                yield start, end
    for length in range(min(len(needle), _HEAD) - 1, _SHORTEST_END - 1, -1):
        if text.endswith(needle[:length]):
            yield len(text) - length, len(text)
            break


def _second_halves(value: str, reversed_text: str, budget: _Budget) -> Iterator[tuple[int, int]]:
    """Where a text has at least the second half of a value."""
    for start, end in _reversed(_occurrences(value[::-1], reversed_text, (), budget), len(reversed_text)):
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


def _replace(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with a mark in place of each span of its compact form."""
    left_out = {index for escaped in _BACKSLASHES.finditer(text) for index in range(escaped.start(), escaped.end())}
    where = [index for index, character in enumerate(text) if index not in left_out and not character.isspace()]
    result, shown = "", 0
    for start, end in sorted(spans):
        first, last = where[start], where[end - 1] + 1
        if last <= shown:
            continue
        if first >= shown:
            result += text[shown:first] + WITHHELD
        shown = last
    return result + text[shown:]


def _compact(text: str) -> str:
    if "\\" in text:
        text = _BACKSLASHES.sub("", text)
    return "".join(text.split())


def _counts_anywhere(form: str) -> bool:
    """Whether a form is long enough to be looked for in the middle of words."""
    return len(form) >= _SHORTEST_ANYWHERE and len(_compact(form)) >= _SHORTEST_END


def _counts_alone(form: str) -> bool:
    """Whether a short form is masked where it stands alone."""
    return len(form) >= _SHORTEST and form.lower() not in _COMMON_WORDS


def _needles(form: str) -> Iterator[str]:
    """A form as it is in a compact text, also after a backslash, which takes a letter with it."""
    needle = _compact(form)
    yield needle
    if needle.startswith(("n", "r", "t")):
        yield needle[1:]


def _replace_word(text: str, word: str) -> str:
    """The text with a mark in place of the word, where it stands alone. No regular expression: the module ``re`` keeps
    the patterns that it has compiled, and with them the word."""
    parts = text.split(word)
    result = parts[0]
    for before, after in pairwise(parts):
        alone = not (before[-1:].isalnum() or after[:1].isalnum())
        result += (WITHHELD if alone else word) + after
    return result
