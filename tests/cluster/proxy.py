"""A reverse proxy before the API server that answers, delays, drops or stalls the calls that a test names.

    with FaultProxy(cluster.url, cluster.client_context()) as proxy:
        rule = proxy.on("POST", r"/secrets$", Answer(429, retry_after=1), times=2)
        ...                                     # the client talks to proxy.url and trusts proxy.ca
        assert rule.hits == 2

It terminates TLS with a CA of its own, so a client must come with a token (a client certificate does not pass), and
runs on a thread of its own, so that plain and asyncio tests use it alike.
"""

import asyncio
import json
import re
import ssl
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Any, TypeVar

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
from yarl import URL

from tests.cluster.faults import Answer, Delay, Drop, Fault, Page, Rule, Silence, WatchError, moments, status_object
from tests.cluster.pki import Authority

Result = TypeVar("Result")
# They belong to one connection, and each side of the proxy makes its own.
_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "content-length", "host"}


@dataclass(frozen=True)
class Seen:
    """A call whose handling has ended; ``status`` is 0 if the client got no answer."""

    method: str
    path: str
    status: int


class FaultProxy:
    """The proxy; a context manager. Everything public may be called from any thread but the proxy's own."""

    def __init__(self, upstream: str, context: ssl.SSLContext, *, lax_ca: bool = False) -> None:
        self._upstream = upstream
        self._upstream_context = context
        authority = Authority("tests-proxy-ca", lax=lax_ca)
        self.ca = authority.pem
        """The CA certificate by which clients know the proxy."""
        self._context = _server_context(authority)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._rules: list[Rule] = []
        self._seen: list[Seen] = []
        self._port = 0

    @property
    def url(self) -> str:
        """What the client is to take for its API server."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def seen(self) -> list[Seen]:
        """The calls whose handling has ended, oldest first."""
        return list(self._seen)

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear()
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def on(self, method: str, path: str, fault: Fault, times: int | None = None) -> Rule:
        """Strike the next ``times`` calls (by default all, until the rule is lifted) that match.

        ``method`` is an HTTP method, ``WATCH`` (a GET that watches; ``GET`` is then one that does not) or ``*``;
        ``path`` is a regular expression searched in the path without its query. The first rule that strikes counts.
        """
        rule = Rule(method, re.compile(path), fault, times, self._loop)
        self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Lift all rules."""
        rules, self._rules = self._rules, []
        for rule in rules:
            rule.lift()

    def disconnect(self) -> None:
        """Cut every open connection; new ones are welcome."""
        self._run(self._abort())

    @contextmanager
    def away(self) -> Iterator[None]:
        """For the length of the block open connections are cut and new ones refused."""
        self._run(self._refuse())
        try:
            yield
        finally:
            self._run(self._listen())

    async def _open(self) -> None:
        connector = TCPConnector(limit=0, ssl=self._upstream_context)
        timeout = ClientTimeout(total=None, sock_connect=10)
        self._session = ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        self._server = web.Server(self._handle, handler_cancellation=True)
        await self._listen()

    async def _listen(self) -> None:
        """On the port that it had before, if it had one."""
        self._listener = await self._loop.create_server(
            self._server, "127.0.0.1", self._port, ssl=self._context, reuse_address=True
        )
        self._port = self._listener.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        self._listener.close()
        await self._abort()

    async def _abort(self) -> None:
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def _close(self) -> None:
        await self._refuse()
        await self._server.shutdown(1)
        await self._session.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        method = "WATCH" if request.query.get("watch") in ("1", "true") else request.method
        status = 0
        try:
            rule = next((rule for rule in self._rules if rule.take(method, request.path)), None)
            response = await self._strike(request, method, rule) if rule else await self._forward(request, method)
            status = response.status
            return response
        except (ClientError, _Dropped):
            _abort_call(request)
            return web.Response()
        finally:
            self._seen.append(Seen(method, request.path, status))

    async def _strike(self, request: web.BaseRequest, method: str, rule: Rule) -> web.StreamResponse:
        fault = rule.fault
        if isinstance(fault, Answer):
            headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
            return web.json_response(status_object(fault), status=fault.status, headers=headers)
        if isinstance(fault, Page):
            return web.Response(text=fault.text, content_type="text/html")
        if isinstance(fault, WatchError):
            event = {"type": "ERROR", "object": status_object(fault)}
            return web.Response(text=json.dumps(event) + "\n", content_type="application/json")
        if isinstance(fault, Drop):
            if fault.done:
                await self._forward(request, method)
            raise _Dropped
        if isinstance(fault, Delay):
            await asyncio.sleep(fault.seconds)
        elif isinstance(fault, Silence) and method != "WATCH":
            await rule.over.wait()
        return await self._forward(request, method)

    async def _forward(self, request: web.BaseRequest, method: str) -> web.StreamResponse:
        """Ask the API server and hand on what it says; a watch as it comes."""
        opened = next(moments)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        url = URL(self._upstream + request.raw_path, encoded=True)
        async with self._session.request(
            request.method,
            url,
            headers=headers,
            data=await request.content.read(),
            allow_redirects=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            if method != "WATCH":
                return web.Response(status=answer.status, body=await answer.read(), headers=kept)
            stream = web.StreamResponse(status=answer.status, headers=kept)
            await stream.prepare(request)
            async for chunk in answer.content.iter_any():
                await self._while_silent(method, request.path, opened)
                await stream.write(chunk)
            await stream.write_eof()
            return stream

    async def _while_silent(self, method: str, path: str, opened: int) -> None:
        for rule in list(self._rules):
            if rule.silences(method, path, opened):
                await rule.over.wait()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


class _Dropped(Exception):
    """A rule wants the connection closed."""


def _abort_call(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


def _server_context(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = authority.server(["127.0.0.1", "localhost"])
    with NamedTemporaryFile() as file:
        file.write(pair.certificate + pair.key)
        file.flush()
        context.load_cert_chain(file.name)
    return context
