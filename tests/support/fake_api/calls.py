"""The log of calls that a server received, for assertions on what was called and how often."""

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

# Numbers calls and rules in the order in which they started.
moments = count()


@dataclass(eq=False)
class Call:
    """One call. ``status`` is 0 until the response is sent, and remains 0 if the client gets none; ``body`` is the
    parsed JSON, or the text if it is not JSON; ``target`` is None for a path outside the resource API."""

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
        """Resource and subresource, as in ``pods/status``; the path if there is no target."""
        if self.target is None:
            return self.path
        return "/".join(filter(None, (self.target.resource, self.target.subresource)))

    @property
    def user_agent(self) -> str:
        """The User-Agent header."""
        return self.headers.get("User-Agent", "")

    @property
    def token(self) -> str:
        """The bearer token; empty without one."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""


Predicate = Callable[[Call], bool]


async def read(request: web.BaseRequest) -> Call:
    """Read a request's body and describe the call."""
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
    """The calls, oldest first; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []

    def add(self, call: Call) -> None:
        """Append a call."""
        with self._lock:
            self._calls.append(call)

    def clear(self) -> None:
        """Forget the calls so far; earlier marks are void."""
        with self._lock:
            self._calls.clear()

    def mark(self) -> int:
        """The current position, to be passed as ``since`` later."""
        with self._lock:
            return len(self._calls)

    def calls(self, since: int = 0, where: Predicate | None = None) -> list[Call]:
        """The calls since a mark for which ``where`` is true."""
        with self._lock:
            found = self._calls[since:]
        return [call for call in found if where is None or where(call)]

    def count(self, since: int = 0, where: Predicate | None = None) -> Counter[tuple[str, str]]:
        """The number of calls by verb and resource."""
        return Counter((call.verb, call.resource) for call in self.calls(since, where))
