"""The values that a call has sent or fetched, masked in every text that is made while it lasts, whoever echoes them.

A provider's error may repeat its request, an API server's the body that it refuses, and no pattern knows what that
looks like. So a call names its secrets, as they come (``withholding``, ``withhold``), and each text is searched for
them.

What is recognised
    Of each value: the whole, its lines, what follows ``=`` or ``:`` in a line, and the texts in it if it is JSON. Of
    each of those, the text itself and its usual ``encodings``. White space, escaped line breaks and backslashes do
    not count, so that a value may be split over lines, or escaped for a shell. A prefix counts if it is half of the
    value, or if the text has been cut there; of the text itself, half counts at its end, too.

What is not
    An encoding that nobody uses. Who invents one to disclose a secret has it already, and other ways.

    A value of less than 4 characters, which would turn texts into mud. One of less than 8 counts only where it stands
    alone, not next to a letter or digit, and not if it is a common word, such as ``true``.

How long
    Until the call's end: ``withholding`` forgets the values then, although tasks that it has started may still hold its
    context. Only for an operation that outlives its call, ``held`` keeps them until that has ended, too. Nothing is
    computed before the first text is made: a publish that logs nothing pays nothing.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from runtime.redact.encodings import Source
from runtime.redact.needles import Needles


class _Scope:
    """The values of one call."""

    def __init__(self, outer: "_Scope | None") -> None:
        self.outer = outer
        self.users = 1
        self._new: list[Source] = []
        self._needles: Needles | None = None
        self._lock = threading.Lock()  # the disk's threads log, too

    def add(self, sources: Iterable[Source]) -> None:
        with self._lock:
            self._new.extend(sources)

    def release(self) -> None:
        self.users -= 1
        if not self.users:
            with self._lock:
                self._new.clear()
                self._needles = None

    def mask(self, text: str) -> str:
        with self._lock:
            if self._new:
                new, self._new = self._new, []
                self._needles = self._needles or Needles()
                self._needles.add(new)
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
