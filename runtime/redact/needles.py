"""The search for the values of one call in a text; ``values`` says what counts.

Most texts contain none, so they are searched for the heads of encodings only, and the rest of an encoding is made when
its head was found. Values are looked for in the ``compact`` form of a text, and without what is invisible in them, such
as the byte order mark that a value may begin with. A text for which the bound of the search (``occurrences``) is not
enough is withheld as a whole.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from runtime.limits import REDACTED_VALUES
from runtime.redact.compact import compact, replace
from runtime.redact.controls import visible, visible_start
from runtime.redact.encodings import Source, encodings, parts_of, values_of
from runtime.redact.occurrences import (
    HEAD,
    PIECES_OF_PLACE,
    SHORTEST_END,
    Budget,
    TooMany,
    endings,
    ends_of,
    is_cut,
    occurrences,
    parts_of_length,
    places_of,
    second_halves,
)
from runtime.redact.patterns import WITHHELD

_SHORTEST, _SHORTEST_ANYWHERE = 4, 8
# So much of a value is enough for the heads of its encodings.
_BEGINNING = 48
# Making the encodings of a value takes as long as looking at so many places, and at one more for so many characters.
_COST_OF_PIECE, _CHARACTERS_OF_PLACE = 20, 32
# In how many places of all values what is not visible is removed before a text is made. Where a value has more, the end
# of it is read for a text, as part of the search: a thousand values of thousands of places took more than a second.
_GAPS = 32 * REDACTED_VALUES
_COMMON_WORDS = frozenset({
    "admin", "data", "default", "dev", "error", "false", "file", "http", "https", "info", "json", "local", "main",
    "mount", "name", "nil", "none", "null", "prod", "public", "root", "secret", "stub", "test", "text", "token", "true",
    "user", "users", "value", "yaml",
})  # fmt: skip  # one line for each would hide the list


class Needles:
    """What to look for."""

    def __init__(self) -> None:
        self._pieces: set[str | bytes] = set()
        # By the first and last characters of encodings and values, HEAD of them or as many as there are. Many values
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
        if isinstance(beginning, str) and compact(visible(beginning)) != compact(beginning):
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
        if len(whole := compact(shown)) >= 2 * HEAD:
            self._by_tail.setdefault(whole[-HEAD:], set()).add(whole)

    def _read_tails(self, budget: Budget) -> None:
        while self._unread_tails:
            budget.spend(_cost_of(self._unread_tails[-1]))
            self._add_tail(visible(self._unread_tails.pop()))

    def _add(self, form: str, piece: str | bytes) -> None:
        shown = visible(form)
        if _counts_anywhere(shown):
            for needle in _needles(shown):
                head = needle[:HEAD]
                self._by_head.setdefault(head, []).append((needle[: max(len(head), (len(needle) + 1) // 2)], piece))
                self._by_start.setdefault(head[:SHORTEST_END], set()).add(head)
                self._head_lengths.add(len(head))
        else:
            # A text that keeps its lines has the form itself.
            self._words.update(word for word in (form, shown) if _counts_alone(word))

    def mask(self, text: str) -> str:
        """The text with a mark in place of each value."""
        if len(text) < _SHORTEST:
            return text
        try:
            budget = Budget()
            self._read_tails(budget)
            text = self._mask_anywhere(text, budget)
        except TooMany:
            return WITHHELD
        for word in self._words:
            if word in text:
                text = _replace_word(text, word)
        return text

    def _mask_anywhere(self, text: str, budget: Budget) -> str:
        searched = compact(text)
        heads = self._heads_in(searched)
        tails = parts_of_length(searched, HEAD).intersection(self._by_tail) if self._by_tail else set()
        if not heads and not tails:
            return text
        found = {piece for head in heads for piece in self._beginning_at(head, searched, budget)}
        budget.spend(sum(map(_cost_of, found)))
        forms = {shown for piece in found for form in encodings(piece) if _counts_anywhere(shown := visible(form))}
        needles = {needle for form in forms for needle in _needles(form)}
        ends = ends_of(searched)
        spans = [span for needle in needles for span in occurrences(needle, searched, ends, budget)]
        backwards = searched[::-1] if tails else ""
        for tail in tails:
            for whole in self._by_tail[tail]:
                spans += second_halves(whole, backwards, budget)
        return replace(text, spans)

    def _beginning_at(self, head: str, text: str, budget: Budget) -> Iterator[str | bytes]:
        """The values of which a text may have half, or the beginning where the text is cut, where it has the head."""
        pieces = self._by_head[head]
        places = places_of(head, text)
        budget.spend(1 + len(pieces) * len(places) // PIECES_OF_PLACE)
        longest = max(len(least) for least, _ in pieces)
        cut = not places or any(is_cut(text, place, longest) for place in places)
        for least, piece in pieces:
            if cut or any(text.startswith(least, place) for place in places):
                yield piece

    def _heads_in(self, text: str) -> set[str]:
        """The heads that a text has, or with whose first characters it ends."""
        heads: set[str] = set()
        for length in self._head_lengths:
            heads |= parts_of_length(text, length).intersection(self._by_head)
        for end in endings(text):
            heads.update(head for head in self._by_start.get(end[:SHORTEST_END], ()) if head.startswith(end))
        return heads


def _cost_of(piece: str | bytes) -> int:
    return _COST_OF_PIECE + len(piece) // _CHARACTERS_OF_PLACE


def _counts_anywhere(form: str) -> bool:
    """Whether a form is long enough to be looked for in the middle of words."""
    return len(form) >= _SHORTEST_ANYWHERE and len(compact(form)) >= SHORTEST_END


def _counts_alone(form: str) -> bool:
    """Whether a short form is masked where it stands alone."""
    return len(form) >= _SHORTEST and form.lower() not in _COMMON_WORDS


def _needles(form: str) -> Iterator[str]:
    """A form as it is in a compact text, also after a backslash, which takes a letter with it."""
    needle = compact(form)
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
