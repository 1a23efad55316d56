"""The values that a call has sent or fetched, masked in every text that is made while it lasts, whoever echoes them.

A provider's error may repeat its request, an API server's the body that it refuses, and no pattern knows what that
looks like. So a call names its secrets, as they come (``withholding``, ``withhold``), and each text is searched for
them.

What is recognised
    Of each value: the whole, its lines, what follows ``=`` or ``:`` in a line, and the texts in it if it is JSON. Of
    each of those, the text itself and its usual ``encodings``. White space and escaped line breaks do not count, so
    that a value may be split over lines. A prefix counts if it is half of the value, or if the text has been cut there.

What is not
    A value of less than 4 characters, which would turn texts into mud. One of less than 8 counts only where it stands
    alone, not next to a letter or digit, and not if it is a common word, such as ``true``.

How long
    Until the call's end: ``withholding`` forgets the values then, although tasks that it has started may still hold its
    context. Only for an operation that outlives its call, ``held`` keeps them until that has ended, too. Nothing is
    computed before the first text is made: a publish that logs nothing pays nothing.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise

from runtime.limits import REDACTED_VALUES
from runtime.redact.encodings import Source, encodings, pieces
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
_ESCAPED_BREAK = re.compile(r"\\+[nrt]")
_CUT = ("…", "...", "[trunc", "(trunc", "<trunc")


class _Scope:
    """The values of one call."""

    def __init__(self, outer: "_Scope | None") -> None:
        self.outer = outer
        self.users = 1
        self._new: list[Source] = []
        self._needles: _Needles | None = None

    def add(self, sources: Iterable[Source]) -> None:
        self._new.extend(sources)

    def release(self) -> None:
        self.users -= 1
        if not self.users:
            self._new.clear()
            self._needles = None

    def mask(self, text: str) -> str:
        if self._new:
            self._needles = self._needles or _Needles()
            self._needles.add(self._new)
            self._new = []
        return text if self._needles is None else self._needles.mask(text)


_current: ContextVar[_Scope | None] = ContextVar("withheld values", default=None)


@contextmanager
def withholding(*sources: Source) -> Iterator[None]:
    """Mask the sources, of a message its secret fields, in all texts that are made in this context."""
    scope = _Scope(_current.get())
    scope.add(sources)
    token = _current.set(scope)
    try:
        yield
    finally:
        _current.reset(token)
        scope.release()


@contextmanager
def held() -> Iterator[None]:
    """Keep the values of the call in whose context this runs until this block has ended, too."""
    scope = _current.get()
    if scope is None or not scope.users:
        yield
        return
    scope.users += 1
    try:
        yield
    finally:
        scope.release()


def withhold(*sources: Source) -> None:
    """From now on mask these as well, until the call in whose context this runs has ended."""
    scope = _current.get()
    if scope is not None and scope.users:
        scope.add(sources)


def mask(text: str) -> str:
    """The text without the values of the calls in whose context this runs."""
    scope = _current.get()
    while scope is not None:
        text = scope.mask(text)
        scope = scope.outer
    return text


class _Needles:
    """What to look for. Most texts contain nothing, so they are searched for the beginnings of values only, and the
    rest of an encoding is made when its beginning was found."""

    def __init__(self) -> None:
        self._pieces: set[str | bytes] = set()
        self._by_head: dict[str, set[str | bytes]] = {}
        self._starts: set[str] = set()
        self._words: set[str] = set()

    def add(self, sources: Iterable[Source]) -> None:
        for piece in (piece for source in sources for piece in pieces(source)):
            if piece not in self._pieces and len(self._pieces) < REDACTED_VALUES:
                self._pieces.add(piece)
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
        if not heads:
            return text
        found = {piece for head in heads for piece in self._by_head[head]}
        needles = {_compact(form) for piece in found for form in encodings(piece)}
        return _replace(text, [span for needle in needles for span in _occurrences(needle, compact)])


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
