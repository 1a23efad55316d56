"""What may go wrong between a client and the API server, and the rules that say which calls it happens to.

A new kind of fault is a class with ``strike``.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from tests.support.fake_api.calls import Call, Predicate, moments
from tests.support.fake_api.errors import ApiError


class Dropped(Exception):
    """Nothing (more) is to be answered: the server cuts the connection."""


@dataclass(frozen=True)
class Exchange:
    """A call that a rule has struck. ``proceed`` makes the answer that it would have had."""

    request: web.BaseRequest
    call: Call
    rule: "Rule"
    proceed: Callable[[], Awaitable[web.StreamResponse]]


class Fault(Protocol):
    """One kind of fault."""

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """Answer in the server's place, or raise ``Dropped``."""


@dataclass(frozen=True)
class Answer:
    """Refuse with a status code and a Kubernetes ``Status``; nothing is done. ``retry_after`` is in seconds, or what
    else is to stand in the header."""

    status: int
    retry_after: int | str | None = None
    message: str = "injected fault"
    reason: str = ""

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """As the protocol has it."""
        return refusal(ApiError(self.status, self.message, reason=self.reason, retry_after=self.retry_after))


@dataclass(frozen=True)
class Page:
    """Answer with a page for people, as a load balancer or a captive portal in between may."""

    text: str = "<html>back soon</html>"
    status: int = 200

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """As the protocol has it."""
        return web.Response(text=self.text, status=self.status, content_type="text/html")


@dataclass(frozen=True)
class WatchError:
    """Open the watch with 200 and send one ERROR event, which is how an API server mostly says 410; then end it."""

    status: int = 410
    message: str = "too old resource version: 1 (2)"

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """As the protocol has it."""
        event = {"type": "ERROR", "object": ApiError(self.status, self.message).status_object()}
        return web.Response(text=json.dumps(event) + "\n", content_type="application/json")


@dataclass(frozen=True)
class Delay:
    """Wait, then go on as usual."""

    seconds: float

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """As the protocol has it."""
        await asyncio.sleep(self.seconds)
        return await exchange.proceed()


@dataclass(frozen=True)
class Drop:
    """Cut the connection without an answer: before anything is done or, if ``done``, after it."""

    done: bool = False

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """As the protocol has it."""
        if self.done:
            await exchange.proceed()
        raise Dropped


@dataclass(frozen=True)
class HalfAnswer:
    """Do what is asked, send the headers and half of the body, then cut the connection; half a line of a watch."""

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """As the protocol has it."""
        if exchange.call.verb == "watch":
            body, length = b'{"type": "ADDED", "obj', None
        else:
            answer = await exchange.proceed()
            assert isinstance(answer, web.Response) and isinstance(answer.body, bytes)
            body, length = answer.body[: len(answer.body) // 2], len(answer.body)
        stream = web.StreamResponse(headers={"Content-Type": "application/json"})
        stream.content_length = length
        await stream.prepare(exchange.request)
        await stream.write(body)
        raise Dropped


@dataclass(frozen=True)
class Silence:
    """Answer nothing until the rule is lifted, then go on. A watch that is open already falls silent, too.

    With ``open_only`` nothing but the watches that are open when the rule is made: a new watch works, as it does after
    a firewall has forgotten the old connection.
    """

    open_only: bool = False

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """As the protocol has it; a watch opens, and then waits in ``Rules.pass_on``."""
        if exchange.call.verb != "watch":
            await exchange.rule.over.wait()
        return await exchange.proceed()


@dataclass(eq=False)
class Rule:
    """A fault for some calls. Use ``hits`` and ``lift``; the rest is the server's."""

    method: str
    path: re.Pattern[str]
    fault: Fault
    times: int | None
    where: Predicate | None
    loop: asyncio.AbstractEventLoop
    hits: int = 0
    """How many calls it has struck."""
    made: int = field(default_factory=lambda: next(moments))
    over: asyncio.Event = field(default_factory=asyncio.Event)
    lifted: bool = False

    def lift(self) -> None:
        """End the fault, from any thread."""
        self.lifted = True
        self.loop.call_soon_threadsafe(self.over.set)

    def take(self, call: Call) -> bool:
        """Whether it strikes this new call; counts it if so."""
        only_old = isinstance(self.fault, Silence) and self.fault.open_only
        if only_old or self.hits == self.times or not self._covers(call):
            return False
        self.hits += 1
        return True

    def silences(self, call: Call) -> bool:
        """Whether it holds back what an open watch has to say."""
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
    """The rules of one server; the first that strikes a call counts."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rules: list[Rule] = []

    def add(self, method: str, path: str, fault: Fault, times: int | None, where: Predicate | None) -> Rule:
        """From any thread; as ``LoopbackServer.on``."""
        rule = Rule(method, re.compile(path), fault, times, where, self._loop)
        self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Lift all rules."""
        rules, self._rules = self._rules, []
        for rule in rules:
            rule.lift()

    def take(self, call: Call) -> Rule | None:
        """The rule that strikes a new call."""
        return next((rule for rule in self._rules if rule.take(call)), None)

    async def pass_on(self, call: Call) -> None:
        """Wait as long as an open watch is to be silent."""
        for rule in list(self._rules):
            if rule.silences(call):
                await rule.over.wait()


def refusal(error: ApiError) -> web.Response:
    """An error as the API server answers it."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return web.json_response(error.status_object(), status=error.status, headers=headers)
