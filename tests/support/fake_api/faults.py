"""Faults between a client and the API server, and the rules that choose the calls they strike.

To add a kind of fault, write a class with a ``strike`` method.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from tests.support.fake_api.calls import Call, Predicate, moments
from tests.support.fake_api.errors import ApiError


class Dropped(Exception):
    """Raised to make the server cut the connection without a (complete) response."""


@dataclass(frozen=True)
class Exchange:
    """A call that a rule struck. ``proceed`` handles it normally and returns the response."""

    request: web.BaseRequest
    call: Call
    rule: "Rule"
    proceed: Callable[[], Awaitable[web.StreamResponse]]


class Fault(Protocol):
    """A kind of fault."""

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """Return the response to send instead of the normal one, or raise ``Dropped``."""


@dataclass(frozen=True)
class Answer:
    """Respond with a status code and a Kubernetes ``Status``, and do nothing. ``retry_after`` is in seconds, or the
    header's whole value. ``date`` is the header Date; None is the present time, "" is no such header."""

    status: int
    retry_after: int | str | None = None
    message: str = "injected fault"
    reason: str = ""
    date: str | None = None

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """Implements ``Fault``."""
        response = refusal(ApiError(self.status, self.message, reason=self.reason, retry_after=self.retry_after))
        if self.date is not None:
            response.headers["Date"] = self.date
        return response


@dataclass(frozen=True)
class Page:
    """Respond with an HTML page, as a load balancer or captive portal in between may."""

    text: str = "<html>back soon</html>"
    status: int = 200

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """Implements ``Fault``."""
        return web.Response(text=self.text, status=self.status, content_type="text/html")


@dataclass(frozen=True)
class WatchError:
    """Open the watch with 200, send one ERROR event, and end it, which is how an API server usually reports a 410."""

    status: int = 410
    message: str = "too old resource version: 1 (2)"

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """Implements ``Fault``."""
        event = {"type": "ERROR", "object": ApiError(self.status, self.message).status_object()}
        return web.Response(text=json.dumps(event) + "\n", content_type="application/json")


@dataclass(frozen=True)
class Delay:
    """Handle the call normally after some seconds."""

    seconds: float

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """Implements ``Fault``."""
        await asyncio.sleep(self.seconds)
        return await exchange.proceed()


@dataclass(frozen=True)
class Drop:
    """Cut the connection without a response: before the call is handled or, if ``done``, after it."""

    done: bool = False

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """Implements ``Fault``."""
        if self.done:
            await exchange.proceed()
        raise Dropped


@dataclass(frozen=True)
class HalfAnswer:
    """Handle the call, send the headers and half of the body (half a line of a watch), and cut the connection."""

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """Implements ``Fault``."""
        if exchange.call.verb == "watch":
            body, length = b'{"type": "ADDED", "obj', None
        else:
            answer = await exchange.proceed()
            assert isinstance(answer, web.Response) and isinstance(answer.body, bytes)
            body, length = answer.body[: len(answer.body) // 2], len(answer.body)
        stream = web.StreamResponse(headers={"Content-Type": "application/json"})
        stream.content_length = length
        with contextlib.suppress(ConnectionResetError):  # the client has left
            await stream.prepare(exchange.request)
            await stream.write(body)
        raise Dropped


@dataclass(frozen=True)
class LateAnswer:
    """Handle the call at once, and send the response when the rule is lifted."""

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """Implements ``Fault``."""
        answer = await exchange.proceed()
        await exchange.rule.over.wait()
        return answer


@dataclass(frozen=True)
class Silence:
    """Send nothing until the rule is lifted, then continue normally. Watches that are already open fall silent too.

    With ``open_only``, only watches that are open when the rule is added fall silent; new ones work, as after a
    firewall has forgotten a connection.
    """

    open_only: bool = False

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """Implements ``Fault``. A watch is opened, and is then held back by ``Rules.pass_on``."""
        if exchange.call.verb != "watch":
            await exchange.rule.over.wait()
        return await exchange.proceed()


@dataclass(eq=False)
class Rule:
    """A fault for the calls that match. Tests use ``hits`` and ``lift``; the rest is for the server."""

    method: str
    path: re.Pattern[str]
    fault: Fault
    times: int | None
    where: Predicate | None
    loop: asyncio.AbstractEventLoop
    hits: int = 0
    """The number of calls that it struck."""
    made: int = field(default_factory=lambda: next(moments))
    over: asyncio.Event = field(default_factory=asyncio.Event)
    lifted: bool = False

    def lift(self) -> None:
        """End the fault; thread-safe."""
        self.lifted = True
        self.loop.call_soon_threadsafe(self.over.set)

    def take(self, call: Call) -> bool:
        """Whether it strikes this new call, which is then counted."""
        only_old = isinstance(self.fault, Silence) and self.fault.open_only
        if only_old or self.hits == self.times or not self._covers(call):
            return False
        self.hits += 1
        return True

    def silences(self, call: Call) -> bool:
        """Whether it holds back the events of this open watch."""
        if not isinstance(self.fault, Silence) or (self.fault.open_only and call.opened > self.made):
            return False
        return self._covers(call)

    def _covers(self, call: Call) -> bool:
        method = "WATCH" if call.verb == "watch" else call.method
        return (
            not self.lifted
            and self.method in (method, "*")
            and self.path.search(call.path) is not None
            and (self.where is None or self.where(call))
        )


class Rules:
    """The rules of one server, in the order in which they were added; the first that matches a call strikes it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rules: list[Rule] = []

    def add(self, method: str, path: str, fault: Fault, times: int | None, where: Predicate | None) -> Rule:
        """See ``LoopbackServer.on``; thread-safe."""
        rule = Rule(method, re.compile(path), fault, times, where, self._loop)
        self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Lift all rules."""
        rules, self._rules = self._rules, []
        for rule in rules:
            rule.lift()

    def take(self, call: Call) -> Rule | None:
        """The rule that strikes a new call, if any."""
        return next((rule for rule in self._rules if rule.take(call)), None)

    async def pass_on(self, call: Call) -> None:
        """Wait while a rule keeps this open watch silent."""
        for rule in list(self._rules):
            if rule.silences(call):
                await rule.over.wait()


def refusal(error: ApiError) -> web.Response:
    """The response for an error."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return web.json_response(error.status_object(), status=error.status, headers=headers)
