"""What was asked of a server: one record a call, kept in order, to be counted."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from aiohttp import web

from tests.support.fake_api import paths
from tests.support.fake_api.errors import ApiError

# Orders calls and rules by the moment they began.
moments = count()


@dataclass(eq=False)
class Call:
    """One call. ``status`` is 0 until it is answered, and stays so if the client gets no answer; ``body`` is what was
    sent, as JSON where it is that, else as text; ``target`` is None for a path that names no resource."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    target: paths.Target | None
    verb: str
    status: int = 0
    opened: int = field(default_factory=lambda: next(moments))

    @property
    def resource(self) -> str:
        """The resource with its subresource; the path for what is none."""
        if self.target is None:
            return self.path
        return "/".join(filter(None, (self.target.resource, self.target.subresource)))

    @property
    def user_agent(self) -> str:
        """Who says to be asking."""
        return self.headers.get("User-Agent", "")

    @property
    def token(self) -> str:
        """The bearer token; empty if there is none."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""


Predicate = Callable[[Call], bool]


async def read(request: web.BaseRequest) -> Call:
    """The call of a request, whose body is read."""
    try:
        target = paths.parse(request.path)
    except ApiError:
        target = None
    query = dict(request.query)
    raw = (await request.read()).decode(errors="replace")
    try:
        body = json.loads(raw) if raw else None
    except ValueError:
        body = raw
    verb = request.method.lower() if target is None else paths.verb_of(request.method, target, query)
    return Call(request.method, request.path, query, request.headers, body, target, verb)


class CallLog:
    """The calls, oldest first; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    def add(self, call: Call) -> None:
        """One more."""
        with self._lock:
            self._calls.append(call)

    def mark(self) -> int:
        """Where the log is now, for ``since``."""
        with self._lock:
            return len(self._calls)

    def calls(self, since: int = 0, where: Predicate | None = None) -> list[Call]:
        """The calls since a mark, all or some of them."""
        with self._lock:
            found = self._calls[since:]
        return [call for call in found if where is None or where(call)]

    def count(self, since: int = 0, where: Predicate | None = None) -> Counter[tuple[str, str]]:
        """How many calls of each verb and resource."""
        return Counter((call.verb, call.resource) for call in self.calls(since, where))
