"""The search for the values of one call in a text; ``values`` says what counts.

Most texts contain none, so they are searched for the heads of encodings only, and the rest of an encoding is made when
its head was found. Texts are searched in a compact form, without white space and escaped line breaks.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from runtime.limits import REDACTED_VALUES
from runtime.redact.encodings import Source, encodings, parts_of, values_of
from runtime.redact.patterns import WITHHELD

_SHORTEST, _SHORTEST_ANYWHERE = 4, 8
_HEAD = 12
# So much of a value is enough for the heads of its encodings.
_BEGINNING = 48
# The shortest prefix that is recognised where a text ends.
_SHORTEST_END = 6
_COMMON_WORDS = frozenset({
    "admin", "data", "default", "dev", "error", "false", "file", "http", "https", "info", "json", "local", "main",
    "mount", "name", "nil", "none", "null", "prod", "public", "root", "secret", "stub", "test", "text", "token", "true",
    "user", "users", "value", "yaml",
})  # fmt: skip  # one line for each would hide the list
_ESCAPED_BREAK = re.compile(r"(?<!\\)\\++[nrt]")  # from the start of a run only, or many would take quadratic time
_CUT = ("…", "...", "[trunc", "(trunc", "<trunc")


class Needles:
    """What to look for."""

    def __init__(self) -> None:
        self._pieces: set[str | bytes] = set()
        self._by_head: dict[str, set[str | bytes]] = {}
        self._by_tail: dict[str, set[str]] = {}
        self._starts: set[str] = set()
        self._words: set[str] = set()

    def add(self, sources: Sequence[Source]) -> None:
        """Look for these as well: first of all for each as a whole, since the number of all is limited."""
        for source in sources:
            for value in values_of(source):
                self._add_piece(value)
        for source in sources:
            for part in parts_of(source):
                self._add_piece(part)

    def _add_piece(self, piece: str | bytes) -> None:
        if piece in self._pieces or len(self._pieces) >= REDACTED_VALUES:
            return
        self._pieces.add(piece)
        if isinstance(piece, str) and len(whole := _compact(piece)) >= 2 * _HEAD:
            self._by_tail.setdefault(whole[-_HEAD:], set()).add(whole)
        for form in encodings(piece[:_BEGINNING]):
            self._add(form, piece)

    def _add(self, form: str, piece: str | bytes) -> None:
        needle = _compact(form)
        if len(form) >= _SHORTEST_ANYWHERE and len(needle) >= _SHORTEST_END:
            self._by_head.setdefault(needle[:_HEAD], set()).add(piece)
            self._starts.add(needle[:_SHORTEST_END])
        elif len(form) >= _SHORTEST and form.lower() not in _COMMON_WORDS:
            self._words.add(form)

    def mask(self, text: str) -> str:
        """The text with a mark in place of each value."""
        if len(text) < _SHORTEST:
            return text
        text = self._mask_anywhere(text)
        for word in self._words:
            if word in text:
                text = _replace_word(text, word)
        return text

    def _mask_anywhere(self, text: str) -> str:
        compact = _compact(text)
        heads = [head for head in self._by_head if head in compact]
        if len(compact) >= _SHORTEST_END and not self._starts.isdisjoint(_ends(compact)):
            heads += [head for head in self._by_head if any(head.startswith(end) for end in _ends(compact, whole=True))]
        tails = [tail for tail in self._by_tail if tail in compact]
        if not heads and not tails:
            return text
        found = {piece for head in heads for piece in self._by_head[head]}
        needles = {_compact(form) for piece in found for form in encodings(piece)}
        spans = [span for needle in needles for span in _occurrences(needle, compact)]
        spans += [span for tail in tails for whole in self._by_tail[tail] for span in _second_halves(whole, compact)]
        return _replace(text, spans)


def _ends(text: str, *, whole: bool = False) -> list[str]:
    """What the last characters of a text begin with; ``whole``: the last characters."""
    first = max(0, len(text) - _HEAD + 1)
    return [text[at : None if whole else at + _SHORTEST_END] for at in range(first, len(text) - _SHORTEST_END + 1)]


def _occurrences(needle: str, text: str) -> Iterator[tuple[int, int]]:
    """Where a text has the needle, at least half of it, or its beginning where the text is cut."""
    start = text.find(needle[:_HEAD])
    while start >= 0:
        length = _common_length(needle, text[start : start + len(needle)])
        end = start + length
        if length * 2 >= len(needle) or end == len(text) or text.startswith(_CUT, end):
            yield start, end
        start = text.find(needle[:_HEAD], start + 1)
    for length in range(min(len(needle), _HEAD) - 1, _SHORTEST_END - 1, -1):
        if text.endswith(needle[:length]):
            yield len(text) - length, len(text)
            break


def _second_halves(value: str, text: str) -> Iterator[tuple[int, int]]:
    """Where a text has at least the second half of a value."""
    for start, end in _reversed(_occurrences(value[::-1], text[::-1]), len(text)):
        if (end - start) * 2 >= len(value):
            yield start, end


def _reversed(spans: Iterable[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    return ((length - end, length - start) for start, end in spans)


def _common_length(one: str, other: str) -> int:
    if one.startswith(other):
        return len(other)
    return next(index for index, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)


def _replace(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with a mark in place of each span of its compact form."""
    where = [index for index, character in enumerate(text) if not character.isspace()]
    compact = "".join(text.split())
    for escaped in reversed(list(_ESCAPED_BREAK.finditer(compact))):
        del where[escaped.start() : escaped.end()]
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
    text = "".join(text.split())
    return _ESCAPED_BREAK.sub("", text) if "\\" in text else text


def _replace_word(text: str, word: str) -> str:
    """The text with a mark in place of the word, where it stands alone. No regular expression: the module ``re`` keeps
    the patterns that it has compiled, and with them the word."""
    parts = text.split(word)
    result = parts[0]
    for before, after in pairwise(parts):
        alone = not (before[-1:].isalnum() or after[:1].isalnum())
        result += (WITHHELD if alone else word) + after
    return result
